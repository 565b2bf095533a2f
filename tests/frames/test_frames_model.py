"""Frames as the model reads them: values of SAM 2's loader, bounded cache, reading ahead."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sam2.utils.misc import load_video_frames_from_jpg_images

from sam2long.frames import FrameError, FrameSource, ModelFrames, open_frames

CPU = torch.device("cpu")


class Counted(FrameSource):
    """Frames of one grey value each, which remembers who read what; `slow` blocks reads until released."""

    height, width = 10, 12

    def __init__(self, num_frames: int = 100) -> None:
        self.num_frames = num_frames
        self.reads: list[tuple[int, bool]] = []  # (frame, read by the prefetch thread)
        self.broken: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __len__(self) -> int:
        return self.num_frames

    def _read(self, frame_idx: int) -> np.ndarray:
        self.reads.append((frame_idx, threading.current_thread().name == "sam2long-prefetch"))
        self.gate.wait(60)
        if frame_idx in self.broken:
            raise FrameError("counted", frame_idx, "broken")
        return np.full((self.height, self.width, 3), frame_idx, dtype=np.uint8)

    def wait_for(self, frames: set[int]) -> None:
        deadline = time.monotonic() + 60
        while not frames <= {frame_idx for frame_idx, _ in self.reads}:
            assert time.monotonic() < deadline, f"{frames} not read, only {self.reads}"
            time.sleep(0.001)

    def times_read(self, frame_idx: int) -> int:
        return sum(read == frame_idx for read, _ in self.reads)


def value_of(image: torch.Tensor) -> int:
    """The grey value of a normalised frame of `Counted`."""
    return round(float(image[0, 0, 0] * 0.229 + 0.485) * 255)


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sam2long-prefetch"]


def wait_until_no_threads() -> None:
    deadline = time.monotonic() + 60
    while prefetch_threads():
        assert time.monotonic() < deadline, "the prefetch thread outlives its owner"
        time.sleep(0.001)


@pytest.mark.parametrize("image_size", [64, 200, 1024])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_equals_sam2_loader(tmp_path: Path, image_size: int, mode: str) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"{number:05d}.jpg")
    expected, height, width = load_video_frames_from_jpg_images(str(tmp_path), image_size, True)
    frames = ModelFrames(open_frames(tmp_path), image_size, CPU)
    assert (len(frames), frames.height, frames.width) == (3, height, width)
    for frame_idx in range(3):
        assert torch.equal(frames[frame_idx], expected[frame_idx])
        assert frames[frame_idx].stride() == expected[frame_idx].stride()
        assert frames[frame_idx].dtype == torch.float32
    frames.close()


def test_equals_sam2_loader_for_every_pixel_value(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([grey, grey[::-1], grey.T], axis=-1)).save(tmp_path / "0.png")
    (tmp_path / "0.png").rename(tmp_path / "0.jpg")  # lossless content under the name SAM 2 looks for
    expected, _, _ = load_video_frames_from_jpg_images(str(tmp_path), 16, True)
    assert torch.equal(ModelFrames(open_frames(tmp_path), 16, CPU)[0], expected[0])


def test_tensors_belong_to_the_caller() -> None:
    frames = ModelFrames(Counted(), 8, CPU)
    first = frames[3]
    first.zero_()
    assert value_of(frames[3]) == 3


@pytest.mark.parametrize("direction", [1, -1])
def test_reads_ahead_in_the_direction_of_the_last_reads(direction: int) -> None:
    source = Counted()
    frames = ModelFrames(source, 8, CPU, prefetch=3)
    frames[50]
    frames[50 + direction]
    source.wait_for({50 + direction * step for step in (2, 3, 4)})
    source.reads.clear()
    assert value_of(frames[50 + 2 * direction]) == 50 + 2 * direction
    source.wait_for({50 + direction * 5})
    assert source.times_read(50 + 2 * direction) == 0
    frames.close()


def test_sequential_reading_decodes_each_frame_once() -> None:
    source = Counted(60)
    frames = ModelFrames(source, 8, CPU, prefetch=4)
    assert [value_of(frames[idx]) for idx in range(60)] == list(range(60))
    assert [source.times_read(idx) for idx in range(60)] == [1] * 60
    frames.close()


def test_reader_waits_for_a_frame_being_read_ahead() -> None:
    source = Counted()
    frames = ModelFrames(source, 8, CPU, prefetch=1)
    frames[0]
    source.wait_for({1})
    source.gate.clear()
    frames._reader.read(1)  # read ahead of it: frame 2, which the gate holds
    source.wait_for({2})
    threading.Timer(0.05, source.gate.set).start()
    assert value_of(frames[2]) == 2
    assert source.times_read(2) == 1
    frames.close()


def test_nothing_is_read_before_the_first_access_nor_past_the_ends() -> None:
    source = Counted(3)
    frames = ModelFrames(source, 8, CPU, prefetch=4)
    assert source.reads == []
    assert prefetch_threads() == []
    frames[2]
    frames[1]
    frames[0]
    frames.close()
    assert {frame_idx for frame_idx, _ in source.reads} <= {0, 1, 2}


def test_cache_is_bounded_and_drops_the_least_recently_read() -> None:
    source = Counted()
    frames = ModelFrames(source, 8, CPU, cache_size=3, prefetch=0)
    for frame_idx in (0, 1, 2, 0, 3):  # 1 is the oldest when 3 comes
        frames[frame_idx]
    assert len(frames._reader._cache) == 3
    frames[0]
    assert source.times_read(0) == 1
    frames[1]
    assert source.times_read(1) == 2
    assert prefetch_threads() == []


def test_error_is_raised_to_the_reader_of_its_frame_only() -> None:
    source = Counted()
    source.broken = {2}
    frames = ModelFrames(source, 8, CPU, prefetch=4)
    assert value_of(frames[0]) == 0
    source.wait_for({1, 2, 3, 4})
    assert value_of(frames[1]) == 1
    with pytest.raises(FrameError, match="frame 2 of counted"):
        frames[2]
    assert value_of(frames[3]) == 3
    source.broken = set()
    assert value_of(frames[2]) == 2  # mended: the error is not remembered
    frames.close()


def test_many_readers_at_once() -> None:
    source = Counted()
    frames = ModelFrames(source, 8, CPU, cache_size=8)
    wrong: list[int] = []

    def read(seed: int) -> None:
        for frame_idx in np.random.default_rng(seed).integers(0, 100, 200).tolist():
            if value_of(frames[frame_idx]) != frame_idx:
                wrong.append(frame_idx)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert wrong == []
    frames.close()


def test_thread_dies_with_its_owner() -> None:
    frames = ModelFrames(Counted(), 8, CPU)
    frames[0]
    assert len(prefetch_threads()) == 1
    del frames
    gc.collect()
    wait_until_no_threads()


def test_close_ends_the_thread_and_frames_can_still_be_read() -> None:
    frames = ModelFrames(Counted(), 8, CPU)
    frames[0]
    frames.close()
    frames.close()
    assert prefetch_threads() == []
    assert value_of(frames[7]) == 7
    assert prefetch_threads() == []
    assert len(frames._reader._cache) == 0


def test_interpreter_exits_while_a_read_hangs() -> None:
    program = """
import threading, numpy as np, torch
from sam2long.frames import ModelFrames, open_frames
class Hanging:
    def __len__(self): return 9
    def __getitem__(self, frame_idx):
        if threading.current_thread().name == "sam2long-prefetch":
            threading.Event().wait()
        return np.zeros((4, 4, 3), np.uint8)
frames = ModelFrames(open_frames(Hanging()), 4, torch.device("cpu"))
frames[0]
print("read")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "read\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "image_size=0"),
        ({"prefetch": -1}, "prefetch=-1"),
        ({"cache_size": 0, "prefetch": 0}, "cache_size=0"),
        ({"cache_size": 4, "prefetch": 4}, "push each other out"),
    ],
)
def test_sizes_that_make_no_sense(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelFrames(Counted(), **{"image_size": 8, "device": CPU, **arguments})


def test_index_errors() -> None:
    frames = ModelFrames(Counted(5), 8, CPU)
    assert value_of(frames[-1]) == 4
    with pytest.raises(IndexError):
        frames[5]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
class TestCuda:
    def test_equals_sam2_loader_on_the_device(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for number in range(40):
            Image.fromarray(rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)).save(tmp_path / f"{number}.jpg")
        device = torch.device("cuda")
        expected, _, _ = load_video_frames_from_jpg_images(str(tmp_path), 256, False, compute_device=device)
        frames = ModelFrames(open_frames(tmp_path), 256, device, cache_size=3, prefetch=2)
        # Read without waiting for the device: a pinned buffer reused too early would show as a wrong frame.
        torch.cuda._sleep(200_000_000)
        images = [frames[frame_idx] for frame_idx in range(40)]
        assert all(image.is_cuda for image in images)
        assert torch.equal(torch.stack(images), expected)
        frames.close()

    def test_host_buffers_are_pinned_only_for_the_device(self) -> None:
        on_device = ModelFrames(Counted(), 8, torch.device("cuda"))
        assert on_device._reader.read(0).is_pinned()
        on_host = ModelFrames(Counted(), 8, torch.device("cuda"), offload_to_cpu=True)
        assert not on_host._reader.read(0).is_pinned()
        assert on_host[0].device == CPU
