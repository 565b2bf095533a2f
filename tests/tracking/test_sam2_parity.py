"""With `num_pathways=1` our predictor is SAM 2; with a tree, what no hypothesis touches still is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import build_golden, moving_disks, prompts

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor

SAM2 = MemoryTreeConfig(num_pathways=1)
PROMPTS = sorted(prompts(moving_disks(14)))


def track(
    predictor: SAM2VideoPredictor, state: dict[str, Any], **kwargs: Any
) -> list[tuple[int, list[Any], torch.Tensor]]:
    return [(t, list(ids), masks.clone()) for t, ids, masks in predictor.propagate_in_video(state, **kwargs)]


def assert_equal(
    ours: list[tuple[int, list[Any], torch.Tensor]], theirs: list[tuple[int, list[Any], torch.Tensor]]
) -> None:
    assert [(t, ids) for t, ids, _ in ours] == [(t, ids) for t, ids, _ in theirs]
    for (t, _, a), (_, _, b) in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b), f"frame {t}"


@pytest.mark.parametrize("kind", PROMPTS)
def test_one_pathway_is_sam2(
    kind: str,
    predictor: SAM2LongVideoPredictor,
    sam2_predictor: SAM2VideoPredictor,
    clip: tuple[np.ndarray, np.ndarray],
    clip_folder: str,
) -> None:
    ours = predictor.init_state(clip_folder, memory_tree=SAM2)
    theirs = sam2_predictor.init_state(clip_folder)
    prompts(clip)[kind](predictor, ours)
    prompts(clip)[kind](sam2_predictor, theirs)
    expected = track(sam2_predictor, theirs)
    assert len(expected) == 14
    assert any((masks > 0).any() for _, _, masks in expected[1:]), "the object is visible, or equality says little"
    assert_equal(track(predictor, ours), expected)
    assert_equal(
        track(predictor, ours, start_frame_idx=9, reverse=True),
        track(sam2_predictor, theirs, start_frame_idx=9, reverse=True),
    )
    assert set(ours) - {"sam2long"} == set(theirs)
    assert ours["output_dict_per_obj"][0].keys() == theirs["output_dict_per_obj"][0].keys()


def test_state_keys_are_sam2s(
    predictor: SAM2LongVideoPredictor, sam2_predictor: SAM2VideoPredictor, clip_folder: str
) -> None:
    ours, theirs = predictor.init_state(clip_folder), sam2_predictor.init_state(clip_folder)
    assert ours.keys() == theirs.keys()
    assert {k: type(v) for k, v in ours.items() if k not in ("images", "obj_id_to_idx", "obj_idx_to_id")} == {
        k: type(v) for k, v in theirs.items() if k not in ("images", "obj_id_to_idx", "obj_idx_to_id")
    }
    for t in range(len(theirs["images"])):
        assert torch.equal(ours["images"][t], theirs["images"][t])


@pytest.mark.parametrize("kind", PROMPTS)
def test_the_first_tracked_frame_is_sam2s(
    kind: str,
    predictor: SAM2LongVideoPredictor,
    sam2_predictor: SAM2VideoPredictor,
    clip: tuple[np.ndarray, np.ndarray],
    clip_folder: str,
) -> None:
    """Rule 2: with only conditioning frames in memory the tree takes SAM 2's own step."""
    results = []
    for p in (predictor, sam2_predictor):
        state = p.init_state(clip_folder)
        prompts(clip)[kind](p, state)
        results.append([masks for _, _, masks in track(p, state, max_frame_num_to_track=1)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_from_sam2_shares_weights(
    sam2_predictor: SAM2VideoPredictor, clip: tuple[np.ndarray, np.ndarray], clip_folder: str
) -> None:
    ours = SAM2LongVideoPredictor.from_sam2(sam2_predictor, memory_tree="authors_command")
    assert ours.memory_tree.iou_threshold == 0.1
    assert type(sam2_predictor) is SAM2VideoPredictor
    assert not hasattr(sam2_predictor, "memory_tree")
    for name, parameter in sam2_predictor.named_parameters():
        assert ours.get_parameter(name) is parameter
    built = build_golden(memory_tree="authors_command")
    results = []
    for p in (ours, built):
        state = p.init_state(clip_folder)
        prompts(clip)["two objects"](p, state)
        results.append(track(p, state))
    assert_equal(*results)
    with pytest.raises(ValueError, match="SAM2VideoPredictor"):
        SAM2LongVideoPredictor.from_sam2(torch.nn.Linear(1, 1))
