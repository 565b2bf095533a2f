"""Sources and images in other processes: forked while threads read, spawned, in the workers of a DataLoader.

What hangs is killed, and fails.
"""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise_pictures import picture
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from video_files import decode_in_order, write_clip

from sam2long.frames import FrameError, FrameSource, ModelFrames, open_frames

CPU = torch.device("cpu")
NUM_FRAMES = 40
SIZE = (96, 128)

pytestmark = pytest.mark.timeout(120)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def sources(folder: Path) -> dict[str, Callable[[], FrameSource]]:
    """Ways to give a video of `NUM_FRAMES` frames."""
    path = folder / "clip.mp4"
    pictures = [picture(t, *SIZE) for t in range(NUM_FRAMES)]

    def images() -> FrameSource:
        for t, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(folder / f"{t}.png")
        return open_frames([folder / f"{t}.png" for t in range(NUM_FRAMES)])

    return {
        "video file": lambda: open_frames(write_clip(path, num_frames=NUM_FRAMES)),
        "video in memory": lambda: open_frames(write_clip(path, num_frames=NUM_FRAMES).read_bytes()),
        "iterator": lambda: open_frames(iter(pictures)),
        "array": lambda: open_frames(np.stack(pictures)),
        "images": images,
    }


KINDS = ["video file", "video in memory", "iterator", "array", "images"]


def in_forks(count: int, work: Callable[[int], None]) -> list[int]:
    """Exit codes of forked processes that do `work(number)` at once: 0, 1 for an error, -9 for one that hung."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            try:
                work(number)
                os._exit(0)
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                os._exit(1)
        children.append(child)
    codes, deadline = [], time.monotonic() + 60
    for child in children:
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        if ended[0] == 0:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
        codes.append(os.waitstatus_to_exitcode(ended[1]))
    return codes


def require_frames(source: FrameSource, expected: list[np.ndarray], seed: int) -> None:
    for frame_idx in np.random.default_rng(seed).permutation(len(expected)).tolist():
        if not np.array_equal(source[frame_idx], expected[frame_idx]):
            raise AssertionError(f"another picture as frame {frame_idx}")


@forks
@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_forks_read_one_source_at_once(kind: str, tmp_path: Path) -> None:
    source = sources(tmp_path)[kind]()
    expected = list(source)
    assert in_forks(16, lambda number: require_frames(source, expected, number)) == [0] * 16
    require_frames(source, expected, 99)  # and the parent goes on


@forks
@pytest.mark.parametrize("kind", ["video file", "array"])
def test_forks_while_threads_read(kind: str, tmp_path: Path) -> None:
    """Again and again, so that some come while the prefetch thread decodes and holds its locks."""
    source = sources(tmp_path)[kind]()
    frames = ModelFrames(source, 32, CPU, cache_size=5)
    expected = [frames[t] for t in range(NUM_FRAMES)]

    def read(_: int) -> None:
        for t in (0, 1, 2, 20, 21, 22):
            assert torch.equal(frames[t], expected[t])
        frames.close()

    for t in range(0, NUM_FRAMES, 2):
        frames[t]
        frames[(t * 7) % NUM_FRAMES]
        assert in_forks(2, read) == [0, 0]
        assert torch.equal(frames[t], expected[t])


@forks
def test_a_fork_ends_as_any_process_does(tmp_path: Path) -> None:
    """Freeing an inherited decoder would wait for threads that did not come along."""
    path = write_clip(tmp_path / "a.mp4")
    program = f"""
import gc, os
from sam2long.frames import open_frames
source = open_frames({str(path)!r})
source[20]
child = os.fork()
if child == 0:
    total = int(source[30].sum()) + int(source[10].sum())
    del source
    gc.collect()
    print("read")
else:
    print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.split()) == ["0", "read"], done.stderr


@forks
def test_images_need_no_threads_of_torch() -> None:
    """They do not come along into a fork, where torch would wait for them."""
    program = """
import os
import numpy as np, torch
from sam2long.frames import ModelFrames, open_frames
torch.set_num_threads(2)
torch.ones(3, 1024, 1024).mul(2).sum()
clip = np.zeros((6, 90, 120, 3), np.uint8)
images = [ModelFrames(open_frames(clip), 1024, torch.device("cpu"), as_async_loader=exact) for exact in (False, True)]
images[0][0]
child = os.fork()
if child == 0:
    for frames in images:
        frames[5], frames[1:3]
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == "0\n", done.stderr


@forks
def test_an_open_file_is_one_processs_own(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=5)
    with path.open("rb") as file:
        source = open_frames(file)

        def read(_: int) -> None:
            with pytest.raises(FrameError, match="the open file belongs to the process that forked this one"):
                source[1]

        assert in_forks(1, read) == [0]
        np.testing.assert_array_equal(source[1], decode_in_order(path)[1])
        with pytest.raises(ValueError, match=r"a\.mp4 was given as an open file.*give its path"):
            pickle.dumps(source)


class Frames(Dataset[torch.Tensor]):
    def __init__(self, frames: Any) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, frame_idx: int) -> torch.Tensor:
        return torch.as_tensor(self.frames[frame_idx])


@pytest.mark.parametrize("method", [pytest.param("fork", marks=forks), "spawn"])
@pytest.mark.parametrize("kind", ["video file", "iterator"])
def test_workers_of_a_data_loader(method: str, kind: str, tmp_path: Path) -> None:
    source = sources(tmp_path)[kind]()
    images = ModelFrames(source, 32, CPU)
    source[7]
    images[3]
    for frames in (source, images) if method == "fork" else (images,):
        expected = [torch.as_tensor(frames[t]) for t in range(NUM_FRAMES)]
        loader = DataLoader(Frames(frames), num_workers=2, multiprocessing_context=method, timeout=60)
        for read, image in zip(loader, expected, strict=True):
            assert torch.equal(read[0], image)


@forks
def test_a_pool_of_forks(tmp_path: Path) -> None:
    source = sources(tmp_path)["video file"]()
    expected = list(source)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        got = pool.map_async(source.__getitem__, range(NUM_FRAMES)).get(timeout=60)
    for frame, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(frame, other)


@pytest.mark.parametrize("kind", KINDS)
def test_sources_pickle(kind: str, tmp_path: Path) -> None:
    source = sources(tmp_path)[kind]()
    expected = list(source)
    content = pickle.dumps(source)
    if kind in ("video file", "images"):
        assert len(content) < 20_000, "by description, not by content"
    again = pickle.loads(content)
    assert (len(again), again.height, again.width, again.name(3)) == (NUM_FRAMES, *SIZE, source.name(3))
    source.close()
    require_frames(again, expected, 0)


def test_a_pickled_video_is_not_another(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    content = pickle.dumps(open_frames(path))
    os.utime(path, ns=(0, 1_000_000_000))
    with pytest.raises(FrameError, match=r"frame 3 of .*a\.mp4: the file was changed"):
        pickle.loads(content)[3]
    path.unlink()
    with pytest.raises(FrameError, match=r"frame 3 of .*a\.mp4: it cannot be opened again"):
        pickle.loads(content)[3]


def test_two_pickles_of_bytes_do_not_share_a_place(tmp_path: Path) -> None:
    source = open_frames(io.BytesIO(write_clip(tmp_path / "a.mp4").read_bytes()))
    expected = list(source)
    other = copy.deepcopy(source)
    for t in (0, 50, 3, 30, 59, 12):
        np.testing.assert_array_equal(source[t], expected[t])
        np.testing.assert_array_equal(other[59 - t], expected[59 - t])


def one_by_one() -> Iterator[np.ndarray]:
    yield from (picture(t) for t in range(4))


def test_without_reads_by_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pread", raising=False)  # Windows
    source = open_frames(one_by_one())
    for t in (3, 0, 2, 1):
        np.testing.assert_array_equal(source[t], picture(t))


@forks
def test_a_decoder_among_the_parents_garbage_is_not_freed_by_a_child(tmp_path: Path) -> None:
    """What nobody holds any more, and was not collected before the fork: a stream that was not read to its end."""
    program = f"""
import gc, os, signal
from sam2long.frames import stream_frames
gc.disable()
frames = stream_frames({str(write_clip(tmp_path / "clip.mp4", num_frames=NUM_FRAMES))!r})
next(frames)
garbage = [frames]
garbage.append(garbage)
del frames, garbage
child = os.fork()
if child == 0:
    signal.alarm(30)
    gc.collect()
    os._exit(0)
os._exit(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0
