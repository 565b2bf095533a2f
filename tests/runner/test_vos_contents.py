"""Finished videos are known by what they were made of: edited ones are refused, moved ones are not."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import HEIGHT, WIDTH, plain_dataset, read_pngs, write_frames, write_labels
from PIL import Image
from vos_jobs import SAM2, vos_job

from sam2long.datasets import DatasetLayout
from sam2long.datasets.boxes import BoxVideo, box_videos
from sam2long.runner import run_job
from sam2long.runner.batch_task import BatchTask
from sam2long.runner.box_task import BoxTask
from sam2long.runner.processes import WorkersFailedError
from sam2long.runner.tasks import VosTask
from sam2long.runner.tracking import Prompt

TURNED = 3  # EXIF's word for upside down


def turned_by_exif(folder: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = TURNED
    segment = tag.tobytes()
    for path in folder.iterdir():
        jpeg = path.read_bytes()
        path.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:])


def test_images_of_datasets_are_read_as_they_are_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = plain_dataset(tmp_path, {"alpha": 2, "beta": 2})
    as_stored = np.array(Image.open(tmp_path / "JPEGImages" / "alpha" / "00001.jpg"))
    turned_by_exif(tmp_path / "JPEGImages" / "alpha")
    item = layout.items()[0]
    assert [record.message.split(":")[0] for record in caplog.records] == [str(layout.frames / "alpha")]
    video = BoxVideo("alpha", item.images, (1, 2, 30, 40))
    own = BatchTask("alpha", str(layout.frames / "alpha"), 2, (), tmp_path / "out", SAM2)
    with own.open() as source:  # a user's own videos are turned
        assert np.array_equal(source[1], as_stored[::-1, ::-1])
    for task in (
        replace(own, upright=False),
        VosTask(item, tmp_path / "out", SAM2),
        BoxTask(video, tmp_path / "out", SAM2),
    ):
        with task.open() as source:
            assert np.array_equal(source[1], as_stored)


def test_masks_do_not_depend_on_exif(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path, {"alpha": 3})
    run_job(vos_job(layout, tmp_path / "plain"), workers=0)
    turned_by_exif(tmp_path / "JPEGImages" / "alpha")
    run_job(vos_job(layout, tmp_path / "turned"), workers=0)
    plain, turned = read_pngs(tmp_path / "plain"), read_pngs(tmp_path / "turned")
    assert plain["alpha/00002.png"].any()
    assert all(np.array_equal(turned[name], mask) for name, mask in plain.items())


def test_other_annotations_or_frames_are_noticed_and_another_place_is_not(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 2, "beta": 2})
    about = {"base_video_dir": str(layout.frames), "input_mask_dir": str(layout.masks)}
    out = tmp_path / "out"
    assert run_job(vos_job(layout, out, about=about), workers=0).done == ["alpha", "beta"]
    moved = DatasetLayout(tmp_path / "moved" / "JPEGImages", tmp_path / "moved" / "Annotations")
    shutil.move(tmp_path / "data", tmp_path / "moved")
    about = {"base_video_dir": str(moved.frames), "input_mask_dir": str(moved.masks)}
    assert run_job(vos_job(moved, out, about=about), workers=0).skipped == ["alpha", "beta"]

    mask = moved.masks / "alpha" / "00000.png"
    before = mask.read_bytes()
    write_labels(mask.parent, {"00000": (np.array(Image.open(mask)) == 1).astype(np.uint8)})
    with pytest.raises(ValueError, match=r"alpha in .*out: .*remove .*out/alpha to track it again"):
        run_job(vos_job(moved, out, about=about), workers=0)
    mask.write_bytes(before)
    Image.new("RGB", (WIDTH, HEIGHT)).save(moved.frames / "beta" / "00002.jpg")
    with pytest.raises(ValueError, match="beta in"):
        run_job(vos_job(moved, out, about=about), workers=0)
    assert len(json.loads((out / "run.json").read_text())["runs"]) == 2
    shutil.rmtree(out / "beta")
    assert run_job(vos_job(moved, out, about=about), workers=0).done == ["beta"]


def test_prompts_and_boxes_count_too(tmp_path: Path) -> None:
    write_frames(tmp_path / "a" / "clip", 2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    def batch(place: str, x: float) -> str:
        shown = (Prompt(0, 1, points=((x, 2.0),), labels=(1,)),)
        return BatchTask("clip", str(tmp_path / place / "clip"), 2, shown, tmp_path, SAM2).made_of()

    def box(place: str, x: float) -> str:
        images = tuple(sorted((tmp_path / place / "clip").iterdir()))
        return BoxTask(BoxVideo("clip", images, (x, 2, 3, 4)), tmp_path, SAM2).made_of()

    for made_of in (batch, box):
        assert made_of("a", 1) == made_of("b", 1) != made_of("a", 2)


def test_a_folder_that_has_lost_a_mask_is_tracked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 3, "beta": 2})
    out = tmp_path / "out"
    run_job(vos_job(layout, out), workers=0)
    whole = read_pngs(out)
    (out / "alpha" / "00001.png").unlink()
    again = run_job(vos_job(layout, out), workers=0)
    assert (again.done, again.skipped) == (["alpha"], ["beta"])
    assert "alpha has lost files" in caplog.text
    assert all(np.array_equal(mask, whole[name]) for name, mask in read_pngs(out).items())


@pytest.mark.parametrize("name", ["run.json", "RUN.json"])
def test_a_video_cannot_be_called_as_the_record(tmp_path: Path, name: str) -> None:
    layout = plain_dataset(tmp_path / "data", {name: 2, "beta": 2})
    with pytest.raises(ValueError, match=f"a video cannot be called {name}"):
        run_job(vos_job(layout, tmp_path / "out"), workers=0)
    assert not (tmp_path / "out").exists()


def test_names_may_be_as_long_as_folders_can_be_called(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data", {"x" * 255: 2, "run": 2})  # and "run" is no record
    assert len(run_job(vos_job(layout, tmp_path / "out"), workers=0).done) == 2


def test_a_file_that_may_not_grow_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 2, "beta": 2})

    def too_large(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr("sam2long.runner.tasks.write_png", too_large)
    with pytest.raises(WorkersFailedError, match="out: File too large"):
        run_job(vos_job(layout, tmp_path / "out"), workers=0)


def test_an_annotation_that_may_not_be_read_is_that_videos_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 3, "beta": 2})
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.parent == layout.masks / "alpha":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    outcome = run_job(vos_job(layout, tmp_path / "out"), workers=0)
    assert (outcome.done, list(outcome.failed)) == (["beta"], ["alpha"])


def test_a_bad_line_of_boxes_is_that_videos_trouble(tmp_path: Path) -> None:
    for name, lines in (("cat-1", "1,2,30,40\nnan,2,3,4\n"), ("cat-2", "1,2,30,40\n")):
        write_frames(tmp_path / name / "img", 2)
        (tmp_path / name / "groundtruth.txt").write_text(lines)
    bad, good = box_videos("lasot", tmp_path)
    assert (good.trouble, good.box) == ("", (1, 2, 30, 40))
    assert "groundtruth.txt, line 2: [nan" in bad.trouble
    with pytest.raises(ValueError, match="line 2"):
        BoxTask(bad, tmp_path, SAM2).open()
