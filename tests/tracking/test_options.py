"""Every option of the state and of the model works with a tree, or is refused by name."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, SAM2, Clip, changed, committed, disk_centre, start, track
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import build_golden, moving_disks

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.model import holes
from sam2long.state import restoring
from sam2long.state.tracked_frames import NUM_RECENT

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
    for module in (holes, restoring):
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
