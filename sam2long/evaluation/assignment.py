"""Proposals without identity: every proposal is measured against every object, and the best assignment counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam2long.evaluation.contours import Mask, bits, match, outlines
from sam2long.evaluation.masks import Labels, labels_on
from sam2long.evaluation.measures import davis_disk

Array = NDArray[np.float64]


def label_pairs(found: Labels, truth: Sequence[Mask], num_proposals: int) -> tuple[Array, Array]:
    """J and F of the proposals 1 to `num_proposals` of a label map with every object: two (proposals, objects) arrays.

    A proposal that the map does not show is an empty mask.
    """
    shown = sorted(label for label in labels_on(found) if label <= num_proposals)
    masks = [np.zeros(found.shape, bool), *(found == label for label in shown)]
    rows = np.zeros(num_proposals, int)  # those not shown share the empty mask
    rows[np.array(shown, int) - 1] = np.arange(1, len(masks))
    j, f = pairwise(masks, truth)
    return j[rows], f[rows]


def pairwise(found: Sequence[Mask], truth: Sequence[Mask]) -> tuple[Array, Array]:
    """J and F of every pair of (H, W) masks: two (len(found), len(truth)) arrays."""
    kernels = [davis_disk(truth[0].shape)] if truth else []
    lines = [[outlines(mask, kernels)[0] for mask in masks] for masks in (found, truth)]
    areas = [[bits(mask, mask.shape[1]) for mask in masks] for masks in (found, truth)]
    j = np.ones((len(found), len(truth)))
    f = np.ones_like(j)
    for i, k in np.ndindex(*j.shape):
        one, other = areas[0][i], areas[1][k]
        union = (one | other).bit_count()
        j[i, k] = (one & other).bit_count() / union if union else 1.0
        f[i, k] = match(lines[0][i], lines[1][k])
    return j, f


def assign(j: Array, f: Array) -> tuple[list[int], list[int]]:
    """The proposals and the objects that go together, in the order of the proposals.

    Args:
        j, f: (proposals, objects), means over the frames; the sum of (J + F) / 2 is the highest there is.

    Raises:
        ImportError: scipy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ImportError("assigning proposals needs scipy: pip install scipy (extra sam2long[eval])") from error
    proposals, objects = linear_sum_assignment(-(j + f) / 2)
    return proposals.tolist(), objects.tolist()
