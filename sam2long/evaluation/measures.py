"""J and F as the DAVIS challenge defines them: region overlap and contour accuracy of one mask."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def jaccard(found: Mask, truth: Mask) -> float:
    """J: intersection over union of two (H, W) masks; 1 where both are empty."""
    _check(found, truth)
    union = int(np.count_nonzero(found | truth))
    return 1.0 if union == 0 else int(np.count_nonzero(found & truth)) / union


def contour(mask: Mask) -> Mask:
    """The pixels of an (H, W) mask, or just outside it, whose right, lower or lower right neighbour differs."""
    east, south, corner = mask.copy(), mask.copy(), mask.copy()
    east[:, :-1], south[:-1] = mask[:, 1:], mask[1:]
    corner[:-1, :-1] = mask[1:, 1:]
    border: Mask = (mask ^ east) | (mask ^ south) | (mask ^ corner)
    border[-1] = mask[-1] ^ east[-1]  # beyond the image nothing differs
    border[:, -1] = mask[:, -1] ^ south[:, -1]
    border[-1, -1] = False
    return border


def _thicken(mask: Mask, radius: int) -> Mask:
    """Dilation by the disk of pixels at most `radius` away, one row of the disk at a time."""
    height, width = mask.shape
    room = np.zeros((height + 2 * radius, width + 2 * radius + 1), np.int32)
    room[radius : radius + height, radius + 1 : radius + 1 + width] = mask
    counts = room.cumsum(axis=1)
    thick = np.zeros_like(mask)
    for dy in range(-radius, radius + 1):
        half = math.isqrt(radius * radius - dy * dy)
        rows = counts[radius + dy : radius + dy + height]
        right, left = radius + half + 1, radius - half
        thick |= rows[:, right : right + width] > rows[:, left : left + width]
    return thick


def boundary_f(found: Mask, truth: Mask, tolerance: float = 0.008) -> float:
    """F: harmonic mean of contour precision and recall; contours match within a small distance.

    Args:
        found, truth: (H, W) bool.
        tolerance: distance as a share of the image diagonal (rounded up to pixels), or in pixels from 1 on.

    Returns:
        F in [0, 1]; 1 where neither mask has a contour, 0 where only one has.
    """
    _check(found, truth)
    radius = math.ceil(tolerance if tolerance >= 1 else tolerance * math.hypot(*truth.shape))
    border_found, border_truth = contour(found), contour(truth)
    num_found, num_truth = np.count_nonzero(border_found), np.count_nonzero(border_truth)
    if num_found == 0 or num_truth == 0:
        return float(num_found == num_truth)
    precision = np.count_nonzero(border_found & _thicken(border_truth, radius)) / num_found
    recall = np.count_nonzero(border_truth & _thicken(border_found, radius)) / num_truth
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def _check(found: Mask, truth: Mask) -> None:
    if found.shape != truth.shape or found.ndim != 2:
        raise ValueError(f"masks of shapes {found.shape} and {truth.shape} cannot be compared; give two (H, W) masks")
    if found.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks of types {found.dtype} and {truth.dtype} cannot be compared; threshold them to bool")
