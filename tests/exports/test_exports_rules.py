"""Ids, overlaps, names and what is refused; exports of a real pass; nothing half written, no video in memory."""

from __future__ import annotations

import csv
import json
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from objects import HEIGHT, WIDTH, Tracked, masks, tracked
from PIL import Image
from support import build_golden, moving_disks, prompts

from sam2long.evaluation.masks import read_labels
from sam2long.exports import FORMATS, FrameMasks, VideoInfo, export, open_export

NO_FRAMES = [name for name, of in FORMATS.items() if not of.shows_frames]


def halves(*obj_ids: Any) -> Iterator[Tracked]:
    """Objects that share the picture, column by column."""
    columns = np.arange(WIDTH)[None, None, :] % len(obj_ids) == np.arange(len(obj_ids))[:, None, None]
    yield 0, list(obj_ids), np.broadcast_to(columns, (len(obj_ids), HEIGHT, WIDTH))


def listed(path: Path) -> dict[int, Any]:
    return {of["number"]: of["obj_id"] for of in json.loads(path.read_text())["objects"]}


def test_ids_above_255_take_16_bits(tmp_path: Path) -> None:
    ids = [1, 255, 256, 65535]
    export(halves(*ids), {"davis": tmp_path / "davis", "youtube-vos": tmp_path / "yt"})
    for path in (tmp_path / "davis" / "00000.png", tmp_path / "yt" / "Annotations" / "video" / "00000.png"):
        assert Image.open(path).mode == "I;16"
        assert read_labels(path)[0, :4].tolist() == ids
    many = list(range(1, 401))
    pixels = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) == np.array(many)[:, None, None]
    export([(0, many, pixels)], {"davis": tmp_path / "many"})
    assert np.unique(read_labels(tmp_path / "many" / "00000.png")).tolist() == [0, *many]


def test_ids_that_no_image_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"object 65536: .* per object"):
        export(halves(65536), {"davis": tmp_path / "davis"})
    export(halves(65536, 1), {"per-object": tmp_path / "out"})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["001", "65536", "objects.json"]


def test_ids_that_are_no_numbers(tmp_path: Path) -> None:
    ids = ["../cat", 2, 0, -7]
    export(halves(*ids), {"davis": tmp_path / "davis", "per-object": tmp_path / "per", "mot": tmp_path / "mot.txt"})
    numbers = {1: "../cat", 2: 2, 3: 0, 4: -7}
    assert read_labels(tmp_path / "davis" / "00000.png")[0, :4].tolist() == [1, 2, 3, 4]
    for place in ("davis/objects.json", "per/objects.json", "mot.objects.json"):
        assert listed(tmp_path / place) == numbers
    assert sorted(p.name for p in tmp_path.glob("per/0*")) == ["001", "002", "003", "004"]
    named = VideoInfo(objects={"b": "second", 1: "one", "a": "third"})
    export(halves("a", "b", 1, 5), {"davis": tmp_path / "named"}, named)
    assert listed(tmp_path / "named" / "objects.json") == {1: 1, 2: "b", 3: "a", 5: 5}


def test_a_number_given_away_is_not_given_twice(tmp_path: Path) -> None:
    frames = [*halves("cat"), (1, ["cat", 1], masks(0))]
    export(frames, {"davis": tmp_path / "davis"})
    assert listed(tmp_path / "davis" / "objects.json") == {1: "cat", 2: 1}
    assert np.unique(read_labels(tmp_path / "davis" / "00001.png")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_larger_logit_gets_the_pixel(dtype: torch.dtype) -> None:
    logits = torch.full((2, 1, 2, 4), -1.0, dtype=dtype)
    logits[0, 0, :, :3] = 2
    logits[1, 0, 0, 1:] = 1
    logits[1, 0, 1, 1:] = 3
    frame = FrameMasks.of(0, [4, 9], logits)
    assert frame.label_map([4, 9]).tolist() == [[4, 4, 4, 9], [4, 9, 9, 9]]
    assert frame.masks.sum() == 12
    assert FrameMasks.of(0, [4, 9], frame.masks).label_map([4, 9]).tolist() == [[4, 9, 9, 9]] * 2


def test_a_pass_is_exported_while_it_is_tracked(tmp_path: Path) -> None:
    clip = moving_disks(5)
    predictor = build_golden()
    with torch.inference_mode():
        state = predictor.init_state(clip[0])
        prompts(clip)["two objects"](predictor, state)
        seen: dict[int, Any] = {}

        def passing() -> Iterator[Any]:
            for frame in predictor.propagate_in_video(state):
                seen[frame[0]] = frame[1], frame[2].clone()
                yield frame

        info = VideoInfo(scores=lambda obj_id: predictor.get_scores(state, obj_id))
        export(passing(), {"csv": tmp_path / "objects.csv", "npz": tmp_path / "masks.npz"}, info)
        with (tmp_path / "objects.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == 10
        for of in lines:
            t, obj_id = int(of["frame"]), int(of["obj_id"])
            ids, logits = seen[t]
            assert int(of["area"]) == (logits[list(ids).index(obj_id)] > 0).sum()
            known = predictor.get_scores(state, obj_id).get(t)
            assert of["predicted_iou"] == ("" if known is None else str(known.predicted_iou))
        assert any(of["predicted_iou"] for of in lines)
        with np.load(tmp_path / "masks.npz") as read:
            assert read["obj_ids"].tolist() == [7, 3]
            assert (read["masks"] == np.stack([(seen[t][1][:, 0] > 0).numpy() for t in range(5)])).all()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ((1, [1, 2], np.zeros((2, HEIGHT, WIDTH), np.uint8)), r"frame 1: masks are uint8; give bool \(masks > 0\)"),
        ((1, [1], np.zeros((HEIGHT, WIDTH), bool)), r"masks are \[N, H, W\].*, not \[45, 67\]"),
        ((1, [1], np.zeros((1, 3, HEIGHT, WIDTH), bool)), "not .1, 3, 45, 67."),
        ((1, [1], np.zeros((2, HEIGHT, WIDTH), bool)), r"2 masks for the objects \[1\]"),
        ((1, [1, 1], np.zeros((2, HEIGHT, WIDTH), bool)), r"objects \[1, 1\]"),
        ((1, [1], np.zeros((1, WIDTH, HEIGHT), bool)), r"frame 1: masks are \(67, 45\) .*, before \(45, 67\)"),
        ((-1, [1], np.zeros((1, HEIGHT, WIDTH), bool)), "counted from 0"),
        ((2, [1], np.zeros((1, HEIGHT, WIDTH), bool)), "frames 0 and 2 are both called a"),
        ((3, [1], np.zeros((1, HEIGHT, WIDTH), bool)), r"the name of frame 3 is '../x'"),
        ((4, [1], np.zeros((1, HEIGHT, WIDTH), bool)), "frame 4 has no name"),
    ],
)
@pytest.mark.parametrize("name", ["csv", "davis"])
def test_bad_frames_are_refused(tmp_path: Path, frame: Tracked, message: str, name: str) -> None:
    info = VideoInfo(frame_names=["a", "b", "a", "../x"])
    with pytest.raises(ValueError, match=message):
        export([*halves(1, 2), frame], {name: tmp_path / "out"}, info)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ([] if name == "csv" else ["a.png"])


@pytest.mark.parametrize("name", NO_FRAMES)
def test_no_frames_no_file(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pycocotools")
    with pytest.raises(ValueError, match="no frame was tracked"):
        export([], {name: tmp_path / "out"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NO_FRAMES)
def test_frames_without_objects(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pycocotools")
    export([(3, [], np.zeros((0, HEIGHT, WIDTH), bool))], {name: tmp_path / "out"})
    assert (tmp_path / "out").exists()


def test_a_pass_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def failing() -> Iterator[Tracked]:
        yield from halves(1)
        raise RuntimeError("out of memory")

    files = {name: tmp_path / FORMATS[name].file for name in ("csv", "npz", "mot")}
    export(halves(1, 2), files)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match="out of memory"):
        export(failing(), files)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_places_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="full holds something"):
        open_export("davis", tmp_path / "full")
    with pytest.raises(FileExistsError, match="full is a folder"):
        open_export("csv", tmp_path / "full")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere to write x\.csv in"):
        open_export("csv", tmp_path / "nowhere" / "x.csv")
    with pytest.raises(ValueError, match="no format 'gif'; known: davis, "):
        open_export("gif", tmp_path / "x")
    with pytest.raises(ValueError, match="the video's name is 'a/b'"):
        VideoInfo("a/b")


@pytest.mark.parametrize(("name", "module"), [("coco", "pycocotools"), ("mots", "pycocotools")])
def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install pycocotools \(extra sam2long\[export\]\)"):
        export(tracked(), {name: tmp_path / "x"})


def test_no_video_is_held_in_memory(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    height, width, length = 400, 600, 100
    y, x = np.mgrid[:height, :width]

    def frames() -> Iterator[Tracked]:
        for t in range(length):
            yield t, [1, 2], np.stack([(x - 3 * t) ** 2 + (y - 200) ** 2 < 9000, y < 2 * t])

    files = {name: tmp_path / FORMATS[name].file for name in NO_FRAMES}
    tracemalloc.start()
    export(frames(), files)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.4 * length * 2 * height * width, "the masks as a whole are 48 MB"
    with np.load(tmp_path / "masks.npz") as read:
        assert read["masks"].shape == (length, 2, height, width)
