"""`sam2long track --export`: the same as exporting afterwards, whatever way the run took."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tracked_runs import HEIGHT, NUM_FRAMES, WIDTH, clip, read_masks

import sam2long.cli.state_saver
from sam2long.cli import main
from sam2long.cli.outputs import ResultFolder
from sam2long.exports import FORMATS

av = pytest.importorskip("av")
coco_tools = pytest.importorskip("pycocotools.coco")
mask_tools = pytest.importorskip("pycocotools.mask")
pytest.importorskip("safetensors")

FILES = ("coco.json", "mot.txt", "mots.txt", "objects.csv")
TEXTS = ["coco", "mot", "mots", "csv"]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video"
    path.mkdir()
    for t, frame in enumerate(clip()):
        Image.fromarray(frame).save(path / f"cam {t + 8}.png")
    return path


def to(option: str, *names: str) -> list[str]:
    return [word for name in names for word in (option, name)]


def prompts(tmp_path: Path, *ids: int) -> list[str]:
    points = ([[52, 45]], [[78, 55]])
    shown = [{"frame": 2, "obj_id": k, "points": at} for k, at in zip(ids, points, strict=True)]
    (tmp_path / "prompts.json").write_text(json.dumps(shown))
    return ["--prompts", str(tmp_path / "prompts.json"), "--no-overlay"]


def track(video: Path, out: Path, *options: str) -> int:
    return main(["track", str(video), "-o", str(out), *options])


def test_every_format_is_read_back_by_its_library(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert track(video, out, *prompts(tmp_path, 3, 7), *to("--export", *FORMATS), "--fps", "12") == 0
    made = out / "exports"
    printed = capsys.readouterr().out
    assert all(str(made / of.file) in printed for of in FORMATS.values())
    assert sorted(p.name for p in made.iterdir()) == sorted(of.file for of in FORMATS.values())
    written = read_masks(out)
    assert len(written) == NUM_FRAMES - 2

    coco = coco_tools.COCO(str(made / "coco.json"))
    assert [coco.imgs[t]["file_name"] for t in sorted(coco.imgs)] == [f"cam {t + 8}.png" for t in range(2, NUM_FRAMES)]
    found = {(of["image_id"], of["obj_id"]): coco.annToMask(of).astype(bool) for of in coco.anns.values()}
    for t in range(2, NUM_FRAMES):
        labels = written[f"cam {t + 8}"]
        both = found.get((t, 3), np.zeros((HEIGHT, WIDTH), bool)) & found.get((t, 7), np.zeros((HEIGHT, WIDTH), bool))
        for obj_id in (3, 7):  # overlaps are kept here, and resolved in what track writes itself
            assert (found[t, obj_id] & ~both == (labels == obj_id) & ~both).all()
    with np.load(made / "masks.npz") as read:
        assert read["frames"].tolist() == list(range(2, NUM_FRAMES))
        assert read["masks"].shape == (NUM_FRAMES - 2, 2, HEIGHT, WIDTH)
        assert (read["masks"][0, 0] == found[2, 3]).all()
    for line in (made / "mots.txt").read_text().splitlines():
        t, obj_id, _, height, width, counts = line.split(" ")
        mask = mask_tools.decode({"size": [int(height), int(width)], "counts": counts})
        assert (mask.astype(bool) == (written[f"cam {int(t) + 7}"] == int(obj_id))).all()
    for name, labels in written.items():
        for folder in (made / "davis", made / "youtube-vos" / "Annotations" / "video"):
            assert (np.array(Image.open(folder / f"{name}.png")) == labels).all()
    assert (np.array(Image.open(made / "per-object" / "003" / "cam 10.png")) // 255 == found[2, 3]).all()
    assert np.array(Image.open(made / "cutout" / "cam 10.png"))[..., 3].any()
    for name in ("overlay.mp4", "cutout.webm", "cutout.mov"):
        with av.open(str(made / name)) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == Fraction(12)
            assert sum(1 for _ in container.decode(stream)) >= NUM_FRAMES - 2


def test_it_is_what_export_makes_afterwards(video: Path, tmp_path: Path) -> None:
    """Of one object nothing overlaps."""
    out = tmp_path / "out"
    assert track(video, out, "--point", "40,45", "--no-overlay", *to("--export", *TEXTS, "davis")) == 0
    assert main(["export", str(out), *to("--to", *TEXTS, "davis"), "-o", str(tmp_path / "later")]) == 0
    for name in FILES:
        assert (out / "exports" / name).read_text() == (tmp_path / "later" / name).read_text()
    for path in (tmp_path / "later" / "davis").iterdir():
        assert (out / "exports" / "davis" / path.name).read_bytes() == path.read_bytes()


class StoppedError(BaseException):
    """Stands for kill -9: nothing in the run handles it."""


def test_a_run_that_is_resumed_or_corrected_is_exported_whole(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out, exports = tmp_path / "whole", tmp_path / "out", to("--export", *TEXTS)
    click = ["--point", "40,45", "--no-overlay", "--uncertainty-threshold", "100"]
    assert track(video, whole, *click, *exports) == 0
    write_mask, num_written = ResultFolder.write_mask, 0

    def dies(*args: object) -> None:
        nonlocal num_written
        num_written += 1
        if num_written == 5:
            raise StoppedError
        write_mask(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(sam2long.cli.state_saver, "monotonic", iter(range(10**6)).__next__)
        patch.setattr(sam2long.cli.state_saver, "_SHARE", 0)
        patch.setattr(ResultFolder, "write_mask", dies)
        with pytest.raises(StoppedError):
            track(video, out, *click, *exports, "--save-every", "0.5")
    assert not (out / "exports").exists(), "nothing half written"
    (out / "exports" / ".track-export-of-a-killed-run").mkdir(parents=True)
    assert track(video, out, "--resume", *click[2:], *exports) == 0
    assert sorted(p.name for p in (out / "exports").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (out / "exports" / name).read_text() == (whole / "exports" / name).read_text()

    assert track(video, out, "--correct", "--point", "58,45", "--frame", "3", *click[2:], *to("--export", "csv")) == 0
    assert main(["export", str(out), "--to", "csv", "-o", str(tmp_path / "later")]) == 0
    assert (out / "exports" / "objects.csv").read_text() == (tmp_path / "later" / "objects.csv").read_text()
    with (out / "exports" / "objects.csv").open(newline="") as file:
        assert [int(line["frame"]) for line in csv.DictReader(file)] == list(range(NUM_FRAMES))

    shutil.rmtree(out / "exports")  # finished: nothing is tracked, and exported from the folder
    assert track(video, out, "--resume", *click[2:], *to("--export", "csv")) == 0
    assert (out / "exports" / "objects.csv").read_text() == (tmp_path / "later" / "objects.csv").read_text()


def test_ids_above_255_are_16_bits(video: Path, tmp_path: Path) -> None:
    out, later = tmp_path / "out", tmp_path / "later"
    shown = prompts(tmp_path, 3, 700)
    assert track(video, out, *shown[:2], *to("--export", "davis", "coco")) == 0, "with an overlay"
    for t in range(2, NUM_FRAMES):
        for folder in (out / "masks", out / "exports" / "davis"):
            with Image.open(folder / f"cam {t + 8}.png") as image:
                assert image.mode == "I;16"
                assert set(np.unique(np.array(image))) == {0, 3, 700}
    coco = coco_tools.COCO(str(out / "exports" / "coco.json"))
    assert {of["track_id"] for of in coco.anns.values()} == {3, 700}
    assert main(["export", str(out), "--to", "csv", "-o", str(later)]) == 0
    with (later / "objects.csv").open(newline="") as file:
        assert {line["obj_id"] for line in csv.DictReader(file)} == {"3", "700"}
    assert main(["track", str(video), "--box", "22,28,58,63", "--obj-id", "65536", "-o", str(later / "x")]) == 2


def test_what_fails_ends_no_run(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sam2long.exports.coco import Coco

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Coco, "add", full)
    out = tmp_path / "out"
    assert track(video, out, "--point", "40,45", "--no-overlay", *to("--export", "coco", "csv")) == 1
    assert len(read_masks(out)) == NUM_FRAMES
    assert json.loads((out / "run.json").read_text())["finished"]
    assert not (out / "exports").exists()


def test_a_stream_is_exported_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sam2long.frames

    monkeypatch.setattr(sam2long.frames, "stream_frames", lambda _: iter(clip()))
    shown = ["--point", "52,45", "--frame", "2", "--no-overlay"]
    assert main(["track", "-", "-o", str(tmp_path / "out"), *shown, *to("--export", "coco", "csv")]) == 0
    coco = coco_tools.COCO(str(tmp_path / "out" / "exports" / "coco.json"))
    written = read_masks(tmp_path / "out")
    for of in coco.anns.values():
        assert (coco.annToMask(of) == written[f"{of['image_id']:05d}"]).all()
    with (tmp_path / "out" / "exports" / "objects.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["frame"]) for line in lines] == list(range(2, NUM_FRAMES))
    assert all(line["predicted_iou"] for line in lines[1:])
    capsys.readouterr()
    assert main(["track", "-", "-o", str(tmp_path / "x"), *shown, "--export", "overlay"]) == 2
    assert "--export overlay shows the video, and the frames of a stream are gone" in capsys.readouterr().err


def test_what_is_missing_is_said_before_work_begins(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert track(video, tmp_path / "out", "--point", "40,45", "--no-overlay", "--export", "coco") == 2
    assert "pip install pycocotools (extra sam2long[export])" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert track(video, tmp_path / "out", "--point", "40,45", "--export", "gif") == 2
