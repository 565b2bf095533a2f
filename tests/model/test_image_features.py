"""Encoding ahead changes when features are computed, not what is tracked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import build_golden, prompts

from sam2long import MemoryTreeConfig

BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)


def track(predictor: Any, clip: tuple[np.ndarray, np.ndarray], **kwargs: Any) -> dict[int, torch.Tensor]:
    state = predictor.init_state(clip[0], memory_tree=BRANCHING)
    prompts(clip)["two objects"](predictor, state)
    return {t: masks.clone() for t, _, masks in predictor.propagate_in_video(state, **kwargs)}


@pytest.mark.parametrize("kwargs", [{}, {"start_frame_idx": 9, "reverse": True}, {"max_frame_num_to_track": 3}])
def test_one_frame_ahead_is_identical(kwargs: dict[str, Any], clip: tuple[np.ndarray, np.ndarray]) -> None:
    plain = track(build_golden(), clip, **kwargs)
    ahead = track(build_golden(hydra_overrides_extra=["+model.encode_ahead=1"]), clip, **kwargs)
    assert plain.keys() == ahead.keys()
    assert all(torch.equal(plain[t], ahead[t]) for t in plain)


def test_several_frames_ahead_agree_and_are_encoded_once(clip: tuple[np.ndarray, np.ndarray]) -> None:
    plain = track(build_golden(), clip)
    predictor = build_golden(hydra_overrides_extra=["+model.encode_ahead=4"])
    encoded: list[int] = []
    predictor.image_encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(inputs[0].shape[0]))
    ahead = track(predictor, clip)
    for t in plain:
        torch.testing.assert_close(plain[t], ahead[t], atol=1e-2, rtol=1e-3)
    assert sum(encoded) == len(clip[0])
    assert max(encoded) == 4


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match="encode_ahead must be None or an integer >= 0, got -1"):
        build_golden(ckpt_path=None, hydra_overrides_extra=["+model.encode_ahead=-1"])
