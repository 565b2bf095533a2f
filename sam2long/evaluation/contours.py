"""Contours that are matched within a small distance, on masks whose pixels are the bits of one integer.

A shift of a whole mask is one shift of that integer, so a dilation with a disk takes about eight operations per pixel
of its radius, each at the speed of memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class KernelRow(NamedTuple):
    """A run of a dilation's kernel: the pixels `first` to `last` to the right of the centre, `down` rows below it."""

    down: int
    first: int
    last: int


Kernel = Sequence[KernelRow]


class Outline(NamedTuple):
    """A contour as bits, and the pixels within reach of it."""

    line: int
    near: int


@lru_cache(maxsize=256)
def disk(radius: int) -> Kernel:
    """The pixels at most `radius` away: x^2 + y^2 <= radius^2."""
    halves = ((down, math.isqrt(radius * radius - down * down)) for down in range(-radius, radius + 1))
    return tuple(KernelRow(down, -half, half) for down, half in halves)


def contour(mask: Mask) -> Mask:
    """DAVIS' `seg2bmap`: the pixels of an (H, W) mask whose right, lower or lower right neighbour differs from them.

    So a contour lies half a pixel to the upper left, and the border of the image is none: a mask that fills the image
    has no contour.
    """
    border = np.zeros_like(mask)
    border[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    border[:-1] |= mask[:-1] ^ mask[1:]
    border[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return border


def outlines(mask: Mask, kernels: Sequence[Kernel]) -> list[Outline]:
    """The contour of an (H, W) mask with what lies within each kernel of it.

    Outlines can be matched where their masks have one shape and their kernels were given together.
    """
    reach = max((max(-row.first, row.last) for kernel in kernels for row in kernel), default=0)
    stride = mask.shape[1] + reach  # the gap at the end of a row takes what is shifted out of it
    line = bits(contour(mask), stride)
    return [Outline(line, _dilate(line, stride, kernel)) for kernel in kernels]


def match(found: Outline, truth: Outline) -> float:
    """F of two contours: the harmonic mean of precision and recall; 1 where both are empty, 0 where one is."""
    num_found, num_truth = found.line.bit_count(), truth.line.bit_count()
    if num_found == 0 or num_truth == 0:
        return float(num_found == num_truth)
    precision = (found.line & truth.near).bit_count() / num_found
    recall = (truth.line & found.near).bit_count() / num_truth
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def bits(mask: Mask, stride: int) -> int:
    """The integer whose bit `stride * y + x` is pixel (x, y) of an (H, W) mask; stride >= W."""
    rows = np.zeros((mask.shape[0], stride), bool)
    rows[:, : mask.shape[1]] = mask
    return int.from_bytes(np.packbits(rows, bitorder="little").tobytes(), "little")


def _dilate(line: int, stride: int, kernel: Kernel) -> int:
    """The pixels from which some pixel of the kernel falls on `line`, as OpenCV's `dilate` has it.

    The rows of a kernel must lie within each other, as those of a disk do: from the shortest to the longest, each
    dilation to the sides goes on from the one before it.
    """
    rows = sorted(kernel, key=lambda row: row.last - row.first)
    near = wide = 0
    first, last = (rows[0].first, rows[0].first - 1) if rows else (0, -1)
    for row in rows:
        for step in (*range(row.first, first), *range(last + 1, row.last + 1)):
            wide |= _shift(line, -step)
        first, last = row.first, row.last
        near |= _shift(wide, -row.down * stride)
    return near


def _shift(line: int, by: int) -> int:
    return line << by if by >= 0 else line >> -by
