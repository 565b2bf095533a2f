"""Frames that arrive one by one: the masks of a video, at once or when decided, and no past that grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from support import moving_disks, prompts

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.frames.held_frames import NUM_HELD_FRAMES
from sam2long.state.tracked_frames import NUM_RECENT

Clip = tuple[np.ndarray, np.ndarray]
Yielded = list[tuple[int, list[Any], torch.Tensor]]
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)  # every frame is uncertain: pathways compete throughout
NUM_FRAMES = 24  # more than SAM 2's pointer window of 16, where a short video's encodings differ from a stream's


@pytest.fixture(scope="module")
def long_clip() -> Clip:
    return moving_disks(NUM_FRAMES)


def video(p: SAM2LongVideoPredictor, clip: Clip, kind: str, pending: int | None = None) -> dict[int, torch.Tensor]:
    state = p.init_state(clip[0], memory_tree=BRANCHING, max_pending_frames=pending)
    prompts(clip)[kind](p, state)
    return {t: masks for t, _, masks in p.propagate_in_video(state)}


def begin(p: SAM2LongVideoPredictor, clip: Clip, kind: str, pending: int | None = None) -> dict[str, Any]:
    state = p.init_stream(clip[0][0], memory_tree=BRANCHING, max_pending_frames=pending)
    prompts(clip)[kind](p, state)
    return state


def track(p: SAM2LongVideoPredictor, state: dict[str, Any], frames: Sequence[np.ndarray]) -> list[Yielded]:
    return [p.track_frame(state, frame) for frame in frames]


def masks_of(calls: Sequence[Yielded]) -> dict[int, torch.Tensor]:
    yielded = [item for call in calls for item in call]
    assert [t for t, _, _ in yielded] == sorted({t for t, _, _ in yielded}), "each frame once, in order"
    return {t: masks for t, _, masks in yielded}


def assert_equal(got: dict[int, torch.Tensor], expected: dict[int, torch.Tensor]) -> None:
    assert got.keys() == expected.keys()
    for t, masks in expected.items():
        assert torch.equal(got[t], masks), f"frame {t}"


@pytest.mark.parametrize("kind", ["point", "two objects"])
def test_a_stream_gives_the_masks_of_the_video(kind: str, either: SAM2LongVideoPredictor, long_clip: Clip) -> None:
    expected = video(either, long_clip, kind)
    state = begin(either, long_clip, kind)
    calls = track(either, state, long_clip[0][1:])
    assert any(not call for call in calls), "no frame had to wait: the comparison would prove little"
    calls.append(either.finish_stream(state))
    assert_equal(masks_of(calls), {t: expected[t] for t in range(1, NUM_FRAMES)})
    assert all(ids == state["obj_ids"] for call in calls for _, ids, _ in call)
    assert either.finish_stream(state) == []


@pytest.mark.parametrize("kind", ["point", "two objects"])
def test_without_waiting_every_call_gives_its_own_frame(
    kind: str, either: SAM2LongVideoPredictor, long_clip: Clip
) -> None:
    expected = video(either, long_clip, kind, pending=0)
    state = begin(either, long_clip, kind, pending=0)
    for t in range(1, NUM_FRAMES):
        decided = either.track_frame(state, long_clip[0][t])
        assert [frame_idx for frame_idx, _, _ in decided] == [t]
        assert torch.equal(decided[0][2], expected[t])
    assert either.finish_stream(state) == []


def test_the_wait_is_bounded(either: SAM2LongVideoPredictor, long_clip: Clip) -> None:
    waits = {}
    for pending in (2, None):
        state, num_yielded, waits[pending] = begin(either, long_clip, "point", pending), 0, 0
        for t in range(1, NUM_FRAMES):
            num_yielded += len(either.track_frame(state, long_clip[0][t]))
            waits[pending] = max(waits[pending], t - num_yielded)
    assert waits[2] == 2
    assert waits[None] > 2


def test_tensors_are_taken_too(predictor: SAM2LongVideoPredictor, long_clip: Clip) -> None:
    results = []
    for convert in (np.asarray, torch.from_numpy):
        state = predictor.init_stream(convert(long_clip[0][0]), max_pending_frames=0)
        prompts(long_clip)["point"](predictor, state)
        results.append(masks_of(track(predictor, state, [convert(frame) for frame in long_clip[0][1:4]])))
    assert_equal(*results)


@pytest.mark.parametrize("kind", ["click", "object"])
def test_prompts_while_streaming_equal_those_between_two_passes(
    kind: str, either: SAM2LongVideoPredictor, long_clip: Clip
) -> None:
    frames, truth = long_clip

    def prompt(state: dict[str, Any]) -> None:
        if kind == "click":
            either.add_new_points_or_box(state, 9, 1, points=[[40.0, 50.0], [90.0, 20.0]], labels=[1, 0])
        else:
            either.add_new_mask(state, 9, 2, truth[1, 9])

    state = either.init_state(frames, memory_tree=BRANCHING)
    prompts(long_clip)["point"](either, state)
    expected = {t: m for t, _, m in either.propagate_in_video(state, max_frame_num_to_track=9)}
    prompt(state)
    expected |= {t: m for t, _, m in either.propagate_in_video(state, start_frame_idx=10)}

    state = begin(either, long_clip, "point")
    calls = track(either, state, frames[1:10])
    prompt(state)
    calls += track(either, state, frames[10:])
    calls.append(either.finish_stream(state))
    assert_equal(masks_of(calls), {t: expected[t] for t in range(1, NUM_FRAMES)})
    assert {t: m.shape[0] for t, m in masks_of(calls).items()} == {
        t: 2 if kind == "object" and t > 9 else 1 for t in range(1, NUM_FRAMES)
    }


def test_an_object_removed_while_streaming(either: SAM2LongVideoPredictor, long_clip: Clip) -> None:
    state = begin(either, long_clip, "two objects", pending=0)
    track(either, state, long_clip[0][1:5])
    either.remove_object(state, 7)
    ((t, obj_ids, masks),) = either.track_frame(state, long_clip[0][5])
    assert (t, obj_ids, masks.shape[0]) == (5, [3], 1)


def test_what_cannot_be_tracked_is_refused_and_harms_nothing(
    predictor: SAM2LongVideoPredictor, long_clip: Clip
) -> None:
    frame = long_clip[0][0]
    state = predictor.init_stream(frame, memory_tree=BRANCHING)
    prompts(long_clip)["point"](predictor, state)
    with pytest.raises(ValueError, match="frame 1 is 64x96, the stream began with 128x96"):
        predictor.track_frame(state, frame[:, :64])
    for wrong in (frame.astype(np.float32), frame[..., :2], frame[..., 0]):
        with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
            predictor.track_frame(state, wrong)
    calls = track(predictor, state, long_clip[0][1:])
    calls.append(predictor.finish_stream(state))
    assert_equal(masks_of(calls), {t: m for t, m in video(predictor, long_clip, "point").items() if t > 0})


def test_frames_are_taken_while_nothing_is_tracked(predictor: SAM2LongVideoPredictor, long_clip: Clip) -> None:
    """Before the first prompt, and after the last object is removed: a new detection is shown on the newest frame."""
    frames, masks = long_clip
    state = predictor.init_stream(frames[0], memory_tree=BRANCHING)
    assert [predictor.track_frame(state, frame) for frame in frames[1:4]] == [[], [], []]
    predictor.add_new_mask(state, 3, "late", masks[0, 3])
    calls = track(predictor, state, frames[4:9])
    predictor.remove_object(state, "late")
    assert [predictor.track_frame(state, frame) for frame in frames[9:12]] == [[], [], []]
    assert predictor.finish_stream(state) == []
    predictor.add_new_mask(state, 11, "again", masks[1, 11])
    calls += track(predictor, state, frames[12:])
    calls.append(predictor.finish_stream(state))
    answered = [(t, obj_ids) for call in calls for t, obj_ids, _ in call]
    assert [t for t, _ in answered if t > 11] == list(range(12, len(frames)))
    assert {t for t, _ in answered if t < 11} <= set(range(4, 9))
    assert all(obj_ids == ["again"] for t, obj_ids in answered if t > 11)


def test_a_bad_prompt_leaves_no_trace_in_a_stream(predictor: SAM2LongVideoPredictor, long_clip: Clip) -> None:
    expected = video(predictor, long_clip, "point")
    state = begin(predictor, long_clip, "point")
    with pytest.raises(ValueError, match="frame 7 of the stream is not held"):
        predictor.add_new_points_or_box(state, 7, 99, points=[[40.0, 50.0]], labels=[1])
    with pytest.raises(ValueError, match="mask must be"):
        predictor.add_new_mask(state, 0, 99, long_clip[1][:, 0])
    assert 99 not in state["obj_ids"]
    calls = track(predictor, state, long_clip[0][1:])
    calls.append(predictor.finish_stream(state))
    assert_equal(masks_of(calls), {t: expected[t] for t in range(1, NUM_FRAMES)})


def test_an_object_whose_prompts_are_cleared_rests_and_stops_no_other(
    predictor: SAM2LongVideoPredictor, long_clip: Clip
) -> None:
    state = begin(predictor, long_clip, "two objects", pending=0)
    track(predictor, state, long_clip[0][1:5])
    predictor.clear_all_prompts_in_frame(state, 0, 3)
    ((frame_idx, obj_ids, masks),) = predictor.track_frame(state, long_clip[0][5])
    assert (frame_idx, obj_ids, masks.shape[0]) == (5, [7], 1)
    predictor.add_new_mask(state, 5, 3, long_clip[1][0, 5])
    ((frame_idx, obj_ids, masks),) = predictor.track_frame(state, long_clip[0][6])
    assert (frame_idx, obj_ids, masks.shape[0]) == (6, state["obj_ids"], 2)


def test_a_videos_state_is_no_stream(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = predictor.init_state(clip[0])
    with pytest.raises(ValueError, match="init_stream"):
        predictor.track_frame(state, clip[0][0])
    with pytest.raises(ValueError, match="init_stream"):
        predictor.finish_stream(state)


def test_a_stream_of_one_pathway_is_refused_at_once(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    with pytest.raises(ValueError, match="num_pathways"):
        predictor.init_stream(clip[0][0], memory_tree=MemoryTreeConfig(num_pathways=1))


def test_only_the_newest_frames_can_be_prompted_and_are_kept(predictor: SAM2LongVideoPredictor) -> None:
    length = NUM_RECENT + 16
    clip = moving_disks(length)
    state = begin(predictor, clip, "two objects", pending=0)
    track(predictor, state, clip[0][1:])
    with pytest.raises(ValueError, match=f"frame 5 .*only the newest {NUM_HELD_FRAMES} of {length}"):
        predictor.add_new_points_or_box(state, 5, 7, points=[[40.0, 50.0]], labels=[1])
    for obj_id in (3, 7):
        kept = sorted(predictor.get_scores(state, obj_id))
        assert kept[-1] == length - 1
        assert NUM_RECENT <= len(kept) <= NUM_RECENT + 1
    assert len(state["frames_tracked_per_obj"][0]) <= NUM_RECENT + 2
    oldest_held = length - NUM_HELD_FRAMES
    _, _, masks = predictor.add_new_points_or_box(state, oldest_held, 7, points=[[40.0, 50.0]], labels=[1])
    assert masks.shape == (2, 1, 96, 128)
    assert [t for t, _, _ in predictor.track_frame(state, clip[0][-1])] == [length]
