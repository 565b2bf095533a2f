"""Arrays, sequences and iterators of the program as sources of frames."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_pictures import H, W, picture
from PIL import Image

from sam2long.frames import FrameError, FrameSource, open_frames


@pytest.mark.parametrize("kind", ["numpy", "torch", "list", "pil", "own"])
def test_frames_in_the_program(kind: str) -> None:
    pictures = [picture(number) for number in range(3)]

    class Own:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, frame_idx: int) -> np.ndarray:
            return pictures[frame_idx]

    source = open_frames(
        {
            "numpy": np.stack(pictures),
            "torch": torch.from_numpy(np.stack(pictures)),
            "list": pictures,
            "pil": [Image.fromarray(frame) for frame in pictures],
            "own": Own(),
        }[kind]
    )
    assert (len(source), source.height, source.width) == (3, H, W)
    assert source.name(2) == "00002"
    for frame_idx, frame in enumerate(source):
        np.testing.assert_array_equal(frame, pictures[frame_idx])
        frame[:] = 0  # the reader's own: writing into it changes nothing
        np.testing.assert_array_equal(source[frame_idx], pictures[frame_idx])


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (np.zeros((4, 3, H, W), np.uint8), r"\[4, 3, 24, 32\]; move its channels last"),
        (np.zeros((H, W, 3), np.uint8), r"must be uint8 \[T, H, W, 3\]"),
        (np.zeros((4, H, W, 3), np.float32), r"uint8 .* not float32.*astype"),
        (torch.zeros((0, H, W, 3), dtype=torch.uint8), "empty"),
        (np.zeros((2, 0, W, 3), np.uint8), "must have pixels"),
        ([np.zeros((H, W), np.uint8)], "repeat a grey image"),
        ([np.zeros((H, W, 4), np.uint8)], "drop its alpha"),
        (iter([]), "gave no frames"),
        ({0: picture(0)}, "no frames can be read from a dict"),
        (7, "no frames can be read from a int"),
        (None, "no frames can be read from a NoneType"),
    ],
)
def test_what_holds_no_video_is_refused(video: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_frames(video)


def test_frame_of_another_size_in_a_list() -> None:
    source = open_frames([picture(0), picture(1, 10, 10), picture(2)])
    with pytest.raises(FrameError, match=r"frame 1 of the list: it is 10x10"):
        source[1]
    np.testing.assert_array_equal(source[2], picture(2))


def test_iterator_is_spooled_and_read_in_any_order() -> None:
    def frames() -> Iterator[np.ndarray]:
        for number in range(5):
            yield picture(number)

    source = open_frames(frames())
    assert len(source) == 5
    for frame_idx in (4, 0, 2, 2, -1):
        np.testing.assert_array_equal(source[frame_idx], picture(frame_idx % 5))
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source[0]


def test_iterator_holds_one_frame_in_memory_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import weakref

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alive: weakref.WeakSet[np.ndarray] = weakref.WeakSet()
    most = 0

    class Tracked(np.ndarray):
        def __hash__(self) -> int:  # type: ignore[override]
            return id(self)

    def frames() -> Iterator[np.ndarray]:
        nonlocal most
        for number in range(20):
            frame = picture(number).view(Tracked)
            alive.add(frame)
            most = max(most, len(alive))
            yield frame

    source = open_frames(frames())
    assert most <= 2  # the one being made and the one before it
    source.close()
    assert os.listdir(tmp_path) == []


def test_iterator_error_reaches_the_caller() -> None:
    def frames() -> Iterator[np.ndarray]:
        yield picture(0)
        raise RuntimeError("camera unplugged")

    with pytest.raises(RuntimeError, match="camera unplugged"):
        open_frames(frames())
    with pytest.raises(FrameError, match="frame 1 of the list_iterator: it is 10x10"):
        open_frames(iter([picture(0), picture(1, 10, 10)]))


def test_indices_and_context(tmp_path: Path) -> None:
    with open_frames(np.stack([picture(0), picture(1)])) as source:
        assert isinstance(source, FrameSource)
        assert open_frames(source) is source
        np.testing.assert_array_equal(source[-1], picture(1))
        for frame_idx in (2, -3):
            with pytest.raises(IndexError, match="of a video of 2 frames"):
                source[frame_idx]
            with pytest.raises(IndexError):
                source.name(frame_idx)


def test_broken_sequence_names_the_frame() -> None:
    class Flaky:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, frame_idx: int) -> np.ndarray:
            if frame_idx == 1:
                raise OSError("disk gone")
            return picture(frame_idx)

    source = open_frames(Flaky())
    with pytest.raises(FrameError, match="frame 1 of the Flaky: disk gone"):
        source[1]
    np.testing.assert_array_equal(source[2], picture(2))
