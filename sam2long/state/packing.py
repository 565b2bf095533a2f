"""Masks and object pointers as a few kilobytes on a shelf."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2long.model.levels import NUM_LEVELS
from sam2long.state.shelf import Shelf

_MAX_PACKED_BYTES = 5000
# The memory encoder reads sigmoid(logits), so levels are even in probability; the outer two are saturated,
# at the logits that SAM 2 writes for a given mask (+-10).
_LEVEL_LOGITS = np.log((np.arange(NUM_LEVELS) + 0.5) / (NUM_LEVELS - 0.5 - np.arange(NUM_LEVELS))).astype(np.float32)
_LEVEL_LOGITS[0], _LEVEL_LOGITS[-1] = -10.0, 10.0


@dataclass(slots=True, frozen=True)
class PackedMask:
    """Quantised mask logits, compressed: 4 bits a pixel, or 1 bit where those would take too much room.

    A mask that is noise does not fit even so; of that, every second pixel of every second row is kept.

    Attributes:
        data: the bytes.
        bits: per 2x2 pixels: 16, 4 or 1.
        shape: of the mask, [..., h, w].
    """

    data: bytes | memoryview
    bits: int
    shape: tuple[int, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedMask, (bytes(self.data), self.bits, self.shape)

    @classmethod
    def pack(cls, levels: NDArray[np.uint8], shelf: Shelf) -> PackedMask:
        flat = levels.ravel()
        flat = np.pad(flat, (0, flat.size % 2))
        data = zlib.compress((flat[::2] << 4 | flat[1::2]).tobytes(), 1)
        if len(data) <= _MAX_PACKED_BYTES:
            return cls(shelf.put(data), 16, levels.shape)
        foreground = levels >= NUM_LEVELS // 2
        data = zlib.compress(np.packbits(foreground).tobytes(), 9)
        if len(data) <= _MAX_PACKED_BYTES:
            return cls(shelf.put(data), 4, levels.shape)
        data = zlib.compress(np.packbits(foreground[..., ::2, ::2]).tobytes(), 9)
        return cls(shelf.put(data), 1, levels.shape)

    def unpack(self) -> Tensor:
        """Mask logits, float32, of the packed shape, on the host; their signs are those packed."""
        size = int(np.prod(self.shape))
        data = np.frombuffer(zlib.decompress(self.data), dtype=np.uint8)
        if self.bits == 16:
            levels = np.stack([data >> 4, data & 15], axis=1).reshape(-1)[:size]  # (bytes, 2) -> (pixels,)
            return torch.from_numpy(_LEVEL_LOGITS[levels].reshape(self.shape))
        *batch, height, width = self.shape
        step = 2 if self.bits == 1 else 1
        kept = (*batch, -(-height // step), -(-width // step))
        foreground = np.unpackbits(data, count=int(np.prod(kept))).reshape(kept)
        foreground = foreground.repeat(step, axis=-2).repeat(step, axis=-1)[..., :height, :width]
        return torch.from_numpy(_LEVEL_LOGITS[foreground * np.uint8(NUM_LEVELS - 1)])


@dataclass(slots=True, frozen=True)
class PackedPointer:
    """The bytes of an object pointer [1, C]: a tensor has some hundred bytes of its own."""

    data: bytes | memoryview
    dtype: torch.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedPointer, (bytes(self.data), self.dtype)

    @classmethod
    def pack(cls, obj_ptr: Tensor, shelf: Shelf) -> PackedPointer:
        return cls(shelf.put(obj_ptr.contiguous().view(torch.uint8).numpy().tobytes()), obj_ptr.dtype)

    def unpack(self) -> Tensor:
        """The pointer, [1, C], on the host."""
        return torch.frombuffer(bytearray(self.data), dtype=self.dtype)[None]
