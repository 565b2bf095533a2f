"""Frames as the model reads them, with a bounded cache and a thread that reads ahead."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict, deque

import numpy as np
import torch
from PIL import Image

from sam2long.frames.source import Frame, FrameSource, normalise_index

logger = logging.getLogger(__name__)

# The mean and standard deviation of SAM 2's `load_video_frames`.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class ModelFrames:
    """The frames of a source as SAM 2's image encoder takes them: what `inference_state["images"]` holds.

    Equal to the tensor of sam2's own loader bit for bit where that loader reads the same frames, but each
    frame is decoded when it is needed. The last `cache_size` frames are kept on the host as resized uint8
    (3 MB each at 1024 pixels, pinned for a CUDA `device`), and a daemon thread reads up to `prefetch`
    frames ahead in the direction of the last reads. With `prefetch=0` there is no thread.

    Tensors lie on `device`, or on the host with `offload_to_cpu`. `source` is not closed with this object:
    whoever opened it closes it. Raises ValueError for sizes that make no sense.
    """

    def __init__(
        self,
        source: FrameSource,
        image_size: int,
        device: torch.device,
        *,
        cache_size: int = 16,
        prefetch: int = 4,
        offload_to_cpu: bool = False,
    ) -> None:
        if image_size < 1:
            raise ValueError(f"image_size={image_size} must be a positive number of pixels")
        if not 0 <= prefetch < cache_size:
            raise ValueError(
                f"prefetch={prefetch} must be at least 0 and less than cache_size={cache_size}, "
                "or frames read ahead would push each other out"
            )
        self.source = source
        self.height, self.width = source.height, source.width
        self._device = torch.device("cpu") if offload_to_cpu else torch.device(device)
        pinned = self._device.type == "cuda"
        self._reader = _ReadAhead(source, image_size, cache_size, prefetch, pinned)
        # The thread holds the reader, never this object: dropping this object ends the thread.
        self._finalizer = weakref.finalize(self, self._reader.stop)
        # [3, 1, 1] each, on the device, as tensors: CUDA multiplies by the reciprocal of a plain number,
        # which differs from the loader's division in the last bit.
        self._full_scale, self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=self._device)[:, None, None]
            for values in ((255.0, 255.0, 255.0), _MEAN, _STD)
        )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, frame_idx: int) -> torch.Tensor:
        """Frame `frame_idx`, normalised: float32 `[3, image_size, image_size]`, a tensor of the caller's own.

        Raises IndexError beyond the ends, and what the source raises (FrameError) for a frame it cannot give.
        """
        pixels = self._reader.read(normalise_index(frame_idx, len(self)))
        # Copy and arithmetic are queued on the caller's current stream, so the result is ordered with its
        # use there, and PyTorch keeps the pinned buffer until the copy has happened.
        image = pixels.to(self._device, non_blocking=True).to(torch.float32, copy=True)
        return image.div_(self._full_scale).sub_(self._mean).div_(self._std)

    def close(self) -> None:
        """Stop reading ahead and drop the cache. Idempotent; frames can still be read, without prefetch."""
        self._finalizer()
        self._reader.join()


class _ReadAhead:
    """Resized frames: a least-recently-used cache, filled by readers and by one thread ahead of them."""

    def __init__(self, source: FrameSource, image_size: int, cache_size: int, prefetch: int, pinned: bool) -> None:
        self._source = source
        self._image_size = image_size
        self._cache_size = cache_size
        self._prefetch = prefetch
        self._pinned = pinned
        self._changed = threading.Condition()  # guards everything below
        self._cache: OrderedDict[int, torch.Tensor] = OrderedDict()
        self._in_progress: set[int] = set()
        self._ahead: deque[int] = deque()
        self._direction = 1
        self._last_idx = -1
        self._stopped = False
        self._thread: threading.Thread | None = None

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
        # Not alive: not yet started, or this process is a fork, to which threads do not come along.
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
        return pixels.copy_(torch.from_numpy(np.array(square)).permute(2, 0, 1))

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
