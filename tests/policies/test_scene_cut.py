"""Scene cuts: the colours of a frame, and what they change."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch

from sam2long.config import MemoryTreeConfig
from sam2long.model.colours import NUM_SATURATIONS, hue_saturation
from sam2long.policies.absence import POLICY as ABSENCE
from sam2long.policies.combining import combined
from sam2long.policies.diversity import POLICY as DIVERSITY
from sam2long.policies.scene_cut import POLICY, advance_colours, bhattacharyya, is_after_cut
from sam2long.search.picking import Picking, Proposal, ScoredProposal
from sam2long.search.policy import Policy, Situation
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

    config = MemoryTreeConfig(num_pathways=2)
    before = advance_colours(Candidate(0, 0, 0.0, 0.9, 8.0, Evidence(colours=red)), Situation(1, 1, 0.0, None, config))

    def picked(policy: Policy, colours: np.ndarray[Any, Any], carry: Hashable) -> Picking:
        proposal = Proposal(0, (0.9, 0.9, 0.5), 8.0, [Evidence(colours=colours)] * 3)
        return Picking([ScoredProposal(0.0, proposal, carry)] * 2, policy, config, 2, 1)

    for colours, cut in ((purple, False), (blue, True)):
        # Uncertain: the second mask of equal IoU counts as the first one, and the third is taken.
        picking = picked(POLICY, colours, before)
        assert [pick.mask_idx for pick in picking.of_step()] == ([0, 2] if cut else [0, 1])
        assert {candidate.evidence.uncertain for candidate in picking.considered} == {cut}
        # Every rule for uncertain frames goes by it, in either order: each slot may wait.
        for parts, carries in (((POLICY, ABSENCE), (before, None)), ((ABSENCE, POLICY), (None, before))):
            picking = picked(combined("both", *parts), colours, carries)
            picking.of_step()
            assert len(picking.considered) == (8 if cut else 6)
    # A rule of selection goes by it, too: masks that overlap are one hypothesis, whatever their IoUs.
    masks = [Evidence(np.arange(6)[None] // 3 == k, colours=blue) for k in (0, 0, 1)]
    slots = [ScoredProposal(0.0, Proposal(0, (0.9, 0.8, 0.5), 8.0, masks), (None, before))] * 2
    picks = Picking(slots, combined("both", DIVERSITY, POLICY), config, 2, 1).of_step()
    assert [pick.mask_idx for pick in picks] == [0, 2]
    assert not is_after_cut([Candidate(0, 0, 0.0, 0.9, 8.0, Evidence(colours=red))], Situation(1, 1, 0.0, None, config))
