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


def weighted_interval(sums: Array, weights: Array, seed: int = 0) -> tuple[float, float, float]:
    """The same of a mean over the objects of videos, where whole videos are drawn.

    Args:
        sums, weights: (videos, groups): the values of a video's objects, weighted and added, and their weights. The
            mean is that of the groups' means, as LVOS wants it of seen and unseen; draws that miss a group do not
            count.
        seed: of the draws; the same seed draws the same videos.
    """
    value = float((sums.sum(0) / weights.sum(0)).mean())
    if len(sums) < _FEWEST:
        return value, float("nan"), float("nan")
    times = np.stack([np.bincount(picks, minlength=len(sums)) for picks in _picks(len(sums), seed)])
    drawn = times @ weights
    drawn[drawn == 0] = np.nan
    low, high = np.nanpercentile(((times @ sums) / drawn).mean(1), [2.5, 97.5])
    return value, float(low), float(high)


def _picks(number: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, number, (_RESAMPLES, number))
