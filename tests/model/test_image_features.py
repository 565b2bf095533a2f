"""Encoding ahead changes when features are computed, not what is tracked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import Damaged, build_golden, prompts

from sam2long import MemoryTreeConfig
from sam2long.frames import FrameError
from sam2long.model import image_features
from sam2long.search import select_candidates

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


@pytest.mark.parametrize("kwargs", [{}, {"start_frame_idx": 9, "reverse": True}, {"max_frame_num_to_track": 3}])
def test_encoding_while_the_host_waits_is_identical(
    kwargs: dict[str, Any], clip: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the next frame is encoded between the decoder and the selection."""
    plain = track(build_golden(), clip, **kwargs)
    monkeypatch.setattr(image_features, "works_behind_the_host", lambda device: True)
    predictor, calls = build_golden(), []
    predictor.image_encoder.register_forward_hook(lambda *_: calls.append("image"))
    predictor.sam_mask_decoder.register_forward_hook(lambda *_: calls.append("decoder"))
    monkeypatch.setattr(predictor, "select", lambda *args: calls.append("select") or select_candidates(*args))
    ahead = track(predictor, clip, **kwargs)
    assert all(torch.equal(plain[t], ahead[t]) for t in plain)
    assert calls.count("image") <= len(clip[0]), "no frame twice"
    assert any(calls[i : i + 3] == ["decoder", "image", "select"] for i in range(len(calls)))


def test_a_next_frame_that_cannot_be_read_loses_no_frame(
    clip: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_features, "works_behind_the_host", lambda device: True)
    for options in ([], ["+model.encode_ahead=1"], ["+model.encode_ahead=3"]):
        predictor = build_golden(hydra_overrides_extra=options)
        state = predictor.init_state(Damaged(clip[0], broken=6))
        prompts(clip)["mask"](predictor, state)
        yielded = []
        with pytest.raises(FrameError, match="frame 6"):
            yielded += [t for t, _, _ in predictor.propagate_in_video(state)]
        assert sorted(predictor.get_scores(state, 1)) == [1, 2, 3, 4, 5]


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match="encode_ahead must be None or an integer >= 0, got -1"):
        build_golden(ckpt_path=None, hydra_overrides_extra=["+model.encode_ahead=-1"])
