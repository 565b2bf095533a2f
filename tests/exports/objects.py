"""Two objects that overlap, leave and come back, in a video of odd size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sam2long.search.scores import FrameScores

HEIGHT, WIDTH, NUM_FRAMES = 45, 67, 6
Tracked = tuple[int, list[int | str], np.ndarray]


def frames() -> np.ndarray:
    """uint8 [T, H, W, 3]: smooth, each frame of its own brightness."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([np.dstack([60 + x * 2, 40 + y * 3, np.full_like(x, 30 + 30 * t)]) for t in range(6)]).astype("u1")


def masks(t: int) -> np.ndarray:
    """bool [2, H, W]: a disk that is hidden on frames 2 and 3, and a box, partly on top of it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disk = (x - 20 - 4 * t) ** 2 + (y - 21) ** 2 < 140
    box = (x >= 25) & (x < 60) & (y >= 15 + t) & (y < 30)
    return np.stack([disk & (t not in (2, 3)), box])


def tracked(*obj_ids: int | str) -> Iterator[Tracked]:
    """The second object is not among the first frame's."""
    ids = list(obj_ids or (1, 2))
    for t in range(NUM_FRAMES):
        n = 1 if t == 0 else 2
        yield t, ids[:n], masks(t)[:n]


def scores(obj_id: int | str) -> dict[int, FrameScores]:
    """None for the prompted frame."""
    assert obj_id is not None
    return {t: FrameScores(0.5 + t / 20, 3.0 - t, -0.1 * t, float("inf"), 1) for t in range(1, NUM_FRAMES)}
