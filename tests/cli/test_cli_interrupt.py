"""Ctrl-C and SIGTERM during `sam2long track`: what was tracked is written, and the run says that it was interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tracked_runs import HEIGHT, WIDTH, clip, read_masks, read_strictly

from sam2long.cli.interrupt import terminated_as_interrupted, until_interrupted

pytest.importorskip("av")


# --- Ctrl-C ----------------------------------------------------------------------------------------------


def results(stop_at: int | None = None, number: int = signal.SIGINT) -> Any:
    """Three results, the last two handed over together at the end or when an exception arrives."""
    pending = [1, 2]
    try:
        yield 0
        if stop_at is not None:
            os.kill(os.getpid(), number)
            time.sleep(5)  # the signal arrives here
        raise AssertionError("never reached")
    except Exception as error:
        yield from pending
        if not isinstance(error, AssertionError):
            raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["in the generator", "in the consumer"])
def test_a_signal_gets_what_is_pending(where: str, number: int) -> None:
    seen = []
    before = signal.getsignal(number)

    def consume() -> None:
        for result in until_interrupted(results(0 if where == "in the generator" else None, number)):
            if where == "in the consumer" and result == 0:
                os.kill(os.getpid(), number)
                time.sleep(0.01)
            seen.append(result)

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert seen == [0, 1, 2]
    assert signal.getsignal(number) is before


def test_sigterm_ends_workers_too() -> None:
    """Or a command would wait for what they are about before it ends."""
    start = time.monotonic()

    def work() -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            assert pool.submit(os.getpid).result() != os.getpid()
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
            pool.submit(time.sleep, 100).result()

    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        work()
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_tracked(number: int, tmp_path: Path) -> None:
    folder = tmp_path / "video"
    folder.mkdir()
    for t, frame in enumerate(clip(20)):
        for turn in range(30):
            Image.fromarray(frame).save(folder / f"{20 * turn + t:05d}.jpg")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "sam2long", "track", str(folder), "--point", "40,45", "-o", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while len(list((out / "masks").glob("*.png"))) < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "sam2long: interrupted"
    assert "Traceback" not in errors
    masks = read_masks(out)
    assert 5 <= len(masks) < 600
    assert all(mask.shape == (HEIGHT, WIDTH) for mask in masks.values())
    scores = read_strictly(out / "scores.json")["objects"][0]["frames"]
    assert {frame["name"] for frame in scores} == set(masks) - {"00000"}
    assert f"({len(masks)} of 600 frames)" in printed
    assert [path.name for path in out.rglob(".*")] == []
    assert not (out / "overlay.mp4").exists()
