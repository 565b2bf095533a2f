"""A video that is already in the program: an array, a sequence of frames, or an iterator of them."""

from __future__ import annotations

import math
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import torch

from sam2long.frames.forks import follow_forks
from sam2long.frames.source import Frame, FrameError, FrameSource, as_frame, require_size

# Held while a file is read where that moves the place it is read at.
_SEEKING = threading.Lock()


class FrameSequence(Protocol):
    """Anything with a length and frames by index: an array, a list, a reader of another library."""

    def __len__(self) -> int: ...
    def __getitem__(self, frame_idx: int, /) -> Any: ...


class SequenceFrames(FrameSource):
    """Frames by index from `frames`: each a uint8 RGB `[H, W, 3]` array, tensor or PIL image.

    A NumPy array or torch tensor must be uint8 `[T, H, W, 3]`. `description` names the video in errors.
    Raises ValueError for an empty sequence or frames of another shape or type.
    """

    def __init__(self, frames: FrameSequence, description: str) -> None:
        if isinstance(frames, (np.ndarray, torch.Tensor)) and (frames.ndim != 4 or frames.shape[3] != 3):
            mend = "; move its channels last" if frames.ndim == 4 and frames.shape[1] == 3 else ""
            raise ValueError(f"a video array must be uint8 [T, H, W, 3], not {list(frames.shape)}{mend}")
        if len(frames) == 0:
            raise ValueError(f"{description} is empty; a video needs at least one frame")
        self._frames = frames
        self._description = description
        self.begin_anew()
        follow_forks(self)
        self.height, self.width = self._convert(0).shape[:2]

    def begin_anew(self) -> None:
        """In a forked process: a lock of its own."""
        # The prefetch thread reads too, and readers of other libraries (h5py, decoders) are seldom thread-safe.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SequenceFrames, (self._frames, self._description)

    def __len__(self) -> int:
        return len(self._frames)

    def _read(self, frame_idx: int) -> Frame:
        frame = self._convert(frame_idx)
        try:
            return require_size(frame, self.height, self.width)
        except ValueError as error:
            raise FrameError(self._description, frame_idx, str(error)) from error

    def _convert(self, frame_idx: int) -> Frame:
        try:
            with self._lock:
                return as_frame(self._frames[frame_idx])
        except Exception as error:
            raise FrameError(self._description, frame_idx, str(error)) from error


class SpooledFrames(FrameSource):
    """Every frame of an iterator, read to its end at once and kept uncompressed in a temporary file.

    SAM 2 must know the number of frames before it tracks, and interactive use reads frames again: an
    iterator can do neither, so its frames wait on disk (height x width x 3 bytes each), one in memory at a
    time. The file has no name where the system allows that and is gone when the source is closed or the
    process ends. `TMPDIR` says where it lies. Use streaming for what never ends or does not fit.
    Raises ValueError for an iterator without frames, FrameError for a frame of another shape or type.
    """

    def __init__(self, frames: Iterable[Any], description: str) -> None:
        self._description = description
        self._file = tempfile.TemporaryFile(prefix="sam2long-frames-")  # noqa: SIM115  kept open on purpose
        self._finalizer = weakref.finalize(self, self._file.close)
        self._num_frames = 0
        try:
            for image in frames:
                self._append(image)
            self._file.flush()  # frames are read past the buffer
            if self._num_frames == 0:
                raise ValueError(f"{description} gave no frames; a video needs at least one")
        except BaseException:
            self.close()
            raise

    def _append(self, image: Any) -> None:
        try:
            frame = as_frame(image)
            if self._num_frames == 0:
                self.height, self.width = frame.shape[:2]
            require_size(frame, self.height, self.width)
        except ValueError as error:
            raise FrameError(self._description, self._num_frames, str(error)) from error
        try:
            self._file.write(frame.data)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot keep frame {self._num_frames} of {self._description} in {tempfile.gettempdir()} "
                f"({error.strerror}); point TMPDIR at a larger disk, or track the frames as a stream",
            ) from error
        self._num_frames += 1

    def __len__(self) -> int:
        return self._num_frames

    def _read(self, frame_idx: int) -> Frame:
        return self._frames(frame_idx, 1)[0]

    def _frames(self, first_idx: int, count: int) -> Frame:
        shape = (count, self.height, self.width, 3)
        # By position: threads and forked processes share the file, and with it the place where it would be read next.
        content = _read_at(self._file.fileno(), math.prod(shape), first_idx * math.prod(shape[1:]))
        return np.frombuffer(content, dtype=np.uint8).reshape(shape)

    def __reduce__(self) -> tuple[Any, ...]:
        """By its frames: the file is of this process alone."""
        return SpooledFrames, (self._frames(0, len(self)), self._description)

    def close(self) -> None:
        self._finalizer()


def _read_at(file: int, num_bytes: int, offset: int) -> bytearray:
    """`num_bytes` of an open file, from `offset` on."""
    if not hasattr(os, "pread"):  # Windows, where nothing forks
        with _SEEKING:
            os.lseek(file, offset, os.SEEK_SET)
            return _read_whole(lambda missing, _: os.read(file, missing), num_bytes)
    return _read_whole(lambda missing, done: os.pread(file, missing, offset + done), num_bytes)


def _read_whole(read: Callable[[int, int], bytes], num_bytes: int) -> bytearray:
    content = bytearray()
    while len(content) < num_bytes:  # a read may give less than it was asked for
        part = read(num_bytes - len(content), len(content))
        if not part:
            raise OSError(f"the file ends {num_bytes - len(content)} bytes too early")
        content += part
    return content
