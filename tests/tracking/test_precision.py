"""`precision=`: as an autocast around the loop, to the bit, and none in the loop's body."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from interaction_calls import BRANCHING, Clip, start
from support import assert_same, build_golden
from torch import Tensor

from sam2long import SAM2LongVideoPredictor
from sam2long.precision import computing_in, precision_of


@pytest.fixture(scope="module")
def bf16() -> SAM2LongVideoPredictor:
    return build_golden(precision="bf16")


def tracked(predictor: SAM2LongVideoPredictor, clip: Clip, num_pathways: int) -> dict[int, Tensor]:
    memory_tree = BRANCHING if num_pathways > 1 else {"num_pathways": 1}
    state = start(predictor, clip, memory_tree=memory_tree)
    masks = {}
    for t, _, logits in predictor.propagate_in_video(state):
        masks[t] = logits.clone()
        if predictor.precision is not None:
            assert not torch.is_autocast_enabled("cpu"), "the loop's body is the caller's"
    return masks


@pytest.mark.parametrize("num_pathways", [1, 3])
def test_it_is_an_autocast_around_the_loop(
    bf16: SAM2LongVideoPredictor, predictor: SAM2LongVideoPredictor, clip: Clip, num_pathways: int
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = tracked(predictor, clip, num_pathways)
    found = tracked(bf16, clip, num_pathways)
    assert_same(found, expected)
    plain = tracked(predictor, clip, num_pathways)
    assert any(not torch.equal(plain[t], found[t]) for t in plain)


def test_streams_compute_in_it_too(bf16: SAM2LongVideoPredictor, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    def streamed(ours: SAM2LongVideoPredictor) -> dict[int, Tensor]:
        state = ours.init_stream(clip[0][0], memory_tree=BRANCHING)
        ours.add_new_mask(state, 0, 1, clip[1][0, 0])
        answers = [answer for frame in clip[0][1:6] for answer in ours.track_frame(state, frame)]
        return {t: masks for t, _, masks in answers + ours.finish_stream(state)}

    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = streamed(predictor)
    assert_same(streamed(bf16), expected)


def test_a_pass_that_is_left_is_left(bf16: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(bf16, clip, memory_tree=BRANCHING)
    frames = bf16.propagate_in_video(state)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert bf16.session(state).open_pass is None
    assert not torch.is_autocast_enabled("cpu")


def test_what_cannot_be(clip: Clip) -> None:
    with pytest.raises(ValueError, match="precision='half' must be one of"):
        build_golden(precision="half")
    with pytest.raises(ValueError, match="fp16 needs a CUDA device, not cpu"):
        build_golden(precision="fp16")
    assert [precision_of(torch.device(d), "auto") for d in ("cpu", "cuda")] == ["fp32", "bf16"]
    with computing_in(torch.device("cpu"), "auto"):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("method", [SAM2LongVideoPredictor.propagate_in_video, SAM2LongVideoPredictor.add_new_mask])
def test_methods_keep_their_signatures(method: Callable[..., Any]) -> None:
    assert "frame_idx" in str(inspect.signature(method))
    assert method.__doc__
