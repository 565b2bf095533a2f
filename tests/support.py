"""What tests of several rooms share: the golden model (real SAM 2.1 modules at 128 px), clips and comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from sam2long import SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.frames import FrameError, FrameSource
from sam2long.model.captures import Captures
from sam2long.model.graphs import RerunGraph

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]


def build_golden(**kwargs: Any) -> SAM2LongVideoPredictor:
    kwargs = {"ckpt_path": GOLDEN / "model.pt", "device": "cpu", "apply_postprocessing": False, **kwargs}
    return build_sam2long_video_predictor(GOLDEN / "model.yaml", **kwargs)


def build_sam2_golden(**options: Any) -> SAM2VideoPredictor:
    """sam2's own predictor with the golden weights."""
    target = "++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor"
    overrides = [target, *(f"++model.{name}={value}" for name, value in options.items())]
    theirs = build_golden(hydra_overrides_extra=overrides)
    assert type(theirs) is SAM2VideoPredictor
    return theirs


class PoisonedCaptures(Captures):
    """Results turn to NaN as soon as any stage runs, for recordings share memory: a view that outlives it shows."""

    def run(self, stage: str, key: Any, modules: Any, function: Any, inputs: Any) -> Any:
        for recording in self._recordings.values():
            for output in recording.outputs:
                output.fill_(float("nan") if output.is_floating_point() else 77)
        return super().run(stage, key, modules, function, inputs)


def captured_golden(**kwargs: Any) -> SAM2LongVideoPredictor:
    """A predictor that tracks from recordings, with a stand-in for CUDA graphs."""
    predictor = build_golden(**kwargs)
    predictor.use_captures(PoisonedCaptures(RerunGraph, torch.device("cpu"), uses_before_capture=0))
    return predictor


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


class Damaged(FrameSource):
    """A clip of which one frame cannot be read until it is mended."""

    def __init__(self, frames: np.ndarray, broken: int) -> None:
        self._frames, self.broken = frames, broken
        self.height, self.width = frames.shape[1:3]

    def __len__(self) -> int:
        return len(self._frames)

    def _read(self, frame_idx: int) -> np.ndarray:
        if frame_idx == self.broken:
            raise FrameError("clip", frame_idx, "damaged")
        return self._frames[frame_idx].copy()


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    """Equal to the bit and of the same types, through lists, tuples and dicts of the same keys in the same order.

    Compacted frames are unpacked on the way.
    """
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype, where
        assert torch.equal(ours, theirs), where
    elif isinstance(theirs, dict):
        assert [(type(key), key) for key in ours] == [(type(key), key) for key in theirs], where
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, list | tuple):
        assert type(ours) is type(theirs), where
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    else:
        assert type(ours) is type(theirs), where
        assert ours == theirs, where
