"""Benchmarks of boxes as they are downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_trees import write_frames

from sam2long.cli.boxes import BENCHMARKS
from sam2long.datasets.boxes import BOX_BENCHMARKS, box_videos, unannotated


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_the_command_names_the_benchmarks() -> None:
    assert tuple(BOX_BENCHMARKS) == BENCHMARKS


def test_lasot_with_classes_without_and_with_a_list(tmp_path: Path) -> None:
    for folder in ("cat/cat-1", "cat/cat-2", "dog-3"):
        write_frames(tmp_path / folder / "img", 2)
        write(tmp_path / folder / "groundtruth.txt", "10,20,30,40", "11,20,30,40")
    videos = box_videos("lasot", tmp_path)
    assert [(video.name, len(video.images), video.box) for video in videos] == [
        (name, 2, (10, 20, 30, 40)) for name in ("cat-1", "cat-2", "dog-3")
    ]
    (tmp_path / "cat" / "cat-9" / "img").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    assert unannotated("lasot", tmp_path) == ["cat-9"]
    write(tmp_path / "testing_set.txt", "\ufeffdog-3", "cat-1")  # as Windows' editors write it
    assert unannotated("lasot", tmp_path) == []
    assert [video.name for video in box_videos("lasotext", tmp_path)] == ["dog-3", "cat-1"]
    write(tmp_path / "testing_set.txt", "cow-1")
    with pytest.raises(FileNotFoundError, match=r"no cow-1/groundtruth\.txt, which testing_set\.txt names"):
        box_videos("lasot", tmp_path)


def test_got10k_tests_have_one_box(tmp_path: Path) -> None:
    write_frames(tmp_path / "test" / "GOT-10k_Test_000001", 3)
    write(tmp_path / "test" / "GOT-10k_Test_000001" / "groundtruth.txt", "1.0000,2.0000,30.5000,40.0000")
    write(tmp_path / "test" / "list.txt", "GOT-10k_Test_000001")
    (video,) = box_videos("got10k", tmp_path, "test")
    assert (len(video.images), video.box) == (3, (1, 2, 30.5, 40))


def test_otb_starts_where_it_is_annotated_and_may_have_two_objects(tmp_path: Path) -> None:
    write_frames(tmp_path / "David" / "img", 303, names=[f"{t:04d}" for t in range(1, 304)])
    write(tmp_path / "David" / "groundtruth_rect.txt", "1\t2\t30\t40", "1\t2\t30\t41")
    write_frames(tmp_path / "Jogging" / "img", 3, names=["0001", "0002", "0003"])
    for k in (1, 2):
        write(tmp_path / "Jogging" / f"groundtruth_rect.{k}.txt", *[f"{k},2,30,40"] * 3)
    videos = box_videos("otb", tmp_path)
    assert [(video.name, video.box[0]) for video in videos] == [("David", 1), ("Jogging_1", 1), ("Jogging_2", 2)]
    assert [image.stem for image in videos[0].images] == ["0300", "0301"]


def test_tnl2k_and_nfs(tmp_path: Path) -> None:
    write_frames(tmp_path / "tnl" / "Arrow" / "imgs", 2)
    write(tmp_path / "tnl" / "Arrow" / "groundtruth.txt", "1,2,3,4", "1,2,3,4")
    (tmp_path / "tnl" / "Bow" / "imgs").mkdir(parents=True)
    assert [video.name for video in box_videos("tnl2k", tmp_path / "tnl")] == ["Arrow"]
    assert unannotated("tnl2k", tmp_path / "tnl") == ["Bow"]
    write_frames(tmp_path / "nfs" / "board_1" / "30" / "board_1", 2)
    write(tmp_path / "nfs" / "board_1" / "30" / "board_1.txt", '0 10 20 40 60 1 0 0 0 "board"')
    (video,) = box_videos("nfs", tmp_path / "nfs")
    assert video.box == (10, 20, 30, 40)
    assert unannotated("nfs", tmp_path / "nfs") == []
    assert unannotated("nfs", tmp_path / "nfs", "240") == ["board_1"]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the folder of lasot"):
        box_videos("lasot", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no video of otb"):
        box_videos("otb", tmp_path)
    with pytest.raises(ValueError, match="'vot' unknown"):
        box_videos("vot", tmp_path)
    write_frames(tmp_path / "cat-1" / "img", 2)
    write(tmp_path / "cat-1" / "groundtruth.txt", "10,20,0,40")
    with pytest.raises(ValueError, match="is empty"):
        box_videos("lasot", tmp_path)
