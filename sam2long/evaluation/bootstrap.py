"""Bootstrap intervals: how far a mean over clips or videos would be another with other ones of the same kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_RESAMPLES = 10_000
_FEWEST = 5  # clips that an interval is given for


def interval(values: Array, seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over clips, NaNs left out: (mean, low, high); of a few clips the mean alone."""
    values = values[~np.isnan(values)]
    if not len(values):
        return (float("nan"),) * 3
    if len(values) < _FEWEST:
        return float(values.mean()), float("nan"), float("nan")
    low, high = np.percentile(values[_picks(len(values), seed)].mean(1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def drawn_means(sums: Array, weights: Array, seed: int = 0) -> Array:
    """The mean over the objects of videos, and that of each of many draws of as many videos.

    Equal seeds draw equal videos, so draws of two predictions are paired: their differences have `bounds` of their own.

    Args:
        sums, weights: (videos, groups): the values of a video's objects, weighted and added, and their weights. The
            mean is that of the groups' means, as LVOS wants it of seen and unseen; draws that miss a group are NaN.

    Returns:
        (1 + draws,), the mean itself first; there are no draws of fewer than five videos.
    """
    number = len(sums)
    times = [np.bincount(picks, minlength=number) for picks in _picks(number, seed)] if number >= _FEWEST else []
    counts = np.stack([np.ones(number), *times])
    drawn = counts @ weights
    drawn[drawn == 0] = np.nan
    means: Array = ((counts @ sums) / drawn).mean(1)
    return means


def bounds(drawn: Array) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval of what `drawn_means` returned: (mean, low, high)."""
    low, high = np.nanpercentile(drawn[1:], [2.5, 97.5]) if len(drawn) > 1 else (float("nan"),) * 2
    return float(drawn[0]), float(low), float(high)


def _picks(number: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, number, (_RESAMPLES, number))
