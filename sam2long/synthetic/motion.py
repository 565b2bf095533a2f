"""Paths and time courses of synthetic scenes: small pure functions of a random generator."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def wander(rng: np.random.Generator, num_frames: int, speed: float, reach: float = 0.6) -> Array:
    """A smooth path (T, 2) that stays within about [-reach, reach] and moves about `speed` a frame."""
    time = np.arange(num_frames)
    path = np.zeros((num_frames, 2))
    for axis in range(2):
        share = rng.uniform(0.55, 0.9)
        for amplitude in (reach * share, reach * (1 - share)):
            frequency = speed * rng.uniform(0.5, 1.2) / max(amplitude, 1e-3)
            path[:, axis] += amplitude * np.sin(frequency * time + rng.uniform(0, 2 * np.pi))
    return path


def through(num_frames: int, times: list[float], values: Array) -> Array:
    """Values (K, D) at ascending `times` joined by half-cosines, constant outside: (T, D)."""
    time = np.arange(num_frames, dtype=np.float64)
    right = np.clip(np.searchsorted(times, time, side="right"), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return np.repeat(values, num_frames, axis=0)
    knots = np.asarray(times)
    left = right - 1
    share = np.clip((time - knots[left]) / np.maximum(knots[right] - knots[left], 1e-9), 0, 1)
    share = (0.5 - 0.5 * np.cos(np.pi * share))[:, None]
    return np.asarray(values[left] * (1 - share) + values[right] * share)


def bump(num_frames: int, first: float, last: float, ramp: float) -> Array:
    """0 before, 1 between `first` and `last`, smooth ramps of `ramp` frames outside them: (T,)."""
    time = np.arange(num_frames, dtype=np.float64)
    distance = np.maximum(np.maximum(first - time, time - last), 0) / max(ramp, 1e-9)
    return 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1))


def drift(rng: np.random.Generator, num_frames: int, amount: float, period: float = 25.0) -> Array:
    """A slow random course (T,) around 0 with extremes near +-amount, a turning point every `period` frames."""
    count = max(2, int(num_frames / period) + 2)
    times = list(np.linspace(0, max(num_frames - 1, 1), count))
    values = rng.uniform(-amount, amount, (count, 1))
    return through(num_frames, times, values)[:, 0]


def slots(rng: np.random.Generator, num_frames: int, count: int, lead: int) -> list[int]:
    """`count` event times spread over frames `lead`..num_frames-1, one in each equal part, ascending."""
    edges = np.linspace(lead, num_frames - 1, count + 1)
    return [int(rng.uniform(a + 0.15 * (b - a), a + 0.85 * (b - a))) for a, b in itertools.pairwise(edges)]
