"""Small pictures of noise, one per number."""

from __future__ import annotations

import numpy as np

H, W = 24, 32


def picture(number: int, height: int = H, width: int = W) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
