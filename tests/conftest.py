"""Shared fixtures: the golden model (real SAM 2.1 modules at 128 px) and short clips made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sam2.sam2_video_predictor import SAM2VideoPredictor

from sam2long import SAM2LongVideoPredictor, build_sam2long_video_predictor

GOLDEN = Path(__file__).parent / "golden"
# sam2 and sam2long draw a progress bar per pass; in test output it is noise.
os.environ.setdefault("TQDM_DISABLE", "1")
torch.set_num_threads(min(2, torch.get_num_threads()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


def build_golden(**kwargs: Any) -> SAM2LongVideoPredictor:
    kwargs = {"ckpt_path": GOLDEN / "model.pt", "device": "cpu", "apply_postprocessing": False, **kwargs}
    return build_sam2long_video_predictor(GOLDEN / "model.yaml", **kwargs)


@pytest.fixture(scope="session")
def predictor() -> SAM2LongVideoPredictor:
    """Our predictor with the golden model and the paper's settings."""
    return build_golden()


@pytest.fixture(scope="session")
def sam2_predictor(predictor: SAM2LongVideoPredictor) -> SAM2VideoPredictor:
    """sam2's own predictor with the same weights."""
    theirs = build_golden(hydra_overrides_extra=["++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor"])
    assert type(theirs) is SAM2VideoPredictor
    return theirs


def moving_disks(num_frames: int, size: tuple[int, int] = (96, 128), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A textured clip [T, H, W, 3] uint8 with two disks that cross, and their full masks [2, T, H, W]."""
    rng = np.random.default_rng(seed)
    height, width = size
    ys, xs = np.mgrid[:height, :width]
    background = rng.integers(40, 120, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
    frames, masks = [], []
    for t in range(num_frames):
        frame = background[:height, :width].astype(np.uint8).copy()
        discs = []
        for k, colour in enumerate([(230, 60, 40), (40, 80, 230)]):
            x = width * (0.2 + 0.6 * t / max(num_frames - 1, 1)) if k == 0 else width * (0.8 - 0.6 * t / num_frames)
            discs.append((xs - x) ** 2 + (ys - height * (0.45 + 0.1 * k)) ** 2 < (height / 6) ** 2)
            frame[discs[-1]] = colour
        frames.append(frame)
        masks.append(discs)
    return np.stack(frames), np.stack(masks).transpose(1, 0, 2, 3)


@pytest.fixture(scope="session")
def clip() -> tuple[np.ndarray, np.ndarray]:
    return moving_disks(14)


@pytest.fixture(scope="session")
def clip_folder(clip: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The clip as a JPEG folder, the one input sam2 and sam2long share."""
    folder = tmp_path_factory.mktemp("clip")
    for t, frame in enumerate(clip[0]):
        Image.fromarray(frame).save(folder / f"{t:05d}.jpg", quality=95)
    return str(folder)


Prompt = Callable[[SAM2VideoPredictor, dict[str, Any]], None]


def prompts(clip: tuple[np.ndarray, np.ndarray]) -> dict[str, Prompt]:
    """Ways to prompt one or two objects of the clip on frame 0."""
    masks = clip[1]

    def centre(k: int) -> list[float]:
        ys, xs = np.nonzero(masks[k, 0])
        return [float(xs.mean()), float(ys.mean())]

    def box(k: int) -> list[float]:
        ys, xs = np.nonzero(masks[k, 0])
        return [float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())]

    def two(p: SAM2VideoPredictor, state: dict[str, Any]) -> None:
        p.add_new_mask(state, 0, 7, masks[0, 0])
        p.add_new_points_or_box(state, 0, 3, points=[centre(1)], labels=[1])

    return {
        "mask": lambda p, state: p.add_new_mask(state, 0, 1, masks[0, 0]),
        "point": lambda p, state: p.add_new_points_or_box(state, 0, 1, points=[centre(0)], labels=[1]),
        "box": lambda p, state: p.add_new_points_or_box(state, 0, 1, box=box(0)),
        "two objects": two,
    }
