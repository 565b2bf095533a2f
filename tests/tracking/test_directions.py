"""Passes in both directions, and quiet ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, SAM2, Clip, State, track
from support import assert_same
from tqdm import tqdm

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.frame_bar import FrameBar

CONFIGS = {"tree": BRANCHING, "sam2": SAM2}


def shown_on(predictor: SAM2LongVideoPredictor, clip: Clip, frame_idx: int, config: MemoryTreeConfig) -> State:
    state = predictor.init_state(clip[0], memory_tree=config)
    predictor.add_new_mask(state, frame_idx, 1, clip[1][0, frame_idx])
    return state


@pytest.mark.parametrize("first", [0, 1, 5, NUM_FRAMES - 1])
@pytest.mark.parametrize("kind", CONFIGS)
def test_both_is_forward_and_then_back_from_the_start(
    kind: str, first: int, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    state = shown_on(predictor, clip, first, CONFIGS[kind])
    both = track(predictor, state, direction="both")
    assert list(both) == [*range(first, NUM_FRAMES), *range(first - 1, -1, -1)]
    twice = shown_on(predictor, clip, first, CONFIGS[kind])
    expected = track(predictor, twice) | track(predictor, twice, reverse=True)
    assert all(torch.equal(both[t], expected[t]) for t in range(NUM_FRAMES))
    assert any((both[t] > 0).any() for t in range(NUM_FRAMES))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_count_holds_in_each_direction(kind: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = shown_on(predictor, clip, 5, CONFIGS[kind])
    assert list(track(predictor, state, direction="both", max_frame_num_to_track=2)) == [5, 6, 7, 4, 3]


def test_a_direction_by_name_is_what_reverse_says(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    named, said = (shown_on(predictor, clip, 5, BRANCHING) for _ in range(2))
    assert_same(track(predictor, named, direction="reverse"), track(predictor, said, reverse=True))
    assert_same(track(predictor, named, direction="forward"), track(predictor, said))


def test_directions_that_make_no_sense(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = shown_on(predictor, clip, 5, BRANCHING)
    for wrong, message in (
        ({"direction": "backward"}, "direction='backward' must be one of"),
        ({"direction": "both", "reverse": True}, "contradicts reverse=True"),
        ({"direction": "forward", "reverse": True}, "contradicts reverse=True"),
    ):
        with pytest.raises(ValueError, match=message):
            next(predictor.propagate_in_video(state, **wrong))
    assert len(track(predictor, state)) == NUM_FRAMES - 5


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_pass_in_both_directions_that_is_left_goes_no_further(
    kind: str, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    for last in (7, 3):  # on its way forward, on its way back
        state = shown_on(predictor, clip, 5, CONFIGS[kind])
        seen = []
        for frame_idx, _, _ in predictor.propagate_in_video(state, direction="both"):
            seen.append(frame_idx)
            if frame_idx == last:
                break
        assert sorted(state["frames_tracked_per_obj"][0]) == sorted(set(seen))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_quiet_pass_gives_the_same_frames(
    kind: str,
    predictor: SAM2LongVideoPredictor,
    clip: Clip,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for where, bar in (("sam2.sam2_video_predictor.tqdm", tqdm), ("sam2long.frame_bar.FrameBar", FrameBar)):
        monkeypatch.setattr(where, partial(_shown, bar))
    loud, quiet = (shown_on(predictor, clip, 0, CONFIGS[kind]) for _ in range(2))
    expected = track(predictor, loud)
    assert "propagate in video" in capsys.readouterr().err
    for direction in ("forward", "both"):
        masks = track(predictor, quiet, direction=direction, progress=False)
        assert capsys.readouterr().err == ""
        assert_same(masks, expected)
        predictor.reset_state(quiet)
        predictor.add_new_mask(quiet, 0, 1, clip[1][0, 0])


def _shown(bar: Any, *args: Any, **kwargs: Any) -> Any:
    """A bar that is shown unless its caller says otherwise, whatever TQDM_DISABLE was when tqdm was imported."""
    return bar(*args, **{"disable": False, **kwargs})
