"""J and F on masks counted by hand, F against plain dilation and distances, and what leaves both alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam2long.evaluation.contours import bits, contour, disk, outlines
from sam2long.evaluation.measures import boundary_f, davis_disk, j_and_f, jaccard, window
from sam2long.evaluation.mosev2 import off_centre_disk


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


masks = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


def plain_f(found: np.ndarray, truth: np.ndarray, radius: int) -> float:
    """F by distances between all pairs of contour pixels."""
    a, b = np.argwhere(contour(found)), np.argwhere(contour(truth))
    if not len(a) or not len(b):
        return float(len(a) == len(b))
    near = ((a[:, None] - b[None]) ** 2).sum(2) <= radius**2
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


@given(masks, st.integers(1, 5))
def test_f_is_what_distances_say(pair: tuple[np.ndarray, np.ndarray], radius: int) -> None:
    assert boundary_f(*pair, float(radius)) == pytest.approx(plain_f(*pair, radius), abs=1e-12)


@given(masks)
def test_bounds_and_symmetry(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found, truth = pair
    j, f = j_and_f(found, truth)
    assert 0 <= j <= 1
    assert 0 <= f <= 1
    assert (j, f) == j_and_f(truth, found) == (jaccard(found, truth), boundary_f(found, truth))
    assert j_and_f(truth, truth) == (1.0, 1.0)
    assert (j, f) == pytest.approx(j_and_f(found.T.copy(), truth.T.copy()))


@given(masks, st.integers(1, 9), st.integers(1, 9))
def test_place_in_the_image_does_not_count(pair: tuple[np.ndarray, np.ndarray], down: int, right: int) -> None:
    """As long as the border of the image is not touched; the size of the image sets the tolerance, so it is given."""

    def placed(mask: np.ndarray, y: int, x: int) -> np.ndarray:
        image = np.zeros((40, 40), bool)
        image[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        return image

    here, there = (
        (jaccard(*moved), boundary_f(*moved, 2.0))
        for moved in ([placed(mask, 1, 1) for mask in pair], [placed(mask, 1 + down, 1 + right) for mask in pair])
    )
    assert here == there


@given(masks)
def test_window_holds_all_contours(pair: tuple[np.ndarray, np.ndarray]) -> None:
    for whole, view in zip(pair, window(*pair), strict=True):
        assert contour(whole).sum() == contour(view).sum()
        assert whole.sum() == view.sum()


def test_a_mask_that_fills_the_image_has_no_contour() -> None:
    full, empty = np.ones((30, 40), bool), np.zeros((30, 40), bool)
    assert j_and_f(full, empty) == (0.0, 1.0)  # as the official tool has it


@pytest.mark.parametrize(
    ("shape", "radius"), [((480, 854), 8), ((96, 128), 2), ((300, 400), 4), ((75, 100), 1), ((1080, 1920), 18)]
)
def test_tolerance_of_image_sizes(shape: tuple[int, int], radius: int) -> None:
    assert davis_disk(shape) == disk(radius)
    assert sum(row.last - row.first + 1 for row in disk(radius)) == sum(
        x * x + y * y <= radius * radius for x in range(-radius, radius + 1) for y in range(-radius, radius + 1)
    )


@given(arrays(np.bool_, (9, 11)), st.sampled_from([0.51, 0.72, 1.0, 1.28, 2.4, 3.9]))
def test_off_centre_disks_dilate_as_opencv(mask: np.ndarray, radius: float) -> None:
    """A pixel is near where the kernel, its anchor laid on it, meets the contour."""
    grid = np.arange(-radius, radius + 1)
    kernel = grid[:, None] ** 2 + grid**2 <= radius**2
    anchor = len(grid) // 2
    line = contour(mask)
    room = np.pad(line, len(grid))
    expected = np.zeros_like(line)
    for y, x in np.argwhere(kernel) - anchor + len(grid):
        expected |= room[y : y + line.shape[0], x : x + line.shape[1]]
    (outline,) = outlines(mask, [off_centre_disk(radius)])
    stride = mask.shape[1] + max((max(-row.first, row.last) for row in off_centre_disk(radius)), default=0)
    everywhere = bits(np.ones_like(mask), stride)
    assert outline.near & everywhere == bits(expected, stride)
