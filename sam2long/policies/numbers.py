"""Arithmetic that several policies share."""

from __future__ import annotations

import math
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2long.search.selection import Candidate

Mask = NDArray[np.bool_]
# The occlusion score of an absent candidate whose pathway is undecided: below 0, so that it counts as absent.
_BARELY = -1e-3
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in low-res pixels, the far edges beyond the last pixel


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), for any finite logit."""
    return 0.5 * (1.0 + math.tanh(0.5 * logit))


def shown(candidate: Candidate) -> Mask:
    """The mask that a candidate stands for: empty where the object is absent."""
    mask = candidate.evidence.mask
    assert mask is not None, "this policy wants masks"
    return mask if candidate.occlusion_score > 0 else np.zeros_like(mask)


def not_visible(candidate: Candidate) -> Candidate:
    """The candidate as one that says that the object is absent, as surely as it said that it shows."""
    return replace(candidate, occlusion_score=min(-candidate.occlusion_score, _BARELY))


def box_of(mask: Mask) -> Box | None:
    """The tight box of a mask [h, w]; None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 where they do not overlap."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks; two empty ones are the same."""
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 1.0


def mask_to_text(mask: Mask) -> str:
    """A mask [h, w] as text, so that a pathway can carry it: usually a few hundred characters."""
    height, width = mask.shape
    return f"{height}x{width} {b64encode(zlib.compress(np.packbits(mask).tobytes(), 1)).decode()}"


@lru_cache(maxsize=64)
def mask_from_text(text: str) -> Mask:
    """What `mask_to_text` was given, read-only: a pathway's is asked for several times a frame."""
    shape, data = text.split(" ")
    height, width = map(int, shape.split("x"))
    bits = np.frombuffer(zlib.decompress(b64decode(data)), dtype=np.uint8)
    mask: Mask = np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)  # (h, w)
    mask.setflags(write=False)
    return mask


def every_nth(frames: tuple[Any, ...], stride: int) -> tuple[Any, ...]:
    """The first frame, and of the others, in order, each that is at least `stride` frames from the last one taken."""
    taken: tuple[Any, ...] = ()
    for frame in frames:
        if not taken or abs(frame.frame_idx - taken[-1].frame_idx) >= stride:
            taken = (*taken, frame)
    return taken
