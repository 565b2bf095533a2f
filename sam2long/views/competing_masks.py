"""Masks of hypotheses that competed, kept small while a video is tracked, as pictures afterwards."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from sam2long.views.tree_figure import Competing, most_interesting
from sam2long.views.visualize import BoolArray, Color, UInt8Array, overlay

# Frames of which masks are kept, those on which they are farthest apart.
MAX_FRAMES = 48
_WIDEST, _CUT = 320, 96  # pixels of the kept masks' longer side, and of the least cut-out of them
_GROUND = 60


@dataclass(frozen=True, slots=True)
class _Kept:
    shape: tuple[int, int, int]
    data: bytes
    interest: float


class CompetingMasks:
    """What competed on the frames of one object."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, frame_idx: int, masks: BoolArray, margin: float) -> None:
        """Take a frame.

        Args:
            masks: bool [N, H, W], N above 1, best first; the first four are kept.
            margin: the best one's lead in score: close races are of more interest.
        """
        step = max(1, math.ceil(max(masks.shape[1:]) / _WIDEST))
        small = masks[:4, ::step, ::step]
        interest = _apart(small) * math.exp(-margin)
        self._kept[frame_idx] = _Kept(small.shape, zlib.compress(np.packbits(small).tobytes()), interest)
        if len(self._kept) > MAX_FRAMES:
            del self._kept[min(self._kept, key=lambda t: self._kept[t].interest)]

    def forget(self, frame_idx: int) -> None:
        """It is tracked anew."""
        self._kept.pop(frame_idx, None)

    def pictures(
        self, frames: Any, color: Color, answers: Mapping[int, int], window: tuple[int, int]
    ) -> list[Competing]:
        """The frames that `draw_tree` shows of a window.

        Args:
            frames: indexed by frame, RGB uint8 [H, W, 3]; None paints on grey.
            color: of the object.
            answers: frame -> the place of its answer; where that was not the best at first, a look is worth more.
        """
        interests = {t: kept.interest + (1.0 if answers.get(t) else 0.0) for t, kept in self._kept.items()}
        shown = most_interesting({t: amount for t, amount in interests.items() if amount > 0}, *window)
        return [
            Competing(
                t, tuple(self._painted(self._kept[t], None if frames is None else frames[t], color)), interests[t]
            )
            for t in shown
        ]

    def _painted(self, kept: _Kept, frame: UInt8Array | None, color: Color) -> list[UInt8Array]:
        bits = np.unpackbits(np.frombuffer(zlib.decompress(kept.data), np.uint8), count=math.prod(kept.shape))
        masks = bits.view(np.bool_).reshape(kept.shape)
        height, width = kept.shape[1:]
        if frame is None:
            small = np.full((height, width, 3), _GROUND, np.uint8)
        else:
            small = np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX))
        cut = _around(np.asarray(masks.any(axis=0)))
        return [overlay(small, {1: mask}, colors={1: color})[cut] for mask in masks]


def _apart(masks: BoolArray) -> float:
    """1 minus the least IoU of the best mask with another, masks [N, h, w]; two empty ones are the same."""
    ious = [1.0]
    for other in masks[1:]:
        union = int((masks[0] | other).sum())
        ious.append(int((masks[0] & other).sum()) / union if union else 1.0)
    return 1.0 - min(ious)


def _around(mask: BoolArray) -> tuple[slice, slice]:
    """A cut-out of 4 x 3 that holds the mask with some ground around it, as far as there is any."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, height), slice(0, width)
    tall, wide = 1.3 * (rows[-1] - rows[0] + 1), 1.3 * (columns[-1] - columns[0] + 1)
    tall = max(tall, 0.75 * wide, 0.75 * _CUT)
    return _centred(rows, round(tall), height), _centred(columns, round(tall / 0.75), width)


def _centred(indices: Any, size: int, limit: int) -> slice:
    begin = min(max((int(indices[0]) + int(indices[-1]) + 1 - size) // 2, 0), max(limit - size, 0))
    return slice(begin, min(begin + size, limit))
