"""What every source of frames promises, and the error it raises for a frame it cannot give."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import Self

from sam2long.frames.display import Display

Frame = npt.NDArray[np.uint8]
"""One image of a video: uint8 RGB `[H, W, 3]`, rows from the top, values 0 to 255."""


class FrameError(ValueError):
    """One frame of a video cannot be read; the frames around it still can.

    `source` says where the frame should have come from (a file's path where there is one), `frame_idx`
    is its number in the video and `reason` what is wrong with it.
    """

    def __init__(self, source: str, frame_idx: int, reason: str) -> None:
        super().__init__(source, frame_idx, reason)
        self.source = source
        self.frame_idx = frame_idx
        self.reason = reason

    def __str__(self) -> str:
        return f"frame {self.frame_idx} of {self.source}: {self.reason}"


class FrameSource(ABC):
    """A video as a sequence of frames that are decoded when asked for.

    `height` and `width` are the video's resolution in pixels as it is meant to be seen (a phone's upright
    video is upright). Frames may be read from several threads at once, in forked processes, and where a pickled
    source arrives. A source is also a context manager.
    """

    height: int
    width: int
    display: Display = Display()
    """When frames are shown and how wide pixels are, where the source says so."""
    _fingerprint: dict[str, str] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """The exact number of frames."""

    @abstractmethod
    def _read(self, frame_idx: int) -> Frame:
        """Frame `frame_idx`, which lies in `0 .. len(self) - 1`; the caller owns the array."""

    def __getitem__(self, frame_idx: int) -> Frame:
        """Frame `frame_idx` as uint8 RGB `[height, width, 3]`, an array of the caller's own.

        Negative numbers count from the end. Raises IndexError beyond the ends and FrameError for a frame
        that cannot be decoded or has another size than the video.
        """
        return self._read(normalise_index(frame_idx, len(self)))

    def __iter__(self) -> Iterator[Frame]:
        return (self._read(frame_idx) for frame_idx in range(len(self)))

    def name(self, frame_idx: int) -> str:
        """The stem for files written about frame `frame_idx`; unique within the video."""
        return f"{normalise_index(frame_idx, len(self)):05d}"

    def fingerprint(self) -> dict[str, str]:
        """Digests of the first, middle and last frame that can be read, by their numbers as text (for JSON).

        Read once: two videos of one size and length are told apart by it.
        """
        if self._fingerprint is None:
            last = len(self) - 1
            found = {t: self._digest(t) for t in sorted({0, last // 2, last})}
            self._fingerprint = {str(t): digest for t, digest in found.items() if digest is not None}
        return self._fingerprint

    def _digest(self, frame_idx: int) -> str | None:
        try:
            return hashlib.sha256(self._read(frame_idx).tobytes()).hexdigest()
        except Exception:  # whatever a source says of a broken frame: nothing else depends on it
            return None

    def __deepcopy__(self, memo: dict[int, Any]) -> FrameSource:
        """A copied inference state reads the same source."""
        return self

    def close(self) -> None:  # noqa: B027  most sources hold nothing open
        """Free files and decoders. Idempotent; reading afterwards may raise ValueError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def other_frames(there: Mapping[str, str], here: Mapping[str, str]) -> list[int]:
    """The frames that differ between two fingerprints; what one of them lacks tells nothing."""
    return sorted(int(t) for t in there.keys() & here.keys() if there[t] != here[t])


def normalise_index(frame_idx: int, num_frames: int) -> int:
    """`frame_idx` counted from the start. Raises IndexError outside `-num_frames .. num_frames - 1`."""
    if not -num_frames <= frame_idx < num_frames:
        raise IndexError(f"frame {frame_idx} of a video of {num_frames} frames")
    return int(frame_idx) % num_frames


def as_frame(image: Any) -> Frame:
    """An array, tensor or PIL image of uint8 RGB `[H, W, 3]` as a fresh contiguous NumPy array.

    Raises ValueError saying what it is instead and what to do about it.
    """
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"a frame must be RGB [height, width, 3], not {_shape_and_mend(array.shape)}")
    if array.dtype != np.uint8:
        raise ValueError(
            f"a frame must be uint8 with values 0 to 255, not {array.dtype}; "
            "scale it to that range and convert it with .astype('uint8')"
        )
    if 0 in array.shape:
        raise ValueError(f"a frame must have pixels, not shape {list(array.shape)}")
    return np.array(array, dtype=np.uint8, order="C")  # a copy: the reader owns what it is given


def require_size(frame: Frame, height: int, width: int) -> Frame:
    """`frame`, if it has the video's size. Raises ValueError otherwise."""
    if frame.shape[:2] != (height, width):
        raise ValueError(
            f"it is {frame.shape[1]}x{frame.shape[0]} pixels, but the video is {width}x{height}; "
            "all frames must have the size of the first"
        )
    return frame


def _shape_and_mend(shape: tuple[int, ...]) -> str:
    described = str(list(shape))
    if len(shape) == 2:
        return f"{described}; repeat a grey image along a last axis of 3"
    if len(shape) == 3 and shape[0] == 3:
        return f"{described}; move its channels last"
    if len(shape) == 3 and shape[2] == 4:
        return f"{described}; drop its alpha channel with [..., :3]"
    return described
