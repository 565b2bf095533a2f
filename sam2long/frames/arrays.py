"""A video that is already in the program: an array, a sequence of frames, or an iterator of them."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch

from sam2long.frames.source import Frame, FrameError, FrameSource, as_frame, require_size


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
        # The prefetch thread reads too, and readers of other libraries (h5py, decoders) are seldom thread-safe.
        self._lock = threading.Lock()
        self.height, self.width = self._convert(0).shape[:2]

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
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile(prefix="sam2long-frames-")  # noqa: SIM115  kept open on purpose
        self._finalizer = weakref.finalize(self, self._file.close)
        self._num_frames = 0
        try:
            for image in frames:
                self._append(image, description)
            if self._num_frames == 0:
                raise ValueError(f"{description} gave no frames; a video needs at least one")
        except BaseException:
            self.close()
            raise

    def _append(self, image: Any, description: str) -> None:
        try:
            frame = as_frame(image)
            if self._num_frames == 0:
                self.height, self.width = frame.shape[:2]
            require_size(frame, self.height, self.width)
        except ValueError as error:
            raise FrameError(description, self._num_frames, str(error)) from error
        try:
            self._file.write(frame.data)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot keep frame {self._num_frames} of {description} in {tempfile.gettempdir()} "
                f"({error.strerror}); point TMPDIR at a larger disk, or track the frames as a stream",
            ) from error
        self._num_frames += 1

    def __len__(self) -> int:
        return self._num_frames

    def _read(self, frame_idx: int) -> Frame:
        frame = np.empty((self.height, self.width, 3), dtype=np.uint8)
        with self._lock:
            self._file.seek(frame_idx * frame.nbytes)
            self._file.readinto(frame.data)  # a buffered file fills it whole
        return frame

    def close(self) -> None:
        self._finalizer()
