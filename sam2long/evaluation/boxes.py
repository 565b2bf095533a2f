"""Boxes (x, y, width, height) in pixels: reading them, their overlaps and distances, and the curves over thresholds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def read_numbers(path: Path, columns: int | None = None) -> Array:
    """The numbers of a text file, by lines; commas, tabs and blanks part them.

    Args:
        path: the file.
        columns: numbers a line; None reads all numbers of the file into one row.

    Returns:
        (lines, columns), or (numbers,) for `columns=None`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line has another number of them, or something that is none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file") from error
    lines = [(number, re.split(r"[,\s]+", line.strip(", \t"))) for number, line in enumerate(text.splitlines(), 1)]
    try:
        rows = [(number, [float(word) for word in words]) for number, words in lines if words != [""]]
    except ValueError as error:
        raise ValueError(f"{path} holds something that is no number: {error}") from error
    if columns is None:
        return np.array([value for _, row in rows for value in row])
    for number, row in rows:
        if len(row) != columns or not np.isfinite(row).all():
            raise ValueError(f"{path}, line {number}: {row} is no box; write x,y,width,height in pixels")
    return np.array([row for _, row in rows]).reshape(-1, columns)


def overlaps(found: Array, truth: Array) -> Array:
    """Intersection over union of (N, 4) boxes with (N, 4) boxes; 0 where both are empty."""
    low = np.maximum(found[:, :2], truth[:, :2])
    high = np.minimum(found[:, :2] + found[:, 2:], truth[:, :2] + truth[:, 2:])
    inside = (high - low).clip(min=0).prod(1)
    union = found[:, 2:].prod(1) + truth[:, 2:].prod(1) - inside
    # The toolkits' way to divide by nothing; it changes no other number.
    return (inside / (union + np.finfo(float).eps)).clip(0, 1)


def centre_offsets(found: Array, truth: Array) -> Array:
    """From the centres of (N, 4) boxes to those of others, (N, 2)."""
    return found[:, :2] + found[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2


def clipped(boxes: Array, width: float, height: float) -> Array:
    """(N, 4) boxes as the GOT-10k toolkit clips them to an image.

    The corner is moved into the image, the size stays, and is then cut to what is left: a box that sticks out at the
    left is shifted, not cut.
    """
    size = np.array([width, height])
    corner = boxes[:, :2].clip(0, size)
    return np.concatenate([corner, boxes[:, 2:].clip(0, size - corner)], axis=1)


def success_curve(overlap: Array, thresholds: Array, denominator: int | None = None) -> Array:
    """The share of frames whose overlap is above each threshold (strictly): a perfect tracker fails at 1."""
    return (overlap[:, None] > thresholds).sum(0) / (denominator or len(overlap))


def precision_curve(error: Array, thresholds: Array, denominator: int | None = None) -> Array:
    """The share of frames whose error is at most each threshold."""
    return (error[:, None] <= thresholds).sum(0) / (denominator or len(error))
