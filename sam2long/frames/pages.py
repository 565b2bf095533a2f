"""A video in one image file: the pages of a TIFF, the frames of an animated PNG, WebP or GIF."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sam2long.frames.display import Display
from sam2long.frames.forks import follow_forks, leave_behind
from sam2long.frames.images import has_pages, image_as_frame, upright_size
from sam2long.frames.same_file import identity_of, require_same
from sam2long.frames.source import Frame, FrameError, FrameSource, normalise_index, require_size

logger = logging.getLogger(__name__)

_TIMED = ("APNG", "GIF", "PNG", "WEBP")


class ImagePages(FrameSource):
    """The images of a file that holds several, in their order; an animation's are whole, not what changed.

    An animation that is read backwards is decoded from its start for each frame. Raises ValueError for an image that
    is alone, and for pages of several sizes; FrameError where the first cannot be read.
    """

    def __init__(self, path: Path, *, upright: bool = True) -> None:
        self._path, self._upright = path, upright
        self._lock = threading.Lock()
        self._image: Any = None
        self._display: Display | None = None
        self._identity = identity_of(path)
        self._first = 0
        image = self._opened()
        if not has_pages(image):
            raise ValueError(f"{path} holds a single image")
        # A PNG may begin with a picture for viewers that show no animation.
        self._first = int(bool(getattr(image, "default_image", False)))
        self._num_frames = image.n_frames - self._first
        self.width, self.height = upright_size(image, upright=upright)
        if image.format == "TIFF":
            self._require_one_size(image)
        follow_forks(self)

    def __len__(self) -> int:
        return self._num_frames

    def name(self, frame_idx: int) -> str:
        return f"{self._path.stem}_{normalise_index(frame_idx, len(self)):05d}"

    @property
    def display(self) -> Display:  # type: ignore[override]  # made when it is asked for: it takes decoding all frames
        """How long an animation shows each frame; the pages of a TIFF have no times."""
        if self._display is None:
            with self._lock:
                self._display = _display(self._durations())
        return self._display

    def _durations(self) -> list[float]:
        """Of the frames, in milliseconds; 0 where the file does not say, or breaks off."""
        durations = [0.0] * len(self)
        try:
            with Image.open(self._path) as image:
                for frame_idx in range(len(self) if image.format in _TIMED else 0):
                    image.seek(self._first + frame_idx)
                    image.load()  # WebP says it then
                    durations[frame_idx] = float(image.info.get("duration", 0))
        except Exception as error:  # whatever a decoder says about damaged bytes
            logger.debug("%s: no more frame times: %s", self._path, error)
        return durations

    def _read(self, frame_idx: int) -> Frame:
        with self._lock:
            try:
                require_same(self._path, self._identity)
                image = self._opened(before=self._first + frame_idx)
                image.seek(self._first + frame_idx)
                return require_size(image_as_frame(image, upright=self._upright), self.height, self.width)
            except FileNotFoundError as error:
                gone = "the file has vanished since the video was opened"
                raise FrameError(str(self._path), frame_idx, gone) from error
            except Exception as error:  # whatever a decoder says about damaged bytes (OSError, SyntaxError, ...)
                self._image = None  # its state is of no use after that
                raise FrameError(str(self._path), frame_idx, str(error)) from error

    def close(self) -> None:
        with self._lock:
            if self._image is not None:
                self._image.close()
            self._image = None

    def begin_anew(self) -> None:
        """In a forked process: the file is opened again, for its position is shared with the parent."""
        leave_behind(self._image)
        self._image, self._lock = None, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_image", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _image=None, _lock=threading.Lock())
        follow_forks(self)

    def _opened(self, before: int = 0) -> Any:
        """The file, opened and not read beyond page `before`: Pillow rewinds some PNGs wrongly."""
        if self._image is None or self._image.tell() > before:
            self._image = Image.open(self._path)
        return self._image

    def _require_one_size(self, image: Any) -> None:
        for page in range(self._first, image.n_frames):
            image.seek(page)
            if upright_size(image, upright=self._upright) != (self.width, self.height):
                width, height = upright_size(image, upright=self._upright)
                raise ValueError(
                    f"page {page} of {self._path} has {width}x{height} pixels, the first {self.width}x{self.height}: "
                    "a video's frames have one size; save the pages that are meant as images in a folder"
                )


def _display(durations: Sequence[float]) -> Display:
    """Frames that are shown so long, in milliseconds."""
    if len(durations) < 2 or min(durations) <= 0:
        return Display()
    microseconds = [round(1000 * duration) for duration in durations]
    rate = Fraction(1_000_000 * len(durations), sum(microseconds)).limit_denominator(1001)
    starts = np.cumsum([0, *microseconds[:-1]]).astype(np.int64)
    is_even = len(set(microseconds)) == 1
    return Display(rate, ticks=None if is_even else starts, tick=Fraction(1, 1_000_000))
