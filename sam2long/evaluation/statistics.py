"""Mean, recall and decay of a measure over the frames of a video, as DAVIS defines them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def mean(values: ArrayLike) -> float:
    """The plain mean, NaN of nothing."""
    found = np.asarray(values, float)
    return float(found.mean()) if found.size else float("nan")


def recall(values: ArrayLike) -> float:
    """The share of frames on which the measure is above 0.5 (strictly)."""
    return mean(np.asarray(values, float) > 0.5)


def decay(values: ArrayLike, *, sane: bool = False) -> float:
    """Mean over the first quarter of the frames less that over the last quarter: `db_statistics` of DAVIS.

    The edges are `round(linspace(1, n, 5) + 1e-10) - 1`, and both belong to their quarter, so neighbours share a frame.
    The official tool keeps the edges in 8 bits: from 257 frames on they wrap around, and the decay is that of other
    frames, or NaN where nothing lies between them. At exactly 256 frames it is NaN under numpy 2 and right under
    numpy 1; here it is right.

    Args:
        values: one a frame, in order.
        sane: do not wrap around, so that the decay of long videos is what it says.
    """
    found = np.asarray(values, float)
    edges = (np.round(np.linspace(1, len(found), 5) + 1e-10) - 1).astype(int)
    if not sane:
        edges %= 256
    return mean(found[edges[0] : edges[1] + 1]) - mean(found[edges[3] : edges[4] + 1])
