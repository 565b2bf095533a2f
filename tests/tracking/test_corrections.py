"""Corrections with a tree: what they change, in which direction, and how far back frames can be corrected."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, changed, committed, disk_centre, start, track
from support import build_golden, moving_disks

from sam2long import SAM2LongVideoPredictor
from sam2long.state.tracked_frames import NUM_RECENT, RecentFrames

# -- corrections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mask", "points"])
def test_a_correction_changes_what_comes_after_and_before_only_in_reverse(
    kind: str, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    state = start(predictor, clip)
    track(predictor, state)
    before = committed(state)
    if kind == "mask":  # the other disk
        predictor.add_new_mask(state, 6, 1, clip[1][1, 6])
    else:
        points = [disk_centre(clip, 1, 6), disk_centre(clip, 0, 6)]
        predictor.add_new_points_or_box(state, 6, 1, points=points, labels=[1, 0])
    assert changed(before, committed(state)) == set(), "a prompt alone touches no tracked frame"
    forward = track(predictor, state, start_frame_idx=7)
    assert list(forward) == list(range(7, NUM_FRAMES))
    after = committed(state)
    assert changed(before, after) == set(range(6, NUM_FRAMES))
    backward = track(predictor, state, start_frame_idx=5, reverse=True)
    assert list(backward) == [5, 4, 3, 2, 1, 0]
    assert changed(after, committed(state)) == {1, 2, 3, 4, 5}, "frame 0 is the user's"


def test_a_corrected_frame_is_tracked_again_unless_corrections_condition(
    predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    """SAM 2's `add_all_frames_to_correct_as_cond`."""
    conditioning = build_golden(hydra_overrides_extra=["++model.add_all_frames_to_correct_as_cond=true"])
    for p, kept in ((predictor, False), (conditioning, True)):
        state = start(p, clip)
        track(p, state)
        given = clip[1][1, 6]
        p.add_new_mask(state, 6, 1, given)
        masks = track(p, state)
        assert (6 in state["output_dict_per_obj"][0]["cond_frame_outputs"]) == kept
        iou = (masks[6][0, 0].numpy() > 0)[given].mean()
        assert (iou > 0.9) == kept
        assert sorted(masks) == list(range(NUM_FRAMES))
        assert (6 not in p.get_scores(state, 1)) == kept


def test_several_conditioning_frames(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    alone = track(predictor, state)
    state = start(predictor, clip)
    predictor.add_new_mask(state, 9, 1, clip[1][1, 9])
    both = track(predictor, state)
    assert list(both) == list(range(NUM_FRAMES))
    assert sorted(state["output_dict_per_obj"][0]["cond_frame_outputs"]) == [0, 9]
    given = torch.from_numpy(clip[1][1, 9])
    assert ((both[9][0, 0] > 0) == given).float().mean() > 0.98
    assert {10, 11, 12, 13} <= changed(alone, both)
    assert sorted(predictor.get_scores(state, 1)) == [t for t in range(NUM_FRAMES) if t not in (0, 9)]


def test_clearing_a_conditioning_frame_goes_on_without_it(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    alone = track(predictor, state)
    state = start(predictor, clip)
    predictor.add_new_mask(state, 9, 1, clip[1][1, 9])
    predictor.clear_all_prompts_in_frame(state, 9, 1)
    assert changed(alone, track(predictor, state)) == set()


def test_both_directions_from_the_middle(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = predictor.init_state(clip[0], memory_tree=BRANCHING)
    predictor.add_new_mask(state, 7, 1, clip[1][0, 7])
    assert list(track(predictor, state)) == [7, 8, 9, 10, 11, 12, 13]
    assert list(track(predictor, state, reverse=True)) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert sorted(committed(state)) == list(range(NUM_FRAMES))
    tracked = state["frames_tracked_per_obj"][0]
    assert [tracked[t]["reverse"] for t in range(NUM_FRAMES)] == [True] * 8 + [False] * 6


def test_start_and_length_as_in_sam2(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    assert list(track(predictor, state, start_frame_idx=2, max_frame_num_to_track=3)) == [2, 3, 4, 5]
    assert list(track(predictor, state, start_frame_idx=5, max_frame_num_to_track=2, reverse=True)) == [5, 4, 3]
    assert list(track(predictor, state, max_frame_num_to_track=0)) == [0]
    assert list(track(predictor, state, start_frame_idx=0, reverse=True)) == []


# -- long videos ---------------------------------------------------------------------------------------------------


def test_going_back_among_recent_frames_computes_nothing_again() -> None:
    """Frames that are still whole are neither encoded again nor pushed out by each other."""
    predictor, clip = build_golden(), moving_disks(40)
    results = []
    for num_recent in (NUM_RECENT, 10_000):
        state = start(predictor, clip)
        predictor.session(state).recent = RecentFrames(num_recent)
        track(predictor, state)
        with patch.object(predictor, "forward_image", wraps=predictor.forward_image) as encode:
            results.append(track(predictor, state, start_frame_idx=15, max_frame_num_to_track=3))
        assert encode.call_count == 4
    assert changed(*results) == set()


def test_a_click_restores_around_it_without_pushing_out_what_it_reads() -> None:
    predictor, clip = build_golden(), moving_disks(40)
    state = start(predictor, clip)
    track(predictor, state)  # frames 8 to 39 are whole
    predictor.add_new_points_or_box(state, 10, 1, points=[disk_centre(clip, 0, 10)], labels=[1])
    tracked = state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    assert all(tracked[t].packed() is None or tracked[t]["maskmem_features"] is not None for t in range(3, 18))
    assert all(tracked[t].packed() is None for t in range(8, 18))


def test_old_frames_can_be_corrected_and_tracked_again() -> None:
    """Frames older than `NUM_RECENT` are kept as a few kilobytes; what is computed from them hardly differs."""
    predictor, clip = build_golden(), moving_disks(NUM_RECENT + 18)
    results = []
    for num_recent in (NUM_RECENT, 10_000):
        state = start(predictor, clip)
        predictor.session(state).recent = RecentFrames(num_recent)
        track(predictor, state)
        old = state["output_dict_per_obj"][0]["non_cond_frame_outputs"][3]
        assert (old["maskmem_features"] is None) == (num_recent == NUM_RECENT)
        click = predictor.add_new_points_or_box(state, 3, 1, points=[disk_centre(clip, 0, 3)], labels=[1])[2].clone()
        forward = track(predictor, state, start_frame_idx=4, max_frame_num_to_track=3)
        backward = track(predictor, state, start_frame_idx=12, max_frame_num_to_track=4, reverse=True)
        results.append([click, *forward.values(), *backward.values()])
    assert len(results[0]) == 10
    for compacted, whole in zip(*results, strict=True):
        a, b = compacted > 0, whole > 0
        assert (a & b).sum() / (a | b).sum() > 0.9
    assert not torch.equal(results[0][0], results[1][0]), "else nothing was compacted"
