"""Scene cuts: the colours of a frame, and what they change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from sam2long.config import MemoryTreeConfig
from sam2long.model.colours import NUM_SATURATIONS, hue_saturation
from sam2long.policies.scene_cut import advance_colours, bhattacharyya, propose_with_cuts, select_after_cuts
from sam2long.search.policy import Situation
from sam2long.search.selection import Candidate, Evidence


def test_hue_and_saturation_of_known_colours() -> None:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    # Two pixels each: red, green, half-saturated blue, grey.
    rgb = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 1], [0.4, 0.4, 0.4]]).T.repeat(1, 2).reshape(1, 3, 2, 4)
    shares = hue_saturation((rgb - mean) / std)
    found = {divmod(int(bin_), NUM_SATURATIONS): float(shares[bin_]) for bin_ in shares.nonzero()}
    assert found == {(0, 79): 0.25, (20, 79): 0.25, (40, 40): 0.25, (0, 0): 0.25}


def test_colours_far_from_those_before_make_a_frame_uncertain() -> None:
    red, blue, purple = (np.zeros(4800, np.float32) for _ in range(3))
    red[0] = blue[10] = 1.0
    purple[0], purple[10] = 0.81, 0.19  # 1 - sqrt(0.81) = 0.1: distance 0.316 from red, 0.751 from blue
    assert bhattacharyya(red, blue) == 1.0
    assert bhattacharyya(red, purple) == pytest.approx(0.3162, abs=1e-4)

    def decoded(colours: np.ndarray[Any, Any]) -> list[Candidate]:
        ious = (0.9, 0.9, 0.5)
        return [Candidate(0, k, math.log(iou), iou, 8.0, Evidence(colours=colours)) for k, iou in enumerate(ious)]

    config = MemoryTreeConfig(num_pathways=2)
    before = advance_colours(decoded(red)[0], Situation(1, 1, 0.0, None, config))
    for colours, cut in ((purple, False), (blue, True)):
        proposed = propose_with_cuts(decoded(colours), Situation(2, 1, 0.0, before, config))
        assert [c.evidence.after_cut for c in proposed] == [cut] * 3
        # Uncertain: the second mask of equal IoU counts as the first one, and the third is taken.
        assert [c.mask_idx for c in select_after_cuts(proposed, config)] == ([0, 2] if cut else [0, 1])
    assert not any(c.evidence.after_cut for c in propose_with_cuts(decoded(red), Situation(1, 1, 0.0, None, config)))
