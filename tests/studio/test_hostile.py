"""What a browser may send that is no video, no mask, or too much: a message, and nothing is lost."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio_support import RED, finished, masks, same
from support import moving_disks

from sam2long import SAM2LongVideoPredictor
from sam2long.cli.overlay_video import require_av
from sam2long.exports import FORMATS
from sam2long.studio import Studio
from sam2long.studio.layout import FORMAT_NAMES
from sam2long.studio.objects import hex_of
from sam2long.studio.pictures import with_stroke
from sam2long.studio.uploads import keep, safe_name
from sam2long.views import davis_palette


def write_video(path: Path, num_frames: int = 12) -> Path:
    from fractions import Fraction

    from sam2long.exports.encoding import mp4_writer

    require_av()
    frames, _ = moving_disks(num_frames)
    with mp4_writer(path, Fraction(12), frames.shape[1:3]) as write:
        for frame in frames:
            write(frame)
    return path


def test_a_truncated_video_and_what_is_none(studio: Studio, tmp_path: Path) -> None:
    studio.show(None, 0, RED)
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    for name, content in {"cut.mp4": whole[: len(whole) // 2], "text.mp4": b"no video", "empty.mp4": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises((ValueError, OSError)) as refused:
            studio.open_upload([tmp_path / name])
        assert "Traceback" not in str(refused.value)
        assert name in str(refused.value)
        assert str(tmp_path / "sessions") not in str(refused.value)
        assert studio.picture(0).width == 128, "the video before is still open"
    assert not [path for path in (studio.root / "uploads").rglob("*") if path.is_file()]
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        studio.open(str(tmp_path / "missing.mp4"))
    with pytest.raises(ValueError, match="Give the path"):
        studio.open("  ")
    assert [of.obj_id for of in studio.objects()] == [1]


def test_a_picture_of_one_pixel(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (200, 10, 10)).save(tmp_path / "dot.png")
    studio.open_upload([tmp_path / "dot.png"])
    assert (studio.num_frames, studio.size) == (1, (1, 1))
    from sam2long.studio.steps import Click

    studio.show(None, 0, Click(0.5, 0.5))
    assert masks(studio)[0][1].shape == (1, 1)
    with pytest.raises(ValueError, match="single picture"):
        studio.track("forward", 0)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("..\\..\\windows\\a b.MP4", "a_b.MP4"),
        ("/etc/shadow", "shadow"),
        (".", "file"),
        ("..", "file"),
        ("\0<script>.jpg", "script.jpg"),
        ("x" * 300 + ".mp4", "x" * 60 + ".mp4"),
    ],
)
def test_names_lead_nowhere(name: str, kept: str) -> None:
    assert safe_name(name) == kept


def test_uploads_are_kept_once_and_inside_their_folder(tmp_path: Path) -> None:
    for t in range(3):
        Image.new("RGB", (8, 6), (t, t, t)).save(tmp_path / f"{t}.png")
    folder = tmp_path / "kept"
    images = [tmp_path / f"{t}.png" for t in range(3)]
    once, again = keep(images, folder), keep(images, folder)
    assert (once[1], again) == (True, (once[0], False))
    assert once[0].parent.parent == folder
    assert sorted(path.name for path in once[0].iterdir()) == ["0.png", "1.png", "2.png"]
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="no image"):
        keep([*images, tmp_path / "notes.txt"], folder)
    with pytest.raises(ValueError, match="Nothing was uploaded"):
        keep([], folder)


def test_many_objects_in_a_mask_file(studio: Studio, tmp_path: Path) -> None:
    labels = np.zeros((96, 128), dtype=np.uint8)
    for k in range(200):
        labels[4 * (k // 20) : 4 * (k // 20) + 3, 6 * (k % 20) : 6 * (k % 20) + 5] = k + 1
    image = Image.fromarray(labels)
    image.putpalette(davis_palette().tobytes())
    image.save(tmp_path / "many.png")
    shown = studio.show_file(None, 0, tmp_path / "many.png")
    assert shown == list(range(1, 201))
    assert len(masks(studio)[0]) == 200
    assert studio.picture(0).jpeg
    with pytest.raises(ValueError, match="255 objects at most; there are 200"):
        studio.show_file(None, 1, tmp_path / "many.png")
    assert len(studio.objects()) == 200, "all or none"


def test_mask_files(studio: Studio, tmp_path: Path) -> None:
    mask = np.zeros((96, 128), dtype=bool)
    mask[30:60, 10:45] = True
    Image.fromarray(mask).save(tmp_path / "one.png")
    assert studio.show_file(None, 0, tmp_path / "one.png") == [1]
    assert studio.show_file(1, 4, tmp_path / "one.png") == [1]
    assert sorted(studio.objects()[0].shown) == [0, 4]
    Image.fromarray(mask[:50]).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="128 x 50 pixels, the video 128 x 96"):
        studio.show_file(None, 0, tmp_path / "small.png")
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(ValueError, match="not a readable image"):
        studio.show_file(None, 0, tmp_path / "text.png")
    assert len(studio.objects()) == 1


def test_a_brush_paints_and_rubs_out(studio: Studio) -> None:
    once = with_stroke(np.zeros((20, 30), dtype=bool), [(5, 10), (24, 10)], 2, erase=False)
    assert once[9:12, 5:25].all()
    assert not once[:7].any()
    assert not once[14:].any()
    assert not with_stroke(once, [(0, 10), (29, 10)], 4, erase=True).any()
    for points, radius in (([], 2), ([(1, 1)], 0), ([(1, 1)], float("nan")), ([(1, 1)], 1e9)):
        with pytest.raises(ValueError, match="paints nothing"):
            with_stroke(once, points, radius, erase=False)
    assert studio.show_stroke(None, 2, [(20, 40), (60, 40)], 12, erase=False) == 1
    whole = masks(studio)[2][1]
    assert whole[36:45, 20:60].all()
    studio.show_stroke(1, 2, [(60, 40)], 20, erase=True)
    assert masks(studio)[2][1].sum() < whole.sum()
    studio.undo()
    assert np.array_equal(masks(studio)[2][1], whole)


def test_sessions_that_do_not_fit(
    studio: Studio, branching: SAM2LongVideoPredictor, clip_folder: str, tmp_path: Path
) -> None:
    studio.show(None, 0, RED)
    (file,) = studio.root.glob("*/studio.json")
    content = file.read_text()
    studio.close()
    for damaged in (
        content[:-5],
        "[]",
        content.replace('"version": 1', '"version": 9'),
        '{"format": "sam2long studio"}',
    ):
        file.write_text(damaged)
        with pytest.raises(ValueError, match=r"studio\.json.*move it away"):
            Studio(branching, studio.root).open(clip_folder)
        assert file.read_text() == damaged, "nothing is overwritten"
    file.write_text(content.replace('"num_frames": 14', '"num_frames": 15'))
    with pytest.raises(ValueError, match="num_frames 15, now 14"):
        Studio(branching, studio.root).open(clip_folder)
    file.write_text(content.replace('"state": null', '"state": "state-0.safetensors"'))
    with pytest.raises(FileNotFoundError, match="state-0"):
        Studio(branching, studio.root).open(clip_folder)


def test_every_format_is_exported(studio: Studio) -> None:
    assert FORMAT_NAMES.keys() == FORMATS.keys()
    with pytest.raises(ValueError, match="nothing to export"):
        studio.export(["csv"])
    studio.show(None, 0, RED)
    studio.rename(1, "mouse")
    studio.track("forward", 0)
    finished(studio)
    with pytest.raises(ValueError, match="at least one format"):
        studio.export([])
    shares: list[float] = []
    written = studio.export(list(FORMATS), shares.append)
    with zipfile.ZipFile(written) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        with archive.open("masks.npz") as file, np.load(file) as arrays:
            exported = {name: arrays[name] for name in arrays.files}
        listed = json.loads(archive.read("objects.json"))
    assert written.name == f"{Path(studio.video).stem}-sam2long.zip"
    assert listed == [{"id": 1, "name": "mouse", "color": hex_of(studio.objects()[0].color)}]
    assert {name.split("/")[0] for name in names} == {"objects.json", *(of.file for of in FORMATS.values())}
    assert any(np.array_equal(array.reshape(-1), masks(studio)[5][1].reshape(-1)) for array in _rows(exported))
    assert shares == sorted(shares)
    assert not list(written.parent.glob(".*")), "nothing half-written is left"
    before = masks(studio)
    studio.export(["csv"])
    assert same(masks(studio), before)


def _rows(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [part for array in arrays.values() if array.dtype == np.bool_ and array.ndim >= 3 for part in array]
