"""What tests of the studio share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sam2long import MemoryTreeConfig
from sam2long.studio import Studio
from sam2long.studio.steps import Click
from sam2long.studio.tracking import Progress

# Every frame is in doubt, and the trees branch at once.
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)
RED, BLUE = Click(26, 43), Click(102, 53)  # on the disks of the clip's first frame


def masks(studio: Studio) -> dict[int, dict[int, np.ndarray]]:
    """By frame and object, as they would be exported."""
    with studio._looking() as desk:
        return {t: desk.masks(t) for t in range(desk.num_frames)}


def same(one: dict[int, dict[int, np.ndarray]], other: dict[int, dict[int, np.ndarray]]) -> bool:
    return one.keys() == other.keys() and all(
        one[t].keys() == other[t].keys() and all(np.array_equal(one[t][k], other[t][k]) for k in one[t]) for t in one
    )


def finished(studio: Studio) -> Progress:
    progress = studio.wait(120)
    assert progress is not None
    assert progress.outcome == "finished", progress
    return progress


@contextmanager
def held_behind(studio: Studio, num_frames: int) -> Iterator[None]:
    """Slow a pass down behind its first frames, or on a busy machine it has ended before a test stops it."""
    free, encoded = threading.Event(), 0

    def hold(module: object, inputs: object) -> None:
        nonlocal encoded
        encoded += 1
        if encoded > num_frames:
            free.wait(1)

    with studio._looking() as desk:
        hook = desk.predictor.image_encoder.register_forward_pre_hook(hold)
    try:
        yield
    finally:
        free.set()
        hook.remove()
