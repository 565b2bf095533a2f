"""J and F as the DAVIS challenge defines them: region overlap and contour accuracy of one mask.

The one implementation of both in the project; its numbers are those of `db_eval_iou` and `db_eval_boundary` of
davis2017-evaluation.
"""

from __future__ import annotations

import math

import numpy as np

from sam2long.evaluation.contours import Kernel, Mask, disk, match, outlines

_TOLERANCE = 0.008  # of the image's diagonal


def jaccard(found: Mask, truth: Mask) -> float:
    """J: intersection over union of two (H, W) masks; 1 where both are empty."""
    _check(found, truth)
    union = int(np.count_nonzero(found | truth))
    return 1.0 if union == 0 else int(np.count_nonzero(found & truth)) / union


def boundary_f(found: Mask, truth: Mask, tolerance: float = _TOLERANCE) -> float:
    """F: harmonic mean of contour precision and recall; contours match within a small distance.

    Args:
        found, truth: (H, W) bool.
        tolerance: distance as a share of the image diagonal (rounded up to pixels), or in pixels from 1 on.

    Returns:
        F in [0, 1]; 1 where neither mask has a contour, 0 where only one has. A mask that fills the image has none.
    """
    _check(found, truth)
    kernels = [_reach(truth.shape, tolerance)]
    found, truth = window(found, truth)
    return match(outlines(found, kernels)[0], outlines(truth, kernels)[0])


def j_and_f(found: Mask, truth: Mask) -> tuple[float, float]:
    """Both of a pair of (H, W) masks, at DAVIS' tolerance; sooner than one after the other."""
    _check(found, truth)
    kernels = [davis_disk(truth.shape)]
    found, truth = window(found, truth)
    return jaccard(found, truth), match(outlines(found, kernels)[0], outlines(truth, kernels)[0])


def davis_disk(shape: tuple[int, ...]) -> Kernel:
    """What DAVIS lets contours of an (H, W) image differ by: 0.008 of the diagonal, rounded up; 8 pixels at 480p."""
    return _reach(shape, _TOLERANCE)


def window(found: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Views of two (H, W) masks on all that is in them and one pixel around it, which is all that J and F depend on.

    Beyond that pixel there is no contour; where it is missing, at the border of the image, the view ends as the image.
    """
    either = found | truth
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    if not len(rows):
        return found[:1, :1], truth[:1, :1]
    view = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    return found[view], truth[view]


def _reach(shape: tuple[int, ...], tolerance: float) -> Kernel:
    return disk(math.ceil(tolerance if tolerance >= 1 else tolerance * math.hypot(*shape)))


def _check(found: Mask, truth: Mask) -> None:
    if found.shape != truth.shape or found.ndim != 2:
        raise ValueError(f"masks of shapes {found.shape} and {truth.shape} cannot be compared; give two (H, W) masks")
    if found.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks of types {found.dtype} and {truth.dtype} cannot be compared; threshold them to bool")
