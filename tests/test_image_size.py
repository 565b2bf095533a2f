"""Other input sizes than the config's: SAM 2 itself at that size, and what cannot be one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sam2.build_sam import build_sam2_video_predictor
from support import build_golden, moving_disks

from sam2long import SAM2LongVideoPredictor, build_sam2long_video_predictor

TINY = "configs/sam2.1/sam2.1_hiera_t.yaml"


@pytest.fixture(scope="module")
def pair() -> tuple[SAM2LongVideoPredictor, Any]:
    """Official modules, made for 1024 pixels, at 256: ours and sam2's own, of equal random weights."""
    torch.manual_seed(0)
    sizes = [f"++model.memory_attention.layer.{kind}_attention.feat_sizes=[16,16]" for kind in ("self", "cross")]
    theirs = build_sam2_video_predictor(
        TINY, device="cpu", vos_optimized=False, hydra_overrides_extra=["++model.image_size=256", *sizes]
    )
    ours = build_sam2long_video_predictor(TINY, device="cpu", image_size=256)
    with torch.no_grad():
        # Random weights see nothing anywhere, and equality would say nothing.
        theirs.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def masks_of(predictor: Any, video: Any, **settings: Any) -> list[torch.Tensor]:
    state = predictor.init_state(video, **settings)
    predictor.add_new_points_or_box(state, 0, 1, points=[[30, 40]], labels=[1])
    return [masks for _, _, masks in predictor.propagate_in_video(state)]


def test_one_pathway_is_sam2_at_that_size(pair: tuple[SAM2LongVideoPredictor, Any], clip_folder: str) -> None:
    ours, theirs = pair
    assert ours.image_size == theirs.image_size == 256
    assert [layer.cross_attn_image.freqs_cis.shape[0] for layer in ours.memory_attention.layers] == [256] * 4
    expected = masks_of(theirs, clip_folder)
    got = masks_of(ours, clip_folder, memory_tree={"num_pathways": 1})
    assert len(got) == len(expected) == 14
    assert any(len(masks.unique()) > 100 for masks in expected)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_the_tree_runs_at_that_size(pair: tuple[SAM2LongVideoPredictor, Any]) -> None:
    masks = masks_of(pair[0], moving_disks(5)[0], memory_tree={"uncertainty_threshold": 100.0})
    assert [tuple(of.shape) for of in masks] == [(1, 1, 96, 128)] * 5


def test_a_size_is_a_multiple_of_32(clip: tuple[np.ndarray, np.ndarray]) -> None:
    for size in (0, -32, 100, 512.0, True):
        with pytest.raises(ValueError, match="must be a multiple of 32"):
            build_golden(image_size=size)
    state = build_golden(image_size=96).init_state(clip[0])
    assert state["images"].shape[-2:] == (96, 96)
