"""`sam2long track --resume` and `--correct`: what was killed at any moment ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tracked_runs import clip, read_masks, read_strictly

import sam2long.cli.state_saver
from sam2long import SAM2LongVideoPredictor
from sam2long.cli import main
from sam2long.cli.outputs import ResultFolder

pytest.importorskip("safetensors")

NUM_FRAMES = 36  # more than stay whole
NUM_KILLS = int(os.environ.get("SAM2LONG_NUM_RANDOM", "2"))
CLICK = ["--point", "64,45", "--frame", "4"]
# Hypotheses that compete all the time: frames are pending whenever the run is killed.
BRANCHY = ["--uncertainty-threshold", "100"]
WAYS = {
    "forward": BRANCHY,
    "both": [*BRANCHY, "--direction", "both"],
    "every second frame": [*BRANCHY, "--frames", "2:35", "--every", "2", "--direction", "both"],
    "sam2": ["--num-pathways", "1", "--frames", ":16"],
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    there_and_back = [*clip(10), *clip(10)[::-1]]
    for t in range(NUM_FRAMES):
        Image.fromarray(there_and_back[t % 20]).save(folder / f"{t:03d}.png")
    return folder


class StoppedError(BaseException):
    """Stands for kill -9: nothing in the run handles it."""


def save_at_every_frame(patch: pytest.MonkeyPatch) -> None:
    """With --save-every 0.5: a tick of this clock is a second."""
    patch.setattr(sam2long.cli.state_saver, "monotonic", iter(range(10**6)).__next__)
    patch.setattr(sam2long.cli.state_saver, "_SHARE", 0)


def track(video: Path, out: Path, *options: str) -> int:
    return main(["track", str(video), "-o", str(out), "--no-overlay", *options])


def assert_same_results(out: Path, expected: Path) -> None:
    got, wanted = read_masks(out), read_masks(expected)
    assert got.keys() == wanted.keys()
    different = [name for name in wanted if not np.array_equal(got[name], wanted[name])]
    assert not different
    assert read_strictly(out / "scores.json") == read_strictly(expected / "scores.json")


@pytest.fixture(scope="module")
def whole(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Runs that nothing interrupts, by their way; each is made once."""

    @cache
    def run(way: str) -> Path:
        out = tmp_path_factory.mktemp("whole") / "out"
        assert track(video, out, *CLICK, *WAYS[way]) == 0
        assert sum((mask == 1).any() for mask in read_masks(out).values()) > 4, "equal masks of nothing say little"
        return out

    return run


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_run_goes_on(
    way: str, video: Path, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after a mask that is not in the saved state yet, twice."""
    out, expected = tmp_path / "out", whole(way)
    num_masks, write_mask = 0, ResultFolder.write_mask

    def write_and_stop(self: ResultFolder, name: str, ids: Any) -> None:
        nonlocal num_masks
        write_mask(self, name, ids)
        num_masks += 1
        if num_masks in (9, 16):
            raise StoppedError

    monkeypatch.setattr(ResultFolder, "write_mask", write_and_stop)
    save_at_every_frame(monkeypatch)
    with pytest.raises(StoppedError):
        track(video, out, *CLICK, *WAYS[way], "--save-every", "0.5")
    if way != "sam2":
        with pytest.raises(StoppedError):
            track(video, out, *CLICK, *WAYS[way], "--save-every", "0.5", "--resume")
    assert track(video, out, *WAYS[way], "--resume") == 0  # its own prompts
    assert num_masks == len(read_masks(out)) + (2 if way != "sam2" else 1), "what was in the state came once"
    assert_same_results(out, expected)
    run = read_strictly(out / "run.json")
    assert run["finished"]
    assert run["runs"][-1]["outcome"] == "finished"


@pytest.mark.parametrize("turn", range(NUM_KILLS))
def test_kill_9_at_random_moments(turn: int, video: Path, whole: Callable[[str], Path], tmp_path: Path) -> None:
    """Again and again until a run ends; the same command every time."""
    rng = random.Random(f"{turn} of {os.environ.get('SAM2LONG_SEED', '0')}")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sam2long", "track", str(video), *CLICK, *WAYS["both"], "-o", str(out)]
    command += ["--no-overlay", "--resume", "--save-every", "0.05", "--quiet"]
    for attempt in range(40):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
        before = masks_in(out)
        deadline = time.monotonic() + 120
        last = attempt == 39
        # From the first change in the folder on; some before anything is written.
        while not last and rng.random() > 0.002 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005 if masks_in(out) != before else 0.1)
        if not last and process.poll() is None:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        if process.returncode == 0:
            break
    assert_same_results(out, whole("both"))
    assert [path.name for path in out.glob("state/*")] == ["0.safetensors"]


def masks_in(out: Path) -> int:
    return len(list(out.glob("masks/*.png")))


def test_an_interrupted_run_decides_nothing_early(
    video: Path, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C hands over frames that are not decided; a run that goes on decides them as if it had not come."""
    out, expected, read = tmp_path / "out", whole("forward"), 0
    save_at_every_frame(monkeypatch)

    propagate = SAM2LongVideoPredictor.propagate_in_video

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        nonlocal read
        frames = propagate(self, *args, **kwargs)
        for answer in frames:
            read += 1
            if read == 12:
                yield from raised_in(frames, answer)
            yield answer

    def raised_in(frames: Any, answer: Any) -> Iterator[Any]:
        yield answer
        yield frames.throw(RuntimeError("out of memory"))
        yield from frames

    monkeypatch.setattr(SAM2LongVideoPredictor, "propagate_in_video", interrupted)
    assert track(video, out, *CLICK, *BRANCHY, "--save-every", "0.5") == 1
    assert 12 <= masks_in(out) < 32
    assert read_strictly(out / "run.json")["runs"][0]["outcome"] == "failed"
    assert track(video, out, *CLICK, *BRANCHY, "--resume") == 0
    assert_same_results(out, expected)


def test_what_is_not_the_same_run_is_refused(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert track(video, out, *CLICK, "--frames", ":9") == 0
    masks = read_masks(out)
    same = [*CLICK, "--frames", ":9", "--resume"]
    for options, message in (
        ([*same, "--num-pathways", "2"], r"num_pathways 3 there, 2 here"),
        ([*same, "--policy", "motion"], r"policy None there, motion here"),
        ([*CLICK, "--correct", "--policy", "motion"], r"policy None there, motion here"),
        ([*same, "--image-size", "64"], r"image_size None there, 64 here"),
        ([*same, "--precision", "bf16"], r"precision fp32 there, bf16 here"),
        ([*same, "--no-postprocessing"], r"apply_postprocessing True there, False here"),
        ([*same, "--every", "2"], r"frames 0:9:1 there, 0:9:2 here"),
        ([*same, "--direction", "both"], r"direction forward there, both here"),
        (["--point", "64,46", *same[2:]], r"made with other prompts: leave them out"),
        ([*same, "--correct"], r"not allowed with argument"),
        ([*CLICK, "--correct", "--num-pathways", "2"], r"num_pathways 3 there, 2 here"),
    ):
        assert track(video, out, *options) == 2, options
        assert message in capsys.readouterr().err
    assert track(video, tmp_path / "none", "--point", "6400,45", "--resume") == 2  # begun anew, and checked as such
    assert "lies outside the frame" in capsys.readouterr().err
    assert track(video, tmp_path / "none", "--resume") == 2
    assert "nothing to track" in capsys.readouterr().err
    assert track(video, tmp_path / "none", *CLICK, "--correct") == 2
    assert "holds no run; track first" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert track(video, out, *same) == 0
    assert "all were tracked before" in capsys.readouterr().out
    assert read_masks(out).keys() == masks.keys()
    (out / "state" / "0.safetensors").write_bytes(b"damaged")
    assert track(video, out, "--frames", ":9", "--correct", "--point", "70,45", "--frame", "5") == 2
    assert "cannot go on: " in capsys.readouterr().err


def test_a_correction_keeps_other_frames(video: Path, tmp_path: Path) -> None:
    """From its frame on the run is what the library makes of it; before, what it was."""
    out = tmp_path / "out"
    command = [*BRANCHY, "--frames", ":22"]
    assert track(video, out, *CLICK, *command) == 0
    before = read_masks(out)
    correction = [{"frame": 15, "obj_id": 1, "points": [[64, 55]]}, {"frame": 16, "obj_id": 2, "box": [60, 40, 90, 70]}]
    (tmp_path / "correction.json").write_text(json.dumps(correction))
    assert track(video, out, *command, "--correct", "--prompts", str(tmp_path / "correction.json")) == 0
    after = read_masks(out)
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[f"{t:03d}"], before[f"{t:03d}"]) for t in range(4, 15))
    assert not np.array_equal(after["015"], before["015"])
    assert {t for t in range(4, 22) if (after[f"{t:03d}"] == 2).any()} >= {16}
    assert [path.name for path in out.glob("state/*")] == ["1.safetensors"]
    run = read_strictly(out / "run.json")
    assert run["corrections"][0]["start"] == 15
    assert run["corrections"][0]["prompts"][0] == {"frame": 15, "obj_id": 1, "points": [[64, 55]], "labels": [1]}
    assert run["prompts"] == [{"frame": 4, "obj_id": 1, "points": [[64, 45]], "labels": [1]}]
    assert {of["obj_id"] for of in read_strictly(out / "scores.json")["objects"]} == {1, 2}
    assert track(video, out, *command, "--resume") == 0  # nothing is left to do
    assert_same_results(out, out)
    assert read_masks(out).keys() == after.keys()


@pytest.mark.parametrize("stop_at", [1, 8])
def test_a_killed_correction_goes_on(
    stop_at: int, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first state, or after."""
    command = [*BRANCHY, "--frames", ":22", "--direction", "both"]
    correction = ["--correct", "--point", "64,55", "--frame", "15"]
    for name in ("out", "whole"):
        assert track(video, tmp_path / name, *CLICK, *command) == 0
    assert track(video, tmp_path / "whole", *command, *correction) == 0

    num_masks, write_mask = 0, ResultFolder.write_mask

    def write_and_stop(self: ResultFolder, name: str, ids: Any) -> None:
        nonlocal num_masks
        write_mask(self, name, ids)
        num_masks += 1
        if num_masks == stop_at:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(ResultFolder, "write_mask", write_and_stop)
        save_at_every_frame(patch)
        with pytest.raises(StoppedError):
            track(video, tmp_path / "out", *command, *correction, "--save-every", "0.5")
    assert (tmp_path / "out" / "state" / "1.safetensors").exists() is (stop_at > 1)
    assert track(video, tmp_path / "out", *command, "--resume") == 0
    assert_same_results(tmp_path / "out", tmp_path / "whole")


def test_a_correction_of_an_interrupted_run_tracks_what_was_left(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it comes later than what was tracked."""
    out, num_masks, write_mask = tmp_path / "out", 0, ResultFolder.write_mask

    def write_and_stop(self: ResultFolder, name: str, ids: Any) -> None:
        nonlocal num_masks
        write_mask(self, name, ids)
        num_masks += 1
        if num_masks == 6:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(ResultFolder, "write_mask", write_and_stop)
        save_at_every_frame(patch)
        with pytest.raises(StoppedError):
            track(video, out, *CLICK, "--save-every", "0.5", "--direction", "both")
    assert track(video, out, "--correct", "--point", "64,45", "--frame", "24") == 0
    assert len(read_masks(out)) == NUM_FRAMES
