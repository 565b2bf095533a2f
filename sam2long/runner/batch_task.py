"""A video of the user's own: any prompts, masks as `sam2long track` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.frames import FrameSource, open_frames
from sam2long.runner.contents import digest, of_video
from sam2long.runner.tasks import WriteFrame, write_png
from sam2long.runner.tracking import Prompt, label_map, without_overlap
from sam2long.views.visualize import davis_palette

_JOB = "job.json"


@dataclass(frozen=True)
class BatchTask:
    """One video, tracked forward from each object's first prompt.

    Attributes:
        name: of its folder of results, `<name>/masks/*.png`.
        video: whatever `open_frames` takes as text.
        num_frames: how long it is.
        shown: the prompts, each object with at least one.
        upright: whether images are turned as their EXIF tag says.
    """

    name: str
    video: str
    num_frames: int
    shown: tuple[Prompt, ...]
    output: Path
    tree: MemoryTreeConfig
    upright: bool = True

    @property
    def results(self) -> Sequence[str]:
        return (self.name,)

    def described(self) -> dict[str, Any]:
        """What is tracked, as `<name>/job.json` says it; of masks their digests."""
        shown = [
            {
                "frame": of.frame_idx,
                "obj_id": of.obj_id,
                "points": [list(point) for point in of.points],
                "labels": list(of.labels),
                "box": None if of.box is None else list(of.box),
                "mask": None if of.mask is None else sha256(np.packbits(of.mask).tobytes()).hexdigest(),
            }
            for of in self.shown
        ]
        return {"video": self.video, "prompts": shown}

    def made_of(self) -> str:
        prompts = json.dumps(self.described()["prompts"], sort_keys=True).encode()
        return digest([*of_video(self.video), ("prompts", prompts)])

    def open(self) -> FrameSource:
        return open_frames(self.video, upright=self.upright)

    def prompts(self, source: FrameSource) -> list[Prompt]:
        return list(self.shown)

    def writer(self, folder: Path, source: FrameSource, prompts: Sequence[Prompt]) -> WriteFrame:
        masks = folder / self.name / "masks"
        masks.mkdir(parents=True)
        (folder / self.name / _JOB).write_text(json.dumps(self.described(), indent=1) + "\n", encoding="utf-8")
        palette = davis_palette().tobytes()
        obj_ids = sorted({prompt.obj_id for prompt in prompts})
        first = min(prompt.frame_idx for prompt in prompts)

        def write(frame_idx: int, logits: Tensor) -> None:
            if frame_idx >= first:
                labels = label_map(without_overlap(logits), obj_ids, 0.0)
                write_png(masks / f"{source.name(frame_idx)}.png", labels, palette)

        return write
