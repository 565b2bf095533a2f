"""`sam2long export` from the outside: what it makes of a run's folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tracked_runs import HEIGHT, NUM_FRAMES, WIDTH, clip, read_masks

from sam2long.cli import main
from sam2long.cli.export_files import FORMAT_NAMES
from sam2long.exports import FORMATS, TrackedResults

pytest.importorskip("av")
pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `video/` and the results `run/` of tracking its two disks from frame 2 to the end."""
    place = tmp_path_factory.mktemp("tracked")
    (place / "video").mkdir()
    for t, frame in enumerate(clip()):
        Image.fromarray(frame).save(place / "video" / f"cam {t + 8}.png")
    shown = [{"frame": 2, "obj_id": 3, "points": [[52, 45]]}, {"frame": 2, "obj_id": 7, "points": [[78, 55]]}]
    (place / "prompts.json").write_text(json.dumps(shown))
    options = ["--prompts", str(place / "prompts.json"), "--no-overlay", "-o", str(place / "run")]
    assert main(["track", str(place / "video"), *options]) == 0
    return place


@pytest.fixture
def place(tracked: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage; its run says where its video is."""
    shutil.copytree(tracked, tmp_path / "copy")
    run = tmp_path / "copy" / "run" / "run.json"
    run.write_text(run.read_text().replace(str(tracked), str(tmp_path / "copy")))
    return tmp_path / "copy"


def export(place: Path, *options: str) -> int:
    return main(["export", str(place / "run"), *options])


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def to(*names: str) -> list[str]:
    return [word for name in names for word in ("--to", name)]


def table(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_format(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(FORMATS) == FORMAT_NAMES
    assert export(place, *to(*FORMATS), "--name", "3=red disk", "--color", "7=#00ff80") == 0
    assert len(capsys.readouterr().out.splitlines()) == len(FORMATS)
    out = place / "run" / "exports"
    assert sorted(p.name for p in out.iterdir()) == sorted(of.file for of in FORMATS.values())
    written = read_masks(place / "run")
    assert len(written) == NUM_FRAMES - 2
    for name, labels in written.items():
        with Image.open(out / "davis" / f"{name}.png") as image:
            assert (np.array(image) == labels).all()
            assert image.getpalette()[21:24] == [0, 255, 128]
    coco = json.loads((out / "coco.json").read_text())
    assert [of["file_name"] for of in coco["images"]] == [f"cam {t + 8}.png" for t in range(2, NUM_FRAMES)]
    assert {of["name"] for of in coco["categories"]} == {"red disk", "object"}
    with np.load(out / "masks.npz") as read:
        assert read["frames"].tolist() == list(range(2, NUM_FRAMES))
        assert read["obj_ids"].tolist() == [3, 7]
        assert (read["masks"] == [[labels == 3, labels == 7] for labels in written.values()]).all()
    assert (out / "youtube-vos" / "Annotations" / "video" / "cam 10.png").exists()
    results = TrackedResults(place / "run")
    for line in table(out / "objects.csv"):
        t, obj_id = int(line["frame"]), int(line["obj_id"])
        assert line["name"] == f"cam {t + 8}"
        known = results.scores(obj_id).get(t)
        assert line["predicted_iou"] == ("" if known is None else str(known.predicted_iou))
        assert int(line["area"]) == (written[line["name"]] == obj_id).sum()


def test_earlier_exports_are_replaced_when_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "out"
    options = [*to("davis", "csv"), "-o", str(out)]
    assert export(place, *options) == 0
    (out / "davis" / "old.png").touch()
    capsys.readouterr()
    assert export(place, *options) == 2
    assert "davis exists: give -o another folder, or add --overwrite" in refused(capsys)
    assert (out / "davis" / "old.png").exists()
    assert export(place, *options, "--overwrite", "--quiet") == 0
    assert sorted(p.name for p in out.iterdir()) == ["davis", "objects.csv"]
    assert len(list((out / "davis").iterdir())) == NUM_FRAMES - 2 + 1
    assert not capsys.readouterr().out


def test_a_folder_of_the_user_stays(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A data set may be called as a format is."""
    mine = place / "davis" / "JPEGImages" / "00000.jpg"
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert export(place, *to("csv", "davis"), "-o", str(place), "--overwrite") == 2
    assert "davis holds files that are no export" in refused(capsys)
    assert mine.exists()
    assert not (place / "objects.csv").exists()


def test_what_fails_on_the_way_changes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(place, *to("csv")) == 0
    before = (place / "run" / "exports" / "objects.csv").read_bytes()
    capsys.readouterr()
    last = place / "run" / "masks" / f"cam {NUM_FRAMES + 7}.png"
    last.write_bytes(last.read_bytes()[:60])
    assert export(place, *to("csv", "davis", "overlay"), "--overwrite") == 1
    assert "damaged image" in (line := refused(capsys))
    assert "nothing in" in line
    assert [p.name for p in (place / "run" / "exports").iterdir()] == ["objects.csv"]
    assert (place / "run" / "exports" / "objects.csv").read_bytes() == before


def test_a_video_that_moved(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "video").rename(place / "elsewhere")
    assert export(place, *to("csv")) == 2
    assert "is gone, and 5 of 7 frames were tracked" in (line := refused(capsys))
    assert "--video" in line
    assert export(place, *to("csv", "overlay"), "--video", str(place / "elsewhere")) == 0
    assert {int(line["frame"]) for line in table(place / "run" / "exports" / "objects.csv")} == {2, 3, 4, 5, 6}
    (place / "other").mkdir()
    Image.fromarray(clip()[0]).save(place / "other" / "x.png")
    capsys.readouterr()
    assert export(place, *to("npz"), "--video", str(place / "other")) == 2
    assert "is not the video that was tracked: it has no frame cam 10" in refused(capsys)


def test_a_whole_run_needs_no_video(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = place / "run" / "run.json"
    run.write_text(json.dumps({**json.loads(run.read_text()), "num_frames": NUM_FRAMES - 2}))
    (place / "video").rename(place / "elsewhere")
    assert export(place, *to("csv")) == 0
    first = table(place / "run" / "exports" / "objects.csv")[0]
    assert (first["frame"], first["name"]) == ("0", "cam 10")
    capsys.readouterr()
    assert export(place, *to("cutout")) == 2
    assert "--to cutout shows the video" in refused(capsys)


def test_a_video_of_a_batch(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = place / "run" / "run.json"
    content = json.loads(run.read_text())
    (place / "run" / "job.json").write_text(json.dumps({"video": content["video"], "prompts": content["prompts"]}))
    run.unlink()
    (place / "run" / "scores.json").unlink()
    assert export(place, *to("csv")) == 0
    lines = table(place / "run" / "exports" / "objects.csv")
    assert [(line["frame"], line["obj_id"]) for line in lines] == [
        (str(t), k) for t in range(2, NUM_FRAMES) for k in "37"
    ]
    (place / "video").rename(place / "elsewhere")
    capsys.readouterr()
    assert export(place, *to("csv"), "--overwrite") == 2
    assert "is gone, and 5 of its frames were tracked" in refused(capsys)


def test_a_camera_is_not_opened_again(tmp_path: Path) -> None:
    (tmp_path / "run" / "masks").mkdir(parents=True)
    Image.fromarray(np.full((HEIGHT, WIDTH), 5, np.uint8)).save(tmp_path / "run" / "masks" / "00003.png")
    camera = tmp_path / "video0"
    camera.touch()
    about = {"video": str(camera), "num_frames": None, "prompts": [{"frame": 3, "obj_id": 5}]}
    (tmp_path / "run" / "run.json").write_text(json.dumps(about))
    assert export(tmp_path, *to("csv")) == 0


def test_a_stream_is_counted(tmp_path: Path) -> None:
    masks = tmp_path / "run" / "masks"
    masks.mkdir(parents=True)
    for t in (9, 10, 100000):
        Image.fromarray(np.full((HEIGHT, WIDTH), 5, np.uint8)).save(masks / f"{t:05d}.png")
    about = {"video": "-", "num_frames": None, "prompts": [{"frame": 9, "obj_id": 5}]}
    (tmp_path / "run" / "run.json").write_text(json.dumps(about))
    assert export(tmp_path, *to("csv")) == 0
    lines = table(tmp_path / "run" / "exports" / "objects.csv")
    assert [line["frame"] for line in lines] == ["9", "10", "100000"]
    assert {line["predicted_iou"] for line in lines} == {""}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (to("gif"), "invalid choice: 'gif'"),
        ([], "required: --to"),
        ([*to("csv"), "--name", "4=x"], "there is no object 4"),
        ([*to("csv"), "--name", "mouse"], "expected ID=NAME"),
        ([*to("csv"), "--color", "3=red"], "expected ID=RRGGBB"),
        ([*to("overlay"), "--fps", "0"], "--fps 0 must be above 0"),
        ([*to("csv"), "--video", "nowhere.mp4"], "no file or folder nowhere.mp4"),
    ],
)
def test_bad_options(place: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert export(place, *options) == 2
    assert message in refused(capsys)
    assert not (place / "run" / "exports").exists()


def test_folders_that_are_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    assert export(tmp_path, *to("csv")) == 2
    assert "has no run.json" in refused(capsys)
    (tmp_path / "run" / "run.json").write_text('{"video": ')
    assert export(tmp_path, *to("csv")) == 2
    assert "run.json is damaged" in refused(capsys)
    (tmp_path / "run" / "run.json").write_text("{}")
    assert export(tmp_path, *to("csv")) == 2
    assert "run.json has no 'video': `sam2long track` did not write it" in refused(capsys)
    (tmp_path / "run" / "run.json").write_text('{"video": "x", "num_frames": 1, "prompts": []}')
    assert export(tmp_path, *to("csv")) == 2
    assert "nothing was tracked" in refused(capsys)
