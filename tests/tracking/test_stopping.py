"""Passes that are left and gone on from: the state knows what was yielded, the pathways go on where they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, State, changed, committed, disk_centre, start, track
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.tracking.object_track import ObjectTrack

ORDERS = {"forward": list(range(NUM_FRAMES)), "reverse": list(range(NUM_FRAMES - 1, -1, -1))}


def stop_at(predictor: SAM2LongVideoPredictor, state: State, last: int, **kwargs: Any) -> None:
    for frame_idx, _, _ in predictor.propagate_in_video(state, **kwargs):
        if frame_idx == last:
            break


def tracked(state: State) -> list[int]:
    assert sorted(state["frames_tracked_per_obj"][0]) == sorted(committed(state))
    return sorted(committed(state))


def test_a_pass_that_is_left_has_tracked_what_it_yielded(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    passing = predictor.propagate_in_video(state)
    seen = [next(passing)[0] for _ in range(4)]
    assert state["sam2long"].propagation.pending(1), "the tree had run ahead, else this shows nothing"
    assert tracked(state) == seen
    passing.close()
    assert tracked(state) == seen


def test_a_click_beyond_where_a_pass_was_left_is_a_prompt_of_its_own(
    predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    state = start(predictor, clip)
    stop_at(predictor, state, 4)
    _, _, shown = predictor.add_new_points_or_box(state, 5, 1, points=[disk_centre(clip, 1, 5)], labels=[1])
    shown = shown.clone()
    masks = track(predictor, state, start_frame_idx=5)
    assert torch.equal(masks[5], shown)
    assert sorted(state["output_dict_per_obj"][0]["cond_frame_outputs"]) == [0, 5]


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_next_pass_goes_on_where_the_last_was_left(
    direction: str, either: SAM2LongVideoPredictor, clip: Clip
) -> None:
    """Any cut, at the last frame or after it: all that comes is what one long pass gives, and so is the state."""
    order, reverse = ORDERS[direction], direction == "reverse"

    def begin() -> State:
        state = either.init_state(clip[0], memory_tree=BRANCHING)
        either.add_new_mask(state, order[0], 1, clip[1][0, order[0]])
        return state

    whole = begin()
    expected = track(either, whole, start_frame_idx=order[0], reverse=reverse)
    for cut in (1, 4, 9, NUM_FRAMES - 3):
        for again in (0, 1):
            state = begin()
            stop_at(either, state, order[cut], start_frame_idx=order[0], reverse=reverse)
            masks = track(either, state, start_frame_idx=order[cut + 1 - again], reverse=reverse)
            assert list(masks) == order[cut + 1 - again :]
            assert changed(expected, masks) == set()
            assert_same(committed(state), committed(whole))
            assert either.get_scores(state, 1) == either.get_scores(whole, 1)


@pytest.mark.parametrize("pending", [None, 0, 2])
def test_frame_by_frame_is_one_long_pass(pending: int | None, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """`max_frame_num_to_track=0` in a loop: the state is the long pass's, and so are answers that need not wait."""
    whole, state = (start(predictor, clip, max_pending_frames=pending) for _ in range(2))
    predictor.add_new_mask(whole, 0, "other", clip[1][1, 0])
    predictor.add_new_mask(state, 0, "other", clip[1][1, 0])
    expected = track(predictor, whole)
    masks = {}
    for t in range(NUM_FRAMES):
        masks |= track(predictor, state, start_frame_idx=t, max_frame_num_to_track=0)
    assert list(masks) == list(range(NUM_FRAMES))
    for obj_idx in (0, 1):
        assert_same(committed(state, obj_idx), committed(whole, obj_idx))
    if pending == 0:
        assert changed(expected, masks) == set()
    assert state["frames_tracked_per_obj"] == whole["frames_tracked_per_obj"]


def test_overlapping_windows_are_one_long_pass(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    whole, state = start(predictor, clip), start(predictor, clip)
    track(predictor, whole)
    for t in range(0, NUM_FRAMES - 1, 3):
        assert min(track(predictor, state, start_frame_idx=t, max_frame_num_to_track=3)) == t
    assert_same(committed(state), committed(whole))


@pytest.mark.parametrize(
    "change",
    [
        lambda p, state, clip: p.add_new_mask(state, 2, "new", clip[1][1, 2]),
        lambda p, state, clip: p.add_new_mask(state, 3, 1, clip[1][1, 3]),
        lambda p, state, clip: stop_at(p, state, 1, start_frame_idx=1),
        lambda p, state, clip: stop_at(p, state, 3, start_frame_idx=4, reverse=True),
        lambda p, state, clip: setattr(state["sam2long"], "config", MemoryTreeConfig()),
    ],
    ids=["a new object", "a correction", "another pass", "the other direction", "other settings"],
)
def test_a_pass_starts_anew_where_something_came_between(
    change: Any, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    masks, states = [], [start(predictor, clip), start(predictor, clip)]
    for state in states:
        stop_at(predictor, state, 4)
        assert state["sam2long"].left is not None
    states[1]["sam2long"].left = None
    for state in states:
        change(predictor, state, clip)
        masks.append(track(predictor, state, start_frame_idx=5))
    assert_same(*masks)
    assert_same(*map(committed, states))


def test_a_state_saved_after_a_stop_goes_on_from_there(
    predictor: SAM2LongVideoPredictor, clip: Clip, tmp_path: Path
) -> None:
    whole, state = start(predictor, clip), start(predictor, clip)
    expected = track(predictor, whole)
    stop_at(predictor, state, 6)
    predictor.save_state(state, tmp_path / "stopped.safetensors")
    for going in (state, predictor.load_state(tmp_path / "stopped.safetensors", clip[0])):
        masks = track(predictor, going, start_frame_idx=7)
        assert list(masks) == list(range(7, NUM_FRAMES))
        assert changed(expected, masks) == set()


def test_two_suspended_passes_take_turns(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """SAM 2's suspended generators go on from where they are, over whatever the others have tracked; so do these."""
    state = predictor.init_state(clip[0], memory_tree=BRANCHING)
    predictor.add_new_mask(state, 7, 1, clip[1][0, 7])
    forward = predictor.propagate_in_video(state)
    backward = predictor.propagate_in_video(state, reverse=True)
    seen = [next(passing)[0] for _ in range(6) for passing in (forward, backward)]
    assert seen == [7, 7, 8, 6, 9, 5, 10, 4, 11, 3, 12, 2]
    assert tracked(state) == list(range(2, 13))
    assert [t for t, _, _ in forward] == [13]
    assert [t for t, _, _ in backward] == [1, 0]
    assert np.isfinite([score.cumulative_score for score in predictor.get_scores(state, 1).values()]).all()


def test_stopping_in_a_pass_that_goes_on_and_ends_early_keeps_the_order(
    predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    """What the first pass had tracked ahead lies behind what the second has decided, and is asked for after it."""
    expected = track(predictor, _two_objects(predictor, clip))
    state = _two_objects(predictor, clip)
    stop_at(predictor, state, 4, max_frame_num_to_track=11)
    stop_at(predictor, state, 5, start_frame_idx=5, max_frame_num_to_track=2)
    rest = track(predictor, state, start_frame_idx=6)
    assert_same(rest, {t: masks for t, masks in expected.items() if t >= 6})


def _two_objects(predictor: SAM2LongVideoPredictor, clip: Clip) -> State:
    state = start(predictor, clip)
    predictor.add_new_mask(state, 0, 2, clip[1][1, 0])
    return state


@pytest.mark.parametrize("place", ["take", "at_video_res"])
def test_an_interruption_half_way_through_a_frame_is_no_place_to_go_on_from(
    place: str, predictor: SAM2LongVideoPredictor, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = _two_objects(predictor, clip)
    passing, seen = predictor.propagate_in_video(state), {}
    for frame_idx, _, masks in passing:
        seen[frame_idx] = masks.clone()
        if frame_idx == 4:
            break
    where, calls = (ObjectTrack, 0) if place == "take" else (SAM2LongVideoPredictor, 0)
    as_it_is = getattr(where, place)

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == (2 if place == "take" else 1):  # the second object's
            raise KeyboardInterrupt
        return as_it_is(*args)

    with monkeypatch.context() as patch:
        patch.setattr(where, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            seen.update((frame_idx, masks.clone()) for frame_idx, _, masks in passing)
    rest = track(predictor, state, start_frame_idx=max(seen) + 1)
    assert list(rest) == list(range(max(seen) + 1, NUM_FRAMES))
    fresh = _two_objects(predictor, clip)  # as if the pass had ended there, and its pathways were not known
    stop_at(predictor, fresh, max(seen))
    predictor.session(fresh).left = None
    assert_same(rest, track(predictor, fresh, start_frame_idx=max(seen) + 1))


def test_streams_have_no_passes_and_starts_are_not_negative(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    stream = predictor.init_stream(clip[0][0])
    predictor.add_new_mask(stream, 0, 1, clip[1][0, 0])
    with pytest.raises(ValueError, match="of a stream: give its frames to track_frame"):
        next(predictor.propagate_in_video(stream))
    state = start(predictor, clip)
    with pytest.raises(ValueError, match="start_frame_idx=-1 is negative"):
        next(predictor.propagate_in_video(state, start_frame_idx=-1))
    assert track(predictor, state, start_frame_idx=NUM_FRAMES + 3, direction="both") == {}
