"""SAM 2's interactive API with a tree: corrections, many objects, both directions, every option of the model."""

from __future__ import annotations

import warnings
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import build_golden, moving_disks

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.model import holes
from sam2long.state import interactive
from sam2long.state.tracked_frames import NUM_RECENT, RecentFrames

Clip = tuple[np.ndarray, np.ndarray]
State = dict[str, Any]
NUM_FRAMES = 14
# Every frame counts as uncertain, so the tree branches from the first modulated frame on.
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)
SAM2 = MemoryTreeConfig(num_pathways=1)


def start(predictor: SAM2LongVideoPredictor, clip: Clip, **kwargs: Any) -> State:
    """A state with the first disk's mask given on frame 0, as object 1."""
    state = predictor.init_state(clip[0], **{"memory_tree": BRANCHING, **kwargs})
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    return state


def track(predictor: SAM2VideoPredictor, state: State, **kwargs: Any) -> dict[int, torch.Tensor]:
    """Masks [N, 1, H, W] by frame, in the order in which they came."""
    masks = {}
    for frame_idx, _, video_res_masks in predictor.propagate_in_video(state, **kwargs):
        assert frame_idx not in masks, "a frame comes once"
        masks[frame_idx] = video_res_masks.clone()
    return masks


def committed(state: State, obj_idx: int = 0) -> dict[int, torch.Tensor]:
    outputs = state["output_dict_per_obj"][obj_idx]
    return {
        t: output["pred_masks"].clone()
        for kind in ("cond_frame_outputs", "non_cond_frame_outputs")
        for t, output in outputs[kind].items()
    }


def changed(before: dict[int, torch.Tensor], after: dict[int, torch.Tensor]) -> set[int]:
    return {t for t in before.keys() & after.keys() if not torch.equal(before[t], after[t])}


def disk_centre(clip: Clip, k: int, frame_idx: int) -> list[float]:
    ys, xs = np.nonzero(clip[1][k, frame_idx])
    return [float(xs.mean()), float(ys.mean())]


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


# -- options of the state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["offload_video_to_cpu", "offload_state_to_cpu", "async_loading_frames"])
def test_where_things_lie_changes_no_mask(option: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    expected = track(predictor, start(predictor, clip))
    state = start(predictor, clip, **{option: True})
    assert changed(expected, track(predictor, state)) == set()
    assert state["storage_device"] == torch.device("cpu")


def test_keys_of_the_authors_fork_are_honoured(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip, memory_tree=None)
    state["num_pathway"], state["iou_thre"], state["uncertainty"] = 2, 0.1, 100
    with pytest.warns(DeprecationWarning, match="num_pathway.*memory_tree=MemoryTreeConfig"):
        masks = track(predictor, state)
    ours = MemoryTreeConfig(num_pathways=2, iou_threshold=0.1, uncertainty_threshold=100)
    assert state["sam2long"].config == ours
    assert changed(masks, track(predictor, start(predictor, clip, memory_tree=ours))) == set()
    state = start(predictor, clip)
    state["num_pathway"] = 0
    with (
        pytest.warns(DeprecationWarning, match="num_pathway"),
        pytest.raises(ValueError, match=r'inference_state\["num_pathway"\]: num_pathways must be an integer >= 1'),
    ):
        track(predictor, state)


@pytest.mark.parametrize(
    "keys", [{"num_pathway": 1}, {"iou_thre": 0.1}, {"num_pathway": 3, "iou_thre": 0.3, "uncertainty": 2}]
)
def test_keys_of_the_fork_are_named_once(predictor: SAM2LongVideoPredictor, clip: Clip, keys: dict[str, Any]) -> None:
    """Also where they change nothing, and at a line of the program: elsewhere Python hides a DeprecationWarning."""
    state = predictor.init_state(clip[0])
    state.update(keys)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predictor.add_new_points_or_box(state, 0, 1, points=[disk_centre(clip, 0, 0)], labels=[1])
        list(predictor.propagate_in_video(state))
        list(predictor.propagate_in_video(state, start_frame_idx=3))
    named = [warning for warning in caught if issubclass(warning.category, DeprecationWarning)]
    assert [warning.filename for warning in named] == [__file__]


def test_the_tree_can_be_switched_off_between_passes(predictor: SAM2LongVideoPredictor) -> None:
    """SAM 2's own code then reads frames whose memory features the tree let go."""
    clip = moving_disks(NUM_RECENT + 12)
    state = start(predictor, clip)
    track(predictor, state)
    state["num_pathway"] = 1
    with pytest.warns(DeprecationWarning, match="num_pathway"):
        assert list(track(predictor, state, start_frame_idx=8, max_frame_num_to_track=2)) == [8, 9, 10]


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


# -- options of the model ------------------------------------------------------------------------------------------


def build(*options: str, **kwargs: Any) -> SAM2LongVideoPredictor:
    return build_golden(hydra_overrides_extra=[f"++model.{option}" for option in options], **kwargs)


# Options that need other weights than the golden model's; theirs are random.
OTHER_WEIGHTS = (
    ("use_obj_ptrs_in_encoder=false", "pred_obj_scores=false", "fixed_no_obj_ptr=false"),
    ("pred_obj_scores=false", "fixed_no_obj_ptr=false"),
    ("pred_obj_scores_mlp=false",),
    ("use_mlp_for_obj_ptr_proj=false",),
    ("no_obj_embed_spatial=false",),
    ("proj_tpos_enc_in_obj_ptrs=false",),
    ("add_tpos_enc_to_obj_ptrs=false", "proj_tpos_enc_in_obj_ptrs=false"),
    ("num_maskmem=1",),
    ("num_maskmem=4",),
)
SAME_WEIGHTS = (
    ("soft_no_obj_ptr=true",),
    ("fixed_no_obj_ptr=false",),
    ("only_obj_ptrs_in_the_past_for_eval=false",),
    ("use_signed_tpos_enc_to_obj_ptrs=false",),
    ("max_obj_ptrs_in_encoder=2",),
    ("max_obj_ptrs_in_encoder=4",),
    ("use_multimask_token_for_obj_ptr=false",),
    ("use_mask_input_as_output_without_sam=false",),
    ("iou_prediction_use_sigmoid=false",),
    ("sigmoid_scale_for_mem_enc=1.0", "sigmoid_bias_for_mem_enc=0.0"),
    ("binarize_mask_from_pts_for_mem_enc=true",),
    ("non_overlap_masks=true",),
    ("non_overlap_masks_for_mem_enc=true",),
    ("add_all_frames_to_correct_as_cond=true",),
    ("clear_non_cond_mem_around_input=true",),
    ("max_cond_frames_in_attn=2",),
    ("multimask_max_pt_num=3",),
)


@pytest.mark.parametrize("options", [*OTHER_WEIGHTS, *SAME_WEIGHTS], ids=" ".join)
def test_every_option_works_with_a_tree(options: tuple[str, ...], clip: Clip) -> None:
    """Two objects, prompts on three frames, both directions: what SAM 2 tracks, the tree tracks."""
    torch.manual_seed(0)
    predictor = build(*options, **({"ckpt_path": None} if options in OTHER_WEIGHTS else {}))
    if predictor.pred_obj_scores and options in OTHER_WEIGHTS:
        head = predictor.sam_mask_decoder.pred_obj_score_head
        torch.nn.init.constant_((head.layers[-1] if hasattr(head, "layers") else head).bias, 1.0)
    state = start(predictor, clip)
    predictor.add_new_points_or_box(state, 4, 2, points=[disk_centre(clip, 1, 4)], labels=[1])
    predictor.add_new_points_or_box(state, 8, 1, box=[10, 10, 60, 60])
    forward = track(predictor, state)
    backward = track(predictor, state, start_frame_idx=10, reverse=True)
    assert list(forward) == list(range(NUM_FRAMES))
    assert list(backward) == list(range(10, -1, -1))
    for masks in (*forward.values(), *backward.values()):
        assert masks.shape == (2, 1, 96, 128)
        assert torch.isfinite(masks).all()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("num_maskmem=0",), "num_maskmem=0"),
        (("multimask_output_in_sam=false",), "three masks"),
        (("multimask_output_for_tracking=false",), "three masks"),
        (("multimask_min_pt_num=1",), "three masks"),
        (("memory_temporal_stride_for_eval=2",), "memory_temporal_stride_for_eval=2"),
        (("max_cond_frames_in_attn=1",), "max_cond_frames_in_attn=1"),
        (("max_cond_frames_in_attn=-2",), "max_cond_frames_in_attn=-2"),
        (("max_obj_ptrs_in_encoder=1",), "max_obj_ptrs_in_encoder=1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_without_meaning_for_a_tree_is_refused(options: tuple[str, ...], named: str) -> None:
    kwargs = {"ckpt_path": None} if "num_maskmem" in named else {}
    with pytest.raises(Exception, match=named) as raised:
        build(*options, **kwargs)
    causes = [raised.value, raised.value.__cause__]
    assert any(isinstance(cause, ValueError) for cause in causes)
    assert build(*options, memory_tree=SAM2, **kwargs).memory_tree == SAM2, "without a tree it is SAM 2's affair"


def test_overlap_is_resolved_in_the_answer_only(clip: Clip) -> None:
    masks = {}
    for option in ("false", "true"):
        predictor = build(f"non_overlap_masks={option}")
        state = start(predictor, clip)
        predictor.add_new_mask(state, 0, 2, clip[1][0, 0])  # the same disk: all of it overlaps
        masks[option] = track(predictor, state)
    assert all(((frame > 0).sum(dim=0) > 1).any() for frame in masks["false"].values())
    assert not any(((frame > 0).sum(dim=0) > 1).any() for frame in masks["true"].values())


def test_pathways_do_not_compete_for_pixels(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """`non_overlap_masks_for_mem_enc` is between objects; encoded in a batch, pathways would count as such."""
    expected = track(predictor, start(predictor, clip))
    constrained = build("non_overlap_masks_for_mem_enc=true")
    for t, masks in track(constrained, start(constrained, clip)).items():
        torch.testing.assert_close(masks, expected[t], atol=1e-2, rtol=1e-3)


def test_clicks_are_binarised_before_they_are_remembered(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    features = []
    for p in (predictor, build("binarize_mask_from_pts_for_mem_enc=true")):
        state = p.init_state(clip[0], memory_tree=BRANCHING)
        p.add_new_points_or_box(state, 0, 1, points=[disk_centre(clip, 0, 0)], labels=[1])
        assert len(track(p, state)) == NUM_FRAMES
        features.append(state["output_dict_per_obj"][0]["cond_frame_outputs"][0]["maskmem_features"])
    assert not torch.equal(*features)


def test_only_the_closest_conditioning_frames_are_attended_to(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    masks = []
    for p in (predictor, build("max_cond_frames_in_attn=2"), build("max_cond_frames_in_attn=5")):
        state = start(p, clip)
        for t in (2, 4, 6, 8):
            p.add_new_mask(state, t, 1, clip[1][t // 4 % 2, t])
        masks.append(track(p, state))
    assert changed(masks[0], masks[2]) == set(), "five there are"
    assert {11, 12, 13} <= changed(masks[0], masks[1])


@pytest.mark.parametrize("tree", [SAM2, BRANCHING], ids=["one pathway", "three"])
def test_memories_around_a_correction_are_dropped(
    tree: MemoryTreeConfig, sam2_predictor: SAM2VideoPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`clear_non_cond_mem_around_input`: sam2 1.1.0 calls a method that it lacks."""
    assert not hasattr(sam2_predictor, "_clear_obj_non_cond_mem_around_input")
    predictor, clip = build("clear_non_cond_mem_around_input=true"), moving_disks(30)
    state = start(predictor, clip, memory_tree=tree)
    assert list(track(predictor, state)) == list(range(30))
    predictor.add_new_mask(state, 15, 1, clip[1][0, 15])
    assert list(track(predictor, state, start_frame_idx=25, max_frame_num_to_track=1)) == [25, 26]
    tracked = state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    assert sorted(tracked) == [*range(1, 8), *range(23, 30)], "num_maskmem = 7 frames to either side"


def test_holes_are_filled_without_sam2s_kernel(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holes up to the size of the whole mask: no background may be left, in prompts, answers or the state."""
    for module in (holes, interactive):
        monkeypatch.setattr(module, "has_sam2_kernel", lambda: False)
    predictor = build("fill_hole_area=1024")  # masks are 32 x 32
    state = predictor.init_state(clip[0], memory_tree=BRANCHING)
    _, _, prompted = predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    assert (prompted > 0).all()
    masks = track(predictor, state)
    visible = [t for t, score in predictor.get_scores(state, 1).items() if score.occlusion_score > 0]
    assert len(visible) > 5
    assert all((masks[t] > 0).all() for t in masks)
    assert all((mask > 0).all() for mask in committed(state).values())


def test_iou_heads_without_a_sigmoid_may_leave_the_unit_interval(clip: Clip) -> None:
    """A predicted IoU below zero has no logarithm; it counts as zero."""
    predictor = build("iou_prediction_use_sigmoid=false")
    with torch.no_grad():
        predictor.sam_mask_decoder.iou_prediction_head.layers[-1].bias.fill_(-2.0)
    state = start(predictor, clip)
    assert len(track(predictor, state)) == NUM_FRAMES
    scores = predictor.get_scores(state, 1)
    assert min(score.predicted_iou for score in scores.values()) < 0
