"""Frames as the model reads them."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from sam2long.frames.read_ahead import ReadAhead
from sam2long.frames.source import FrameSource
from sam2long.frames.tensor_view import TensorView, wait_for_copies

# The mean and standard deviation of SAM 2's `load_video_frames`.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class ModelFrames(TensorView):
    """The frames of a source as SAM 2's image encoder takes them: what `inference_state["images"]` holds.

    Equal to the tensor of sam2's own loader bit for bit where that loader reads the same frames, but each
    frame is decoded when it is needed. The last `cache_size` frames are kept on the host as resized uint8
    (3 MB each at 1024 pixels, pinned for a CUDA `device`), and a daemon thread reads up to `prefetch`
    frames ahead in the direction of the last reads. With `prefetch=0` there is no thread.

    With `preload` all frames are read at once, and kept so; the source is not asked again. `held` are resized frames
    that need no reading, by index. With `as_async_loader` the arithmetic is that of sam2's asynchronous loader, in
    float64: its values, and its layout in memory, to the bit.

    Tensors lie on `device`, or on the host with `offload_to_cpu`. `source` is not closed with this object:
    whoever opened it closes it. A copy reads the same source for itself, and shares what was preloaded. Raises
    ValueError for sizes that make no sense, and with `preload` what the source raises for a frame it cannot give.
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
        preload: bool = False,
        held: Mapping[int, torch.Tensor] = MappingProxyType({}),
        as_async_loader: bool = False,
    ) -> None:
        _check_sizes(image_size, cache_size, prefetch)
        self.source = source
        self.height, self.width = source.height, source.width
        self.image_size = image_size
        self._preload, self._as_async_loader = preload, as_async_loader
        # What a partial binds is pickled with it, and not copied with it.
        self._again = partial(
            ModelFrames,
            image_size=image_size,
            device=device,
            cache_size=cache_size,
            prefetch=prefetch,
            offload_to_cpu=offload_to_cpu,
            preload=preload,
            as_async_loader=as_async_loader,
        )
        on = torch.device("cpu") if offload_to_cpu else torch.device(device)
        if preload:
            cache_size, prefetch = len(source), 0
        self._reader = ReadAhead(source, image_size, cache_size, prefetch, pinned=on.type == "cuda", held=held)
        # The thread holds the reader, never this object: dropping this object ends the thread.
        self._finalizer = weakref.finalize(self, self._reader.stop)
        self._set_scale(on)
        for frame_idx in range(len(source) if preload else 0):
            self._reader.read(frame_idx)

    def _set_scale(self, device: torch.device) -> None:
        if self._as_async_loader and device.type != "mps":  # which knows no float64
            self.dtype = torch.float64
        # [3, 1, 1] each, on the device, as tensors: CUDA multiplies by the reciprocal of a plain number,
        # which differs from the loader's division in the last bit.
        self._full_scale, self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=device).to(self.dtype)[:, None, None]
            for values in ((255.0, 255.0, 255.0), _MEAN, _STD)
        )
        self.device = self._mean.device

    def __reduce__(self) -> tuple[Any, ...]:
        wait_for_copies(self._again.keywords["device"])
        held = self._reader.held() if self._preload else {}
        return partial(self._again, held=held), (self.source,)

    def __len__(self) -> int:
        return len(self.source)

    def _frame(self, frame_idx: int) -> torch.Tensor:
        pixels = self._reader.read(frame_idx)
        if self._as_async_loader:  # [3, S, S] as it lies in an image: kernels may round differently for another layout
            pixels = torch.from_numpy(np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0)).transpose(2, 0, 1))
        if self.device.type == "cpu":  # the same to the bit, and without torch's threads, which no fork has
            values = pixels.numpy().astype(self._mean.numpy().dtype)
            for operate, constant in ((np.divide, self._full_scale), (np.subtract, self._mean), (np.divide, self._std)):
                operate(values, constant.numpy(), out=values)
            return torch.from_numpy(values)
        # Copy and arithmetic are queued on the caller's current stream, so the result is ordered with its
        # use there, and PyTorch keeps the pinned buffer until the copy has happened.
        image = pixels.to(self.device, non_blocking=True).to(self.dtype, copy=True)
        return image.div_(self._full_scale).sub_(self._mean).div_(self._std)

    def close(self) -> None:
        """Stop reading ahead and drop the cache. Idempotent; frames can still be read, without prefetch."""
        self._finalizer()
        self._reader.join()


def _check_sizes(image_size: int, cache_size: int, prefetch: int) -> None:
    if image_size < 1:
        raise ValueError(f"image_size={image_size} must be a positive number of pixels")
    if not 0 <= prefetch < cache_size:
        raise ValueError(
            f"prefetch={prefetch} must be at least 0 and less than cache_size={cache_size}, "
            "or frames read ahead would push each other out"
        )
