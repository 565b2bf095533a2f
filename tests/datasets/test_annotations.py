"""Which masks a tracker is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import (
    HEIGHT,
    PALETTE,
    WIDTH,
    later_dataset,
    per_object_dataset,
    plain_dataset,
    write_frames,
    write_labels,
)  # fmt: skip
from PIL import Image

from sam2long.datasets import DatasetLayout, ShownMask, shown_masks
from sam2long.datasets.annotations import object_ids, palette_of


def shown(layout: DatasetLayout, video: int = 0) -> list[ShownMask]:
    return shown_masks(layout.items()[video], HEIGHT, WIDTH)


def keys(layout: DatasetLayout) -> list[tuple[int, int]]:
    return [(of.obj_id, of.frame_idx) for of in shown(layout)]


def test_the_first_frame_shows_all_its_objects(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path)
    found = shown(layout)
    labels = np.array(Image.open(tmp_path / "Annotations" / "alpha" / "00000.png"))
    assert [(of.obj_id, of.frame_idx, of.name) for of in found] == [(1, 0, "1"), (2, 0, "2")]
    for of in found:
        assert np.array_equal(of.mask, labels == of.obj_id)
        assert of.mask.any()


def test_void_is_no_object_unless_it_is_said_to_be(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path, {"alpha": 2})
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:20], labels[30:50] = 7, 255
    write_labels(tmp_path / "Annotations" / "alpha", {"00000": labels}, None)
    assert keys(layout) == [(7, 0)]
    assert keys(replace(layout, void=None)) == [(7, 0), (255, 0)]
    merged = shown(replace(layout, void=None, merged=True))
    assert [(of.obj_id, int(of.mask.sum())) for of in merged] == [(255, 40 * WIDTH)]


def test_a_mask_of_void_alone_says_how_to_make_it_an_object(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path, {"alpha": 2})
    write_labels(tmp_path / "Annotations" / "alpha", {"00000": np.full((HEIGHT, WIDTH), 255, np.uint8)}, None)
    with pytest.raises(ValueError, match=r"no object but void \(255\); --no-void"):
        shown(layout)


def test_objects_appear_later_by_their_first_mask(tmp_path: Path) -> None:
    layout = later_dataset(tmp_path)
    assert keys(layout) == [(1, 1), (2, 3)]
    assert keys(replace(layout, all_masks=True)) == [(1, 1), (1, 3), (1, 5), (2, 3), (2, 5)]


def test_a_first_frame_without_annotation_names_the_option(tmp_path: Path) -> None:
    layout = replace(later_dataset(tmp_path), later=False)
    message = r"00000\.png is missing.*first annotated frame is 00001.*track_object_appearing_later_in_video"
    with pytest.raises(FileNotFoundError, match=message):
        shown(layout)


def test_all_masks_without_later_refuse_objects_that_appear_late(tmp_path: Path) -> None:
    layout = replace(later_dataset(tmp_path), later=False, all_masks=True)
    with pytest.raises(ValueError, match=r"object 2 appears on frame 00003 of alpha only: --track_object"):
        shown(layout)


def test_objects_in_folders_keep_their_names_and_may_lack_frames(tmp_path: Path) -> None:
    layout = per_object_dataset(tmp_path)
    assert [(of.obj_id, of.frame_idx, of.name) for of in shown(layout)] == [(0, 0, "000"), (1, 0, "001")]
    assert keys(replace(layout, all_masks=True)) == [(0, 0), (0, 4), (1, 0), (1, 4)]
    (tmp_path / "Annotations" / "alpha" / "001" / "00000.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"001/00000\.png"):
        shown(layout)
    assert keys(replace(layout, later=True)) == [(0, 0), (1, 4)]


def test_folders_that_are_no_numbers_are_numbered_by_place() -> None:
    assert object_ids(["000", "003"]) == {"000": 0, "003": 3}
    assert object_ids(["left", "right"]) == {"left": 1, "right": 2}
    assert object_ids(["1", "01"]) == {"1": 1, "01": 2}  # one number, two objects


@pytest.mark.parametrize("later", [False, True])
def test_a_mask_of_another_size_is_refused(tmp_path: Path, later: bool) -> None:
    layout = replace(plain_dataset(tmp_path, {"alpha": 2}), later=later)
    write_labels(tmp_path / "Annotations" / "alpha", {"00000": np.ones((10, 20), np.uint8)})
    with pytest.raises(ValueError, match=r"00000\.png is 20x10 pixels, the frames of alpha are 128x96"):
        shown(layout)


def test_coloured_and_damaged_masks_are_refused(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path, {"alpha": 2})
    path = tmp_path / "Annotations" / "alpha" / "00000.png"
    Image.new("RGB", (WIDTH, HEIGHT), (128, 0, 0)).save(path)
    with pytest.raises(ValueError, match="has colours"):
        shown(layout)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="damaged"):
        shown(layout)


def test_the_palette_is_that_of_the_annotations(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path)
    palette = palette_of(layout.items()[0])
    assert palette is not None
    assert palette[: len(PALETTE)] == PALETTE
    write_labels(tmp_path / "Annotations" / "beta", {"00000": np.ones((HEIGHT, WIDTH), np.uint8)}, None)
    assert palette_of(layout.items()[1]) is None


def test_names_of_frames_need_be_no_numbers(tmp_path: Path) -> None:
    names = [f"frame{t}-x" for t in (9, 10, 11)]
    maps = write_frames(tmp_path / "JPEGImages" / "alpha", 3, names=names)
    write_labels(tmp_path / "Annotations" / "alpha", {names[0]: maps[0]})
    layout = DatasetLayout(tmp_path / "JPEGImages", tmp_path / "Annotations")
    assert layout.items()[0].frame_names == names
    assert keys(layout) == [(1, 0), (2, 0)]
