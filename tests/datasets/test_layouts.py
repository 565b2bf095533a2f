"""The benchmarks' layouts, and what is said of datasets that are not as they should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import plain_dataset, write_frames, write_labels

from sam2long.cli.vos import DATASETS
from sam2long.datasets import PRESETS, DatasetLayout, preset


def lay_out(frames: Path, masks: Path, *names: str) -> None:
    for name in names:
        maps = write_frames(frames / name, 2)
        write_labels(masks / name, {"00000": maps[0]})


def write_list(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def names(layout: DatasetLayout) -> list[str]:
    return [item.name for item in layout.items()]


def test_the_command_names_the_presets() -> None:
    assert tuple(PRESETS) == DATASETS


def test_davis(tmp_path: Path) -> None:
    lay_out(tmp_path / "JPEGImages" / "480p", tmp_path / "Annotations" / "480p", "bear", "bmx", "goat")
    write_list(tmp_path / "ImageSets" / "2017" / "val.txt", "goat", "bear")
    assert names(preset("davis2017", tmp_path)) == ["goat", "bear"]
    files = [f"/JPEGImages/480p/bmx/0000{t}.jpg /Annotations/480p/bmx/0000{t}.png" for t in range(2)]
    write_list(tmp_path / "ImageSets" / "480p" / "val.txt", *files)
    single = preset("davis2016", tmp_path)
    assert names(single) == ["bmx"]
    assert single.merged
    (tmp_path / "ImageSets" / "480p" / "val.txt").unlink()
    write_list(tmp_path / "ImageSets" / "2016" / "val.txt", "bear")
    assert names(preset("davis2016", tmp_path)) == ["bear"]
    with pytest.raises(FileNotFoundError, match=r"train\.txt is missing"):
        preset("davis2017", tmp_path, "train")


def test_folders_by_split(tmp_path: Path) -> None:
    lay_out(tmp_path / "valid" / "JPEGImages", tmp_path / "valid" / "Annotations", "b", "a")
    for name, later in (
        ("mose", False),
        ("mosev2", True),
        ("lvos", True),
        ("lvosv2", True),
        ("youtube-vos-2018", True),
    ):
        layout = preset(name, tmp_path)
        assert names(layout) == ["a", "b"]
        assert layout.later == later
    with pytest.raises(FileNotFoundError, match=r"train/JPEGImages is missing.*holds valid"):
        preset("mose", tmp_path, "train").items()


def test_all_frames_of_youtube_vos_take_the_masks_of_every_fifth(tmp_path: Path) -> None:
    lay_out(tmp_path / "valid" / "JPEGImages", tmp_path / "valid" / "Annotations", "a")
    write_frames(tmp_path / "valid_all_frames" / "JPEGImages" / "a", 7)
    layout = preset("youtube-vos-2019", tmp_path, "valid_all_frames")
    assert len(layout.items()[0].images) == 7
    assert layout.masks == tmp_path / "valid" / "Annotations"


def test_sav_from_its_folder_and_from_above(tmp_path: Path) -> None:
    home = tmp_path / "sav_test"
    write_frames(home / "JPEGImages_24fps" / "sav_1", 2)
    write_labels(home / "Annotations_6fps" / "sav_1" / "000", {"00000": np.ones((96, 128), np.uint8)})
    write_list(home / "sav_test.txt", "sav_1")
    for root in (tmp_path, home):
        layout = preset("sav", root, "test")
        assert names(layout) == ["sav_1"]
        assert layout.per_object
        assert layout.items()[0].object_folders == ["000"]


def test_vost_and_plain_folders(tmp_path: Path) -> None:
    lay_out(tmp_path / "JPEGImages", tmp_path / "Annotations", "555_tear", "556_cut")
    write_list(tmp_path / "ImageSets" / "val.txt", "556_cut")
    assert names(preset("vost", tmp_path)) == ["556_cut"]
    assert names(preset("pumavos", tmp_path)) == ["555_tear", "556_cut"]
    assert names(preset("custom", tmp_path)) == ["555_tear", "556_cut"]
    assert names(preset("custom", tmp_path, "val")) == ["556_cut"]


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'davis' unknown: davis2016, davis2017"):
        preset("davis", tmp_path)


def test_trouble_with_videos_is_named(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"JPEGImages/gamma is missing: the images of gamma .*alpha, beta"):
        replace(layout, videos=("alpha", "gamma")).items()
    for name in ("../alpha", "", ".hidden", "alpha/x"):
        with pytest.raises(ValueError, match="cannot be a video"):
            replace(layout, videos=(name,)).items()
    (tmp_path / "JPEGImages" / "empty").mkdir()
    (tmp_path / "Annotations" / "empty").mkdir()
    (tmp_path / "Annotations" / "frameless").mkdir()
    troubles = {item.name: item.trouble for item in layout.items()}  # a video's own trouble stops no other
    assert [name for name, trouble in troubles.items() if trouble] == ["empty", "frameless"]
    assert troubles["empty"].endswith("empty holds no images")
    assert "frameless is missing" in troubles["frameless"]
    with pytest.raises(ValueError, match="empty holds no images"):
        replace(layout, videos=("empty",)).items()
    with pytest.raises(ValueError, match="holds no folder"):
        replace(layout, masks=tmp_path / "Annotations" / "empty").items()


def test_a_video_listed_twice_is_one_video(tmp_path: Path) -> None:
    assert names(replace(plain_dataset(tmp_path), videos=("beta", "beta"))) == ["beta"]
