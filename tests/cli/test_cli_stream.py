"""`sam2long track` on a pipe: the masks of the file, written as they come."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import moving_disks

import sam2long.frames
from sam2long.cli import main
from sam2long.cli.overlay_video import mp4_writer
from sam2long.frames import FrameError, open_frames

av = pytest.importorskip("av")

NUM_FRAMES = 20
CLICK = ["--point", "26,43"]


def read_masks(out: Path) -> dict[str, np.ndarray]:
    return {path.name: np.array(Image.open(path)) for path in sorted((out / "masks").iterdir())}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with mp4_writer(path, Fraction(24), (96, 128)) as write:
        for frame in moving_disks(NUM_FRAMES)[0]:
            write(frame)
    return path


def run_on_pipe(video: Path, tmp_path: Path, *options: str) -> int:
    """`sam2long track PIPE`, while another thread pours the file into the pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pouring = threading.Thread(target=lambda: pipe.write_bytes(video.read_bytes()))
    pouring.start()
    try:
        return main(["track", str(pipe), "-o", str(tmp_path / "out"), *options])
    finally:
        pouring.join(60)


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch, video: Path) -> list[Any]:
    """What `-` gives, one after the other; a callable is called, an exception raised."""
    with open_frames(str(video)) as source:
        given: list[Any] = list(source)

    def stream(name: str) -> Iterator[np.ndarray]:
        for item in given:
            if isinstance(item, Exception):
                raise item
            if callable(item):
                item()
            else:
                yield item

    monkeypatch.setattr(sam2long.frames, "stream_frames", stream)
    return given


def test_a_pipe_gives_the_masks_of_the_file(video: Path, tmp_path: Path) -> None:
    uncertain = ["--uncertainty-threshold", "100"]
    assert main(["track", str(video), "-o", str(tmp_path / "file"), *CLICK, *uncertain, "--no-overlay"]) == 0
    assert run_on_pipe(video, tmp_path, *CLICK, *uncertain) == 0
    expected, got = read_masks(tmp_path / "file"), read_masks(tmp_path / "out")
    assert list(got) == list(expected)
    assert len(got) == NUM_FRAMES
    assert all(np.array_equal(got[name], expected[name]) for name in expected)
    assert any(mask.any() for mask in got.values())
    scores = [json.loads((tmp_path / name / "scores.json").read_text()) for name in ("file", "out")]
    assert scores[0] == scores[1]
    assert len(scores[1]["objects"][0]["frames"]) == NUM_FRAMES - 1
    assert json.loads((tmp_path / "out" / "run.json").read_text())["num_frames"] is None
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == NUM_FRAMES


def test_masks_are_written_before_the_next_frame_comes(frames: list[Any], tmp_path: Path) -> None:
    out, seen = tmp_path / "out", []
    given, frames[:] = frames[:6], []
    for frame in given:
        frames += [frame, lambda: seen.append(len(list((out / "masks").glob("*.png"))))]
    assert main(["track", "-", "-o", str(out), *CLICK, "--max-pending", "0", "--no-overlay"]) == 0
    assert seen == [1, 2, 3, 4, 5, 6]


def test_prompts_that_come_later(frames: list[Any], tmp_path: Path) -> None:
    """The stream is tracked from the earliest prompt on; a prompted frame has the mask that was given."""
    truth = moving_disks(NUM_FRAMES)[1]
    for name, mask in (("first", truth[0, 3]), ("second", truth[1, 9])):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    prompts = [{"frame": 3, "obj_id": 4, "mask": "first.png"}, {"frame": 9, "obj_id": 2, "mask": "second.png"}]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    options = ["--prompts", str(tmp_path / "prompts.json"), "--uncertainty-threshold", "100"]
    assert main(["track", "-", "-o", str(tmp_path / "out"), *options]) == 0
    masks = read_masks(tmp_path / "out")
    assert list(masks) == [f"{t:05d}.png" for t in range(3, NUM_FRAMES)]
    assert np.mean((masks["00003.png"] == 4) == truth[0, 3]) > 0.97
    assert np.mean((masks["00009.png"] == 2) == (truth[1, 9])) > 0.97
    assert not any((masks[f"{t:05d}.png"] == 2).any() for t in range(3, 9))


def test_what_came_before_a_failure_is_kept(
    frames: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames[7:] = [FrameError("-", 7, "it is 64x64 pixels")]
    uncertain = ["--uncertainty-threshold", "100"]
    assert main(["track", "-", "-o", str(tmp_path / "out"), *CLICK, *uncertain]) == 1
    assert "frame 7 of -" in capsys.readouterr().err
    assert len(read_masks(tmp_path / "out")) == 7
    assert (tmp_path / "out" / "scores.json").exists()


def test_a_stream_that_ends_before_its_first_prompt(
    frames: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", "-", "-o", str(tmp_path / "out"), *CLICK, "--frame", "500"]) == 2
    assert "ended before frame 500" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
