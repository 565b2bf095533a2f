"""Resized frames of a source, with a bounded cache and a thread that reads ahead."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image

from sam2long.frames.forks import follow_forks
from sam2long.frames.source import Frame, FrameSource

logger = logging.getLogger(__name__)


class ReadAhead:
    """Resized frames: a least-recently-used cache, filled by readers and by one thread ahead of them."""

    def __init__(
        self,
        source: FrameSource,
        image_size: int,
        cache_size: int,
        prefetch: int,
        *,
        pinned: bool,
        held: Mapping[int, torch.Tensor],
    ) -> None:
        self._source = source
        self._image_size = image_size
        self._cache_size = cache_size
        self._prefetch = prefetch
        self._pinned = pinned
        self._cache = OrderedDict(held)
        self._direction = 1
        self._last_idx = -1
        self._stopped = False
        self.begin_anew()
        follow_forks(self)

    def begin_anew(self) -> None:
        """In a forked process: what was read is here, and the thread is not, with whatever it was about to do."""
        self._changed = threading.Condition()  # guards all that is not constant
        self._in_progress: set[int] = set()
        self._ahead: deque[int] = deque()
        self._thread: threading.Thread | None = None

    def held(self) -> dict[int, torch.Tensor]:
        """The frames in the cache, uint8 `[3, image_size, image_size]`, by index."""
        with self._changed:
            return dict(self._cache)

    def read(self, frame_idx: int) -> torch.Tensor:
        """Frame `frame_idx` as uint8 `[3, image_size, image_size]`; errors of the source are raised here."""
        with self._changed:
            self._plan(frame_idx)
            while frame_idx in self._in_progress:
                self._changed.wait()
            if frame_idx in self._cache:
                self._cache.move_to_end(frame_idx)
                return self._cache[frame_idx]
            self._in_progress.add(frame_idx)
        return self._decode(frame_idx)

    def _plan(self, frame_idx: int) -> None:
        """Choose what to read ahead of `frame_idx` and see that the thread runs."""
        step = frame_idx - self._last_idx
        self._last_idx = frame_idx
        if 0 < abs(step) <= max(self._prefetch, 1):  # a jump across the video says nothing about direction
            self._direction = 1 if step > 0 else -1
        if self._prefetch == 0 or self._stopped:
            return
        steps = range(1, self._prefetch + 1)
        ahead = (frame_idx + self._direction * step for step in steps)
        self._ahead = deque(idx for idx in ahead if 0 <= idx < len(self._source))
        self._changed.notify_all()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="sam2long-prefetch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (frame_idx := self._next_ahead()) is not None:
            try:
                self._decode(frame_idx)
            except Exception as error:
                # Not kept: the reader of that frame tries it again, and the error is raised to that reader.
                logger.debug("reading ahead failed: %s", error)

    def _next_ahead(self) -> int | None:
        """Wait for a frame worth reading ahead and claim it; None when the thread is to end."""
        with self._changed:
            while not self._stopped:
                if not self._ahead:
                    self._changed.wait()
                    continue
                frame_idx = self._ahead.popleft()
                if frame_idx not in self._cache and frame_idx not in self._in_progress:
                    self._in_progress.add(frame_idx)
                    return frame_idx
            return None

    def _decode(self, frame_idx: int) -> torch.Tensor:
        """Decode a frame claimed in `_in_progress` and put it into the cache."""
        pixels: torch.Tensor | None = None
        try:
            pixels = self._resize(self._source[frame_idx])
            return pixels
        finally:
            with self._changed:
                self._in_progress.discard(frame_idx)
                if pixels is not None and not self._stopped:
                    self._cache[frame_idx] = pixels
                    while len(self._cache) > self._cache_size:
                        self._cache.popitem(last=False)
                self._changed.notify_all()

    def _resize(self, frame: Frame) -> torch.Tensor:
        # As sam2's `_load_img_as_tensor`: Pillow's default (bicubic) filter, to a square, in uint8.
        square = Image.fromarray(frame).resize((self._image_size, self._image_size))
        pixels = torch.empty(3, self._image_size, self._image_size, dtype=torch.uint8, pin_memory=self._pinned)
        # By NumPy: a forked process would wait for torch's threads, which did not come along.
        pixels.numpy()[:] = np.array(square).transpose(2, 0, 1)
        return pixels

    def stop(self) -> None:
        """Ask the thread to end and drop the cache. Safe from any thread, finalizers included."""
        with self._changed:
            self._stopped = True
            self._cache.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join()
