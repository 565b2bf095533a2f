"""The masks of one frame, as every export takes them, and a store that keeps a video's worth of them small."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sam2long.views.visualize import BoolArray

ObjId = int | str
Tracked = Iterable[tuple[int, Sequence[Any], Any]]
"""(frame index, N object ids, masks of them), as `propagate_in_video` yields it; see `FrameMasks.of`."""


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """What was tracked on one frame.

    Attributes:
        frame_idx: from 0, of the video.
        obj_ids: N ids, integers or text, all different.
        masks: bool [N, H, W]; they may overlap, and an object that is not seen has an empty one.
        logits: [N, H, W] where they are known: of two masks that overlap, the larger logit gets the pixel.
    """

    frame_idx: int
    obj_ids: tuple[ObjId, ...]
    masks: BoolArray
    logits: npt.NDArray[np.floating[Any]] | None = None

    @classmethod
    def of(cls, frame_idx: int, obj_ids: Sequence[Any], masks: Any) -> FrameMasks:
        """A frame from what users and `propagate_in_video` have.

        Args:
            frame_idx: from 0.
            obj_ids: N ids; what is no integer is taken as its text.
            masks: an array or tensor [N, H, W] or [N, 1, H, W], of bool, or of float: logits, positive on the object.

        Raises:
            ValueError: shapes, types or numbers do not fit.
        """
        ids = tuple(_plain(obj_id) for obj_id in obj_ids)
        if isinstance(masks, torch.Tensor):  # NumPy has no bfloat16
            masks = (masks.float() if masks.is_floating_point() else masks).detach().cpu().numpy()
        array = np.asarray(masks)
        where = f"frame {frame_idx}"
        if array.ndim == 4 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 3 or 0 in array.shape[1:]:
            raise ValueError(f"{where}: masks are [N, H, W] or [N, 1, H, W], not {list(array.shape)}")
        if len(array) != len(ids) or len(set(ids)) != len(ids):
            raise ValueError(f"{where}: {len(array)} masks for the objects {list(ids)}; give one for each")
        if frame_idx < 0:
            raise ValueError(f"{where}: frames are counted from 0")
        if array.dtype == np.bool_:
            return cls(int(frame_idx), ids, array)
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{where}: masks are {array.dtype}; give bool (masks > 0), or float logits")
        return cls(int(frame_idx), ids, array > 0, array)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return int(self.masks.shape[1]), int(self.masks.shape[2])

    def apart(self) -> BoolArray:
        """The masks without overlap, bool [N, H, W]: the larger logit gets the pixel, else the later object."""
        if len(self.obj_ids) < 2:
            return self.masks
        if self.logits is not None:
            return self.masks & (np.arange(len(self.obj_ids))[:, None, None] == self.logits.argmax(axis=0))
        apart, taken = np.empty_like(self.masks), np.zeros(self.size, dtype=np.bool_)
        for k in reversed(range(len(apart))):
            apart[k] = self.masks[k] & ~taken
            taken |= self.masks[k]
        return apart

    def label_map(self, numbers: Sequence[int]) -> npt.NDArray[np.uint16]:
        """The number of the object that each pixel belongs to, uint16 [H, W], 0 for none; overlaps as in `apart`."""
        labels = np.zeros(self.size, dtype=np.uint16)
        for number, mask in zip(numbers, self.apart(), strict=True):
            labels[mask] = number
        return labels


def _plain(obj_id: Any) -> ObjId:
    if isinstance(obj_id, bool) or not isinstance(obj_id, (int, np.integer)):
        return str(obj_id)
    return int(obj_id)


class PackedFrames:
    """Frames by index, a few kilobytes each, for formats that need all of them before they can be written.

    A frame that comes again replaces what was there. Overlaps are kept, logits are not.
    """

    def __init__(self) -> None:
        self._frames: dict[int, tuple[tuple[ObjId, ...], tuple[int, ...], bytes]] = {}

    def add(self, frame: FrameMasks) -> None:
        data = zlib.compress(np.packbits(frame.masks).tobytes(), 1)
        self._frames[frame.frame_idx] = (frame.obj_ids, frame.masks.shape, data)

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[FrameMasks]:
        """In the order of time."""
        for frame_idx in sorted(self._frames):
            yield self._unpacked(frame_idx)

    def get(self, frame_idx: int) -> FrameMasks | None:
        """None where the frame was not tracked."""
        return self._unpacked(frame_idx) if frame_idx in self._frames else None

    def obj_ids(self) -> list[ObjId]:
        """All there are, in the order of the first frame that has them."""
        return list(dict.fromkeys(k for t in sorted(self._frames) for k in self._frames[t][0]))

    def _unpacked(self, frame_idx: int) -> FrameMasks:
        obj_ids, shape, data = self._frames[frame_idx]
        bits = np.unpackbits(np.frombuffer(zlib.decompress(data), dtype=np.uint8), count=int(np.prod(shape)))
        return FrameMasks(frame_idx, obj_ids, bits.view(np.bool_).reshape(shape))


@dataclass(frozen=True)
class Extent:
    """Where a mask lies, in pixels: column and row 0 are the top left pixel's, whose centre is (0, 0).

    Attributes:
        area: number of pixels, above 0.
        cx, cy: the mean of their columns and rows.
        x0, y0: first column and row.
        x1, y1: the column and row behind the last: x1 - x0 is the width.
    """

    area: int
    cx: float
    cy: float
    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def of(cls, mask: BoolArray) -> Extent | None:
        """The extent of a mask, bool [H, W]; None for an empty one."""
        columns, rows = mask.sum(axis=0), mask.sum(axis=1)
        area = int(columns.sum())
        if not area:
            return None
        x, y = np.flatnonzero(columns), np.flatnonzero(rows)
        cx, cy = float(columns[x] @ x) / area, float(rows[y] @ y) / area
        return cls(area, cx, cy, int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1)
