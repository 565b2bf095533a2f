"""Code written for SAM 2's tracking step: a tree does not call it, and says so."""

from __future__ import annotations

import functools
import warnings
from types import MethodType
from typing import Any

import numpy as np
import pytest
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import build_golden, build_sam2_golden

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.model.overrides import STEPS, overridden_steps

Clip = tuple[np.ndarray, np.ndarray]


class MotionAware(SAM2VideoPredictor):  # type: ignore[misc]
    """As several published trackers change SAM 2."""

    def _forward_sam_heads(self, *args: Any, **kwargs: Any) -> Any:
        return super()._forward_sam_heads(*args, **kwargs)

    def motion(self) -> float:
        return 0.0


def warned(predictor: SAM2LongVideoPredictor, clip: Clip, **settings: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            state = predictor.init_state(clip[0][:3], **settings)
            predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
            list(predictor.propagate_in_video(state))
    assert all(warning.filename == __file__ for warning in caught), "the user's own line is named"
    return [str(warning.message) for warning in caught]


def test_a_predictor_as_it_is_has_nothing_to_say(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    assert overridden_steps(predictor) == []
    assert warned(predictor, clip) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_patched_step_is_named_once(step: str, clip: Clip) -> None:
    predictor = build_golden()
    original = getattr(predictor, step)

    @functools.wraps(original.__func__)  # takes over its name and module
    def patch(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    setattr(predictor, step, MethodType(patch, predictor))
    (message,) = warned(predictor, clip)
    assert message.startswith(f"{step}: ")
    assert "num_pathways=1" in message
    assert "choose_memory=" in message


def test_one_pathway_calls_the_patch_and_says_nothing(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, calls = build_golden(), []
    original = SAM2VideoPredictor.track_step

    def patch(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs["frame_idx"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SAM2VideoPredictor, "track_step", patch)
    assert warned(predictor, clip, memory_tree=MemoryTreeConfig(num_pathways=1)) == []
    assert calls == [0, 1, 2] * 2


def test_from_sam2_says_what_a_subclass_leaves_behind(clip: Clip) -> None:
    theirs = build_sam2_golden()
    theirs.__class__ = MotionAware
    with pytest.warns(UserWarning, match="of this MotionAware and leaves .*: _forward_sam_heads, motion$"):
        ours = SAM2LongVideoPredictor.from_sam2(theirs)
    assert overridden_steps(ours) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SAM2LongVideoPredictor.from_sam2(build_sam2_golden())
        SAM2LongVideoPredictor.from_sam2(build_golden())


def test_a_subclass_of_ours_is_named_too(clip: Clip) -> None:
    class Mine(SAM2LongVideoPredictor):
        def _run_single_frame_inference(self, *args: Any, **kwargs: Any) -> Any:
            return super()._run_single_frame_inference(*args, **kwargs)

    (message,) = warned(Mine.from_sam2(build_sam2_golden()), clip)
    assert message.startswith("_run_single_frame_inference: ")


def test_a_patch_of_sam2s_class_is_named_though_ours_hides_it(monkeypatch: pytest.MonkeyPatch, clip: Clip) -> None:
    as_it_is = SAM2VideoPredictor._run_single_frame_inference

    def mine(self: Any, *args: Any, **kwargs: Any) -> Any:
        return as_it_is(self, *args, **kwargs)

    monkeypatch.setattr(SAM2VideoPredictor, "_run_single_frame_inference", mine)
    (message,) = warned(build_golden(), clip)
    assert "_run_single_frame_inference" in message
