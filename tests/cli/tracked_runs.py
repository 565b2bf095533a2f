"""A clip for `sam2long track`, and what a run of it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH, NUM_FRAMES = 97, 129, 7  # odd: mp4 needs even sizes


def clip(num_frames: int = NUM_FRAMES) -> np.ndarray:
    """A red and a blue disk that cross on noise, uint8 [T, H, W, 3]."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames = []
    for t in range(num_frames):
        frame = ground.copy()
        frame[(x - 40 - 6 * t) ** 2 + (y - 45) ** 2 < 300] = (220, 40, 30)
        frame[(x - 90 + 6 * t) ** 2 + (y - 55) ** 2 < 300] = (30, 40, 220)
        frames.append(frame)
    return np.stack(frames)


def read_masks(out: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.array(Image.open(path)) for path in sorted((out / "masks").iterdir())}


def read_strictly(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)
