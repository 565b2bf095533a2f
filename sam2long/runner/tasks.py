"""What a worker is handed: a video, what is shown in it, and how its results are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.datasets import VideoItem, shown_masks
from sam2long.datasets.annotations import object_ids, palette_of, shown_files
from sam2long.frames import FrameSource, open_frames
from sam2long.runner.contents import digest, of_images
from sam2long.runner.tracking import Prompt, label_map, without_overlap
from sam2long.views.visualize import davis_palette

WriteFrame = Callable[[int, Tensor], None]


class Task(Protocol):
    """One video to track. Tasks travel to other processes.

    Attributes:
        name: unique in the job's output; its results are the folder or the files of that name.
        num_frames: how long it is, as far as that is known beforehand.
        output: the folder in which `results` appear.
        results: what appears there, relative to it; the first one appears last and says that the video is finished.
        tree: the settings it is tracked with.
    """

    @property
    def name(self) -> str: ...
    @property
    def num_frames(self) -> int: ...
    @property
    def output(self) -> Path: ...
    @property
    def results(self) -> Sequence[str]: ...
    @property
    def tree(self) -> MemoryTreeConfig: ...

    def open(self) -> FrameSource:
        """The video; raises ValueError or OSError where it cannot be read."""

    def made_of(self) -> str:
        """A digest of what the results come from beside the settings: what is shown, and of which video.

        It does not depend on where the files lie. It is taken when a finished video is met again, so it reads what
        is shown, and of the video no more than tells it from another.
        """

    def prompts(self, source: FrameSource) -> list[Prompt]:
        """What is shown; nothing has been computed yet. Raises ValueError or OSError where that cannot be read."""

    def writer(self, folder: Path, source: FrameSource, prompts: Sequence[Prompt]) -> WriteFrame:
        """Writes answers (frame, logits [N, 1, H, W]) below a folder, as `results`."""


@dataclass(frozen=True)
class VosTask:
    """A video of a dataset, its masks written in the dataset's layout, as SAM 2's script for datasets does.

    Attributes:
        item: the video.
        threshold: what a logit must exceed.
    """

    item: VideoItem
    output: Path
    tree: MemoryTreeConfig
    threshold: float = 0.0

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def num_frames(self) -> int:
        return len(self.item.images)

    @property
    def results(self) -> Sequence[str]:
        return (self.item.name,)

    def open(self) -> FrameSource:
        if self.item.trouble:
            raise ValueError(self.item.trouble)
        return open_frames(self.item.images, upright=False)  # masks lie on images as they are stored

    def made_of(self) -> str:
        masks = ((str(path.relative_to(self.item.masks)), path.read_bytes()) for path in shown_files(self.item))
        return digest([*of_images(self.item.images), *masks])

    def prompts(self, source: FrameSource) -> list[Prompt]:
        shown = shown_masks(self.item, source.height, source.width)
        return [Prompt(of.frame_idx, of.obj_id, mask=of.mask) for of in shown]

    def writer(self, folder: Path, source: FrameSource, prompts: Sequence[Prompt]) -> WriteFrame:
        palette = palette_of(self.item) or davis_palette().tobytes()
        obj_ids = sorted({prompt.obj_id for prompt in prompts})
        # SAM 2's script leaves out the frames before the first prompt, but not where objects appear later.
        first = 0 if self.item.layout.later else min(prompt.frame_idx for prompt in prompts)
        home = folder / self.name
        folders = self._object_folders(home, obj_ids) if self.item.layout.per_object else []
        for path in folders or [home]:
            path.mkdir(parents=True)

        def write(frame_idx: int, logits: Tensor) -> None:
            if frame_idx < first:
                return
            file = f"{self.item.images[frame_idx].stem}.png"
            if folders:
                masks = (logits[:, 0] > self.threshold).cpu().numpy().astype(np.uint8)
                for path, mask in zip(folders, masks, strict=True):
                    write_png(path / file, mask, palette)
            else:
                write_png(home / file, label_map(without_overlap(logits), obj_ids, self.threshold), palette)

        return write

    def _object_folders(self, home: Path, obj_ids: Sequence[int]) -> list[Path]:
        names = {obj_id: folder for folder, obj_id in object_ids(self.item.object_folders).items()}
        return [home / names[obj_id] for obj_id in obj_ids]


def write_png(path: Path, labels: NDArray[np.integer[Any]], palette: bytes) -> None:
    """A palette PNG of labels [H, W]; where one is above 255, a 16-bit grey one."""
    fits = labels.max() <= 255
    image = Image.fromarray(labels.astype(np.uint8 if fits else np.uint16, copy=False))
    if fits:
        image.putpalette(palette)
    image.save(path, format="PNG")
