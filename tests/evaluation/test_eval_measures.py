"""J and F on masks small enough to count by hand, and F against a direct dilation."""

from __future__ import annotations

import numpy as np
import pytest

from sam2long.evaluation.contours import contour
from sam2long.evaluation.measures import boundary_f, jaccard


def square(top: int, left: int, side: int, size: int = 12) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_jaccard_counts_pixels() -> None:
    assert jaccard(square(2, 2, 4), square(2, 4, 4)) == pytest.approx(8 / 24)
    assert jaccard(square(0, 0, 2), square(6, 6, 2)) == 0.0
    assert jaccard(square(0, 0, 0), square(0, 0, 0)) == 1.0
    assert jaccard(square(0, 0, 0), square(0, 0, 3)) == 0.0


def test_contour_lies_on_the_upper_left_of_a_step() -> None:
    expected = np.zeros((6, 6), bool)
    expected[1, 1:4] = expected[1:4, 1] = True  # just outside, where the right, lower or lower right pixel is inside
    expected[3, 1:4] = expected[1:4, 3] = True  # the last row and column inside
    assert np.array_equal(contour(square(2, 2, 2, 6)), expected)


def test_contour_ends_with_the_image() -> None:
    full = np.ones((4, 5), bool)
    assert not contour(full).any()
    half = full.copy()
    half[:, 3:] = False
    assert np.array_equal(np.argwhere(contour(half)), [[row, 2] for row in range(4)])


def test_boundary_f_of_shifted_squares() -> None:
    truth = square(4, 4, 16, 64)
    assert boundary_f(truth, truth) == 1.0
    assert boundary_f(square(5, 4, 16, 64), truth) == 1.0  # one pixel off: ceil(0.008 * 90.5) = 1 is tolerated
    shifted = square(4, 4 + 8, 16, 64)
    # two horizontal edges still overlap in part, vertical ones nowhere: strictly between
    assert 0.2 < boundary_f(shifted, truth) < 0.7
    assert boundary_f(square(40, 40, 16, 64), truth) == 0.0


def test_boundary_f_of_empty_masks() -> None:
    nothing, something = square(0, 0, 0), square(2, 2, 4)
    assert boundary_f(nothing, nothing) == 1.0
    assert boundary_f(nothing, something) == 0.0
    assert boundary_f(something, nothing) == 0.0


@pytest.mark.parametrize("radius", [1, 2, 3, 7])
def test_boundary_f_equals_dilation_with_a_disk(radius: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(radius)
    for _ in range(5):
        found, truth = (ndimage.gaussian_filter(rng.normal(size=(47, 61)), 4) > 0 for _ in range(2))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disk = x * x + y * y <= radius * radius
        a, b = contour(found), contour(truth)
        precision = (a & ndimage.binary_dilation(b, disk)).sum() / a.sum()
        recall = (b & ndimage.binary_dilation(a, disk)).sum() / b.sum()
        expected = 2 * precision * recall / (precision + recall)
        assert boundary_f(found, truth, float(radius)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "truth", "message"),
    [
        (np.zeros((4, 4), bool), np.zeros((4, 5), bool), r"shapes \(4, 4\) and \(4, 5\)"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), "types uint8 and bool"),
        (np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool), r"give two \(H, W\) masks"),
    ],
)
def test_unlike_masks_are_refused(found: np.ndarray, truth: np.ndarray, message: str) -> None:
    for measure in (jaccard, boundary_f):
        with pytest.raises(ValueError, match=message):
            measure(found, truth)
