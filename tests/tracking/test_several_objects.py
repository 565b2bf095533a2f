"""Several objects with a tree: none touches another, and they come and go while passes are suspended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, changed, disk_centre, start, track

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor

# -- several objects -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", [BRANCHING, MemoryTreeConfig()], ids=["branching", "paper"])
def test_objects_do_not_touch_each_other(tree: MemoryTreeConfig, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """A second object, prompted on a later frame, leaves the first one's masks alone (up to batching noise)."""
    state = start(predictor, clip, memory_tree=tree)
    alone = track(predictor, state)
    state = start(predictor, clip, memory_tree=tree)
    predictor.add_new_mask(state, 5, 2, clip[1][1, 5])
    both = track(predictor, state)
    assert list(both) == list(range(NUM_FRAMES))
    for t, masks in both.items():
        assert masks.shape[0] == 2
        torch.testing.assert_close(masks[:1], alone[t], atol=1e-2, rtol=1e-3)
    assert ((both[5][1, 0] > 0) == torch.from_numpy(clip[1][1, 5])).float().mean() > 0.98


def test_a_click_before_an_objects_first_prompt(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """sam2 fails there in float32: all it attends to is bfloat16."""
    state = start(predictor, clip)
    predictor.add_new_mask(state, 5, 2, clip[1][1, 5])
    before = track(predictor, state)
    _, _, masks = predictor.add_new_points_or_box(state, 0, 2, points=[disk_centre(clip, 1, 0)], labels=[1])
    assert torch.isfinite(masks).all()
    after = track(predictor, state, start_frame_idx=1)
    assert {1, 2, 3, 4} <= changed(before, after)


def test_an_object_added_while_a_pass_is_suspended(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    frames = predictor.propagate_in_video(state)
    came = [next(frames)[:2] for _ in range(4)]
    predictor.add_new_mask(state, 2, 2, clip[1][1, 2])
    came += [frame[:2] for frame in frames]
    assert came == [(t, [1]) for t in range(NUM_FRAMES)], "the pass began with one object"
    assert {len(masks) for masks in track(predictor, state).values()} == {2}
    assert sorted(predictor.get_scores(state, 2)) == [t for t in range(NUM_FRAMES) if t != 2]


@pytest.mark.parametrize("max_pending_frames", [None, 0, 3])
def test_a_suspended_pass_goes_on_after_a_click(
    max_pending_frames: int | None, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    state = start(predictor, clip, max_pending_frames=max_pending_frames)
    frames = predictor.propagate_in_video(state)
    came = [next(frames)[0] for _ in range(3)]
    predictor.add_new_points_or_box(state, 2, 1, points=[disk_centre(clip, 0, 2)], labels=[1])
    assert not any(state["sam2long"].propagation.pending(1)), "a click sees a settled state"
    came += [frame[0] for frame in frames]
    assert came == list(range(NUM_FRAMES))


def test_two_suspended_passes_take_turns(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    first = predictor.propagate_in_video(state)
    came = [next(first)[0]]
    second = predictor.propagate_in_video(state, start_frame_idx=9, reverse=True)
    came_in_reverse = [next(second)[0]]
    came += [next(first)[0]]
    predictor.add_new_mask(state, 0, 2, clip[1][1, 0])
    assert not any(state["sam2long"].propagation.pending(1))
    assert came + [frame[0] for frame in first] == list(range(NUM_FRAMES))
    assert came_in_reverse + [frame[0] for frame in second] == list(range(9, -1, -1))
    assert state["sam2long"].propagation is None


@pytest.mark.parametrize("add_again", [False, True])
@pytest.mark.parametrize("how", ["remove", "reset"])
def test_a_pass_whose_object_is_gone_says_so(
    how: str, add_again: bool, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    state = start(predictor, clip)
    predictor.add_new_mask(state, 0, 2, clip[1][1, 0])
    frames = predictor.propagate_in_video(state)
    next(frames)
    if how == "remove":
        predictor.remove_object(state, 1)
    else:
        predictor.reset_state(state)
    if add_again:
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    with pytest.raises(RuntimeError, match="object 1 was removed while it was being tracked; start propagate_in_video"):
        list(frames)
    assert state["sam2long"].propagation is None
    if how == "reset" and not add_again:
        with pytest.raises(RuntimeError, match="No input points or masks"):
            track(predictor, state)
    else:
        assert list(track(predictor, state)) == list(range(NUM_FRAMES))


def test_reset_leaves_nothing(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    track(predictor, state)
    assert state["sam2long"].recent._frames
    predictor.reset_state(state)
    assert not state["sam2long"].recent._frames, "it held the memories of the last frames"
    assert not any(state[key] for key in state if key.startswith("obj_") or key.endswith("_per_obj"))


@pytest.mark.parametrize("obj_id", ["left hand", np.int64(4), (1, "a")])
def test_any_hashable_is_an_object_id(obj_id: Any, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = predictor.init_state(clip[0], memory_tree=BRANCHING)
    predictor.add_new_mask(state, 0, obj_id, clip[1][0, 0])
    assert {tuple(ids) for _, ids, _ in predictor.propagate_in_video(state)} == {(obj_id,)}
    assert len(predictor.get_scores(state, obj_id)) == NUM_FRAMES - 1
    assert predictor.remove_object(state, obj_id) == ([], [])
