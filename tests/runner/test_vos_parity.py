"""With one pathway the PNG files are, to the pixel, what a loop over SAM 2's own predictor gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_trees import HEIGHT, PALETTE, WIDTH, later_dataset, per_object_dataset, plain_dataset, read_pngs
from PIL import Image
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import build_sam2_golden
from vos_jobs import SAM2, TREE, Objects, apart_by_sam2, golden_settings, one_map, together_by_sam2, vos_job

from sam2long.datasets import DatasetLayout, shown_masks
from sam2long.runner import run_job
from sam2long.runner.tasks import VosTask
from sam2long.runner.tracking import label_map, without_overlap

SHAPE = (HEIGHT, WIDTH)


def objects_of(layout: DatasetLayout, video: int = 0) -> Objects:
    objects: Objects = {}
    for of in shown_masks(layout.items()[video], HEIGHT, WIDTH):
        objects.setdefault(of.obj_id, {})[of.frame_idx] = of.mask
    return objects


@pytest.mark.parametrize("all_masks", [False, True])
def test_objects_of_the_first_frame(tmp_path: Path, sam2_predictor: SAM2VideoPredictor, all_masks: bool) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 6})
    if all_masks:
        layout = replace(later_dataset(tmp_path / "more"), later=False, all_masks=True)
        (layout.masks / "alpha" / "00001.png").rename(layout.masks / "alpha" / "00000.png")
        (layout.masks / "alpha" / "00003.png").unlink()
        labels = np.array(Image.open(layout.masks / "alpha" / "00005.png"))
        Image.fromarray(np.where(labels == 1, 1, 0).astype(np.uint8)).save(layout.masks / "alpha" / "00005.png")
    outcome = run_job(vos_job(layout, tmp_path / "out"), workers=0)
    assert outcome.done == ["alpha"]
    expected = together_by_sam2(sam2_predictor, layout.frames / "alpha", objects_of(layout))
    found = read_pngs(tmp_path / "out" / "alpha")
    assert list(found) == [f"{t:05d}.png" for t in expected]
    for t, logits in expected.items():
        assert np.array_equal(found[f"{t:05d}.png"], one_map(logits, SHAPE))
    assert len(np.unique(np.stack(list(found.values())))) == 2 + (not all_masks)


def test_objects_that_appear_later(tmp_path: Path, sam2_predictor: SAM2VideoPredictor) -> None:
    for all_masks in (False, True):
        layout = replace(later_dataset(tmp_path / f"data{all_masks}"), all_masks=all_masks)
        output = tmp_path / f"out{all_masks}"
        assert run_job(vos_job(layout, output), workers=0).done == ["alpha"]
        expected = apart_by_sam2(sam2_predictor, layout.frames / "alpha", objects_of(layout))
        found = read_pngs(output / "alpha")
        assert len(found) == 7
        assert not found["00000.png"].any()
        assert 2 in found["00003.png"]
        for t, logits in expected.items():
            assert np.array_equal(found[f"{t:05d}.png"], one_map(logits, SHAPE)), (all_masks, t)


def test_a_folder_an_object(tmp_path: Path, sam2_predictor: SAM2VideoPredictor) -> None:
    layout = per_object_dataset(tmp_path / "data")
    task = VosTask(layout.items()[0], tmp_path / "out", SAM2, threshold=1.5)
    job = replace(vos_job(layout, tmp_path / "out"), tasks=[task])
    assert run_job(job, workers=0).done == ["alpha"]
    expected = together_by_sam2(sam2_predictor, layout.frames / "alpha", objects_of(layout))
    found = read_pngs(tmp_path / "out" / "alpha")
    assert len(found) == 12
    for t, logits in expected.items():
        for obj_id, of in logits.items():
            assert np.array_equal(found[f"{obj_id:03d}/{t:05d}.png"], (of > 1.5).astype(np.uint8))
    assert any(mask.any() for mask in found.values())


def test_post_processing_and_image_size_reach_the_model(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 4})
    settings = golden_settings(image_size=192)
    assert run_job(vos_job(layout, tmp_path / "out", settings=settings), workers=0).done == ["alpha"]
    theirs = build_sam2_golden(image_size=192)
    expected = together_by_sam2(theirs, layout.frames / "alpha", objects_of(layout))
    found = read_pngs(tmp_path / "out" / "alpha")
    assert all(np.array_equal(found[f"{t:05d}.png"], one_map(logits, SHAPE)) for t, logits in expected.items())
    assert golden_settings(apply_postprocessing=True).build().fill_hole_area == 8
    assert golden_settings().build().fill_hole_area == 0


def test_a_tree_answers_each_object_as_it_would_alone(tmp_path: Path) -> None:
    """Objects that begin later share the video with others, and change nothing for them."""
    layout = later_dataset(tmp_path / "data")
    run_job(vos_job(layout, tmp_path / "both", TREE), workers=0)
    both = read_pngs(tmp_path / "both" / "alpha")
    late = np.array(Image.open(layout.masks / "alpha" / "00003.png"))
    Image.fromarray(np.where(late == 1, 1, 0).astype(np.uint8)).save(layout.masks / "alpha" / "00003.png")
    (layout.masks / "alpha" / "00005.png").unlink()
    run_job(vos_job(layout, tmp_path / "first", TREE), workers=0)
    alone = read_pngs(tmp_path / "first" / "alpha")
    for name, labels in alone.items():
        assert np.array_equal(labels == 1, (both[name] == 1) | ((labels == 1) & (both[name] == 2))), name


def test_the_palette_is_kept(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 2})
    run_job(vos_job(layout, tmp_path / "out"), workers=0)
    with Image.open(tmp_path / "out" / "alpha" / "00001.png") as image:
        assert image.mode == "P"
        assert bytes(image.getpalette() or [])[: len(PALETTE)] == PALETTE


def test_overlap_is_resolved_as_by_sam2(sam2_predictor: SAM2VideoPredictor) -> None:
    logits = torch.randn(4, 1, 9, 11, generator=torch.Generator().manual_seed(0)) * 20
    logits[1, 0, 0] = logits[0, 0, 0]  # ties
    for count in (1, 4):
        assert torch.equal(
            without_overlap(logits[:count]), sam2_predictor._apply_non_overlapping_constraints(logits[:count])
        )
    assert torch.equal(without_overlap(logits)[1, 0, 0] > -10, torch.zeros(11, dtype=torch.bool))


def test_where_masks_overlap_all_the_same_the_smaller_label_stays() -> None:
    logits = torch.tensor([[[[1.0, -1.0, -1.0]]], [[[2.0, 2.0, -1.0]]]])
    assert label_map(logits, [3, 8], 0.0).tolist() == [[3, 8, 0]]
    assert label_map(logits, [3, 8], 1.5).tolist() == [[8, 8, 0]]
