"""Corrections with a tree: what they change, in which direction, and how far back frames can be corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, SAM2, Clip, changed, committed, disk_centre, start, track
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import build_golden, build_sam2_golden, moving_disks

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
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


@pytest.mark.parametrize("explicit", [None, True, False])
def test_corrected_frames_condition_unless_the_config_says_otherwise(explicit: bool | None, clip: Clip) -> None:
    """SAM 2's `add_all_frames_to_correct_as_cond`: where a config sets nothing, True with a tree."""
    overrides = [] if explicit is None else [f"++model.add_all_frames_to_correct_as_cond={explicit}"]
    predictor = build_golden(hydra_overrides_extra=overrides)
    state, given, kept = start(predictor, clip), clip[1][1, 6], explicit is not False
    track(predictor, state)
    predictor.add_new_mask(state, 6, 1, given)
    masks = track(predictor, state)
    assert (6 in state["output_dict_per_obj"][0]["cond_frame_outputs"]) == kept
    assert ((masks[6][0, 0].numpy() > 0)[given].mean() > 0.9) == kept
    assert sorted(masks) == list(range(NUM_FRAMES))
    assert (6 not in predictor.get_scores(state, 1)) == kept


@pytest.mark.parametrize("kind", ["mask", "points"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"start_frame_idx": 6}, {"start_frame_idx": 7}, {"start_frame_idx": 9, "reverse": True}],
    ids=["from the start", "from it", "from after it", "reverse"],
)
def test_every_later_pass_keeps_and_uses_a_correction(
    kind: str, arguments: dict[str, Any], predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    state, given = start(predictor, clip), clip[1][1, 6]
    before = track(predictor, state)
    if kind == "mask":
        _, _, shown = predictor.add_new_mask(state, 6, 1, given)
    else:
        points = [disk_centre(clip, 1, 6), disk_centre(clip, 0, 6)]
        _, _, shown = predictor.add_new_points_or_box(state, 6, 1, points=points, labels=[1, 0])
    for _ in range(2):  # the second pass over it, too
        masks = track(predictor, state, **arguments)
        if 6 in masks:
            assert ((masks[6] > 0) == (shown > 0)).float().mean() > 0.99
        uses = [t for t in masks if (0 < t < 6 if "reverse" in arguments else t > 6)]
        assert uses
        assert all(not torch.equal(masks[t], before[t]) for t in uses)


def test_clearing_a_correction_takes_it_back(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    before = track(predictor, state)
    entry = state["output_dict_per_obj"][0]["non_cond_frame_outputs"][6]
    predictor.add_new_mask(state, 6, 1, clip[1][1, 6])
    track(predictor, state, start_frame_idx=12)  # consolidates; frames 7 to 11 stay as they were
    predictor.add_new_points_or_box(state, 6, 1, points=[disk_centre(clip, 1, 6)], labels=[1])  # once more
    _, _, shown = predictor.clear_all_prompts_in_frame(state, 6, 1)
    assert torch.equal(shown, before[6])
    assert state["output_dict_per_obj"][0]["non_cond_frame_outputs"][6] is entry
    assert state["frames_tracked_per_obj"][0][6] == {"reverse": False}
    assert sorted(state["output_dict_per_obj"][0]["cond_frame_outputs"]) == [0]
    assert changed(before, track(predictor, state)) == set()


def test_a_correction_that_is_saved_can_be_taken_back(
    predictor: SAM2LongVideoPredictor, clip: Clip, tmp_path: Path
) -> None:
    state = start(predictor, clip)
    before = track(predictor, state)
    predictor.add_new_mask(state, 6, 1, clip[1][1, 6])
    track(predictor, state)
    predictor.save_state(state, tmp_path / "corrected.safetensors")
    loaded = predictor.load_state(tmp_path / "corrected.safetensors", clip[0])
    assert torch.equal(predictor.clear_all_prompts_in_frame(loaded, 6, 1)[2], before[6])


def test_the_first_prompt_can_be_refined_after_tracking(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """SAM 2 drops it: a correction of a conditioning frame lands among the tracked ones, and is popped there."""
    state = start(predictor, clip)
    track(predictor, state)
    _, _, shown = predictor.add_new_mask(state, 0, 1, clip[1][1, 0])
    shown = shown.clone()
    assert torch.equal(track(predictor, state)[0], shown)


def test_one_pathway_corrects_as_sam2_does(
    predictor: SAM2LongVideoPredictor, sam2_predictor: SAM2VideoPredictor, clip: Clip, clip_folder: str
) -> None:
    masks = []
    for p, settings in ((predictor, {"memory_tree": SAM2}), (sam2_predictor, {})):
        state = p.init_state(clip_folder, **settings)
        p.add_new_mask(state, 0, 1, clip[1][0, 0])
        track(p, state)
        p.add_new_mask(state, 6, 1, clip[1][1, 6])
        masks.append(track(p, state))
        assert sorted(state["output_dict_per_obj"][0]["cond_frame_outputs"]) == [0]
    assert changed(*masks) == set()


@pytest.mark.parametrize("explicit", [None, True])
def test_from_sam2_keeps_what_the_config_says_of_corrections(explicit: bool | None) -> None:
    ours = SAM2LongVideoPredictor.from_sam2(build_sam2_golden(add_all_frames_to_correct_as_cond=bool(explicit)))
    assert ours.add_all_frames_to_correct_as_cond  # the tree's default, or the config's
    ours.memory_tree = SAM2
    assert ours.add_all_frames_to_correct_as_cond == bool(explicit)


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


@pytest.mark.parametrize("num_pathways", [1, 3])
def test_a_prompt_after_all_were_cleared_is_a_first_prompt(
    predictor: SAM2LongVideoPredictor, clip: Clip, num_pathways: int
) -> None:
    """On a tracked frame, too, where SAM 2 would attend to memories of prompted frames, and has none."""
    frames, masks = clip
    states = [predictor.init_state(frames, memory_tree=MemoryTreeConfig(num_pathways=num_pathways)) for _ in range(2)]
    predictor.add_new_mask(states[0], 0, 1, masks[0, 0])
    list(predictor.propagate_in_video(states[0]))
    predictor.clear_all_prompts_in_frame(states[0], 0, 1)
    # With a click it would not be equal: SAM 2 refines the mask that was answered on the frame.
    got, fresh = (predictor.add_new_mask(state, 5, 1, masks[0, 5])[2] for state in states)
    assert torch.equal(got, fresh)
    list(predictor.propagate_in_video(states[0], start_frame_idx=5))
    predictor.clear_all_prompts_in_frame(states[0], 5, 1)
    ys, xs = np.nonzero(masks[0, 7])
    predictor.add_new_points_or_box(states[0], 7, 1, points=[[float(xs.mean()), float(ys.mean())]], labels=[1])
    list(predictor.propagate_in_video(states[0]))
    assert list(states[0]["output_dict_per_obj"][0]["cond_frame_outputs"]) == [7]


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
