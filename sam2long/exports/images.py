"""Masks as PNG files: DAVIS's indexed ones, a folder for each object, YouTube-VOS's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2long.exports.frame_masks import FrameMasks, ObjId
from sam2long.exports.video_info import OBJECTS, VideoInfo, write_json
from sam2long.exports.writing import Export
from sam2long.files import replacing
from sam2long.views.visualize import Color, davis_palette

_LARGEST = {"8 bits": 255, "16 bits": 65535}


class DavisImages(Export):
    """`NAME.png` for each frame: numbers of objects as an indexed PNG in DAVIS's colours.

    A frame that shows a number above 255 is a 16-bit grey PNG instead. Overlaps: `FrameMasks.apart`.
    """

    is_folder = True

    def add(self, frame: FrameMasks) -> None:
        self._write(self.path, frame)

    def finish(self) -> None:
        _ = self.size
        self.numbers.write(self.path / OBJECTS)

    def _write(self, folder: Path, frame: FrameMasks) -> None:
        numbers = self.numbers.of(frame.obj_ids)
        if max(numbers, default=0) > _LARGEST["16 bits"]:
            raise ValueError(f"object {max(numbers)}: 16-bit PNGs end at 65535; export it per object")
        colors = dict(zip(self.numbers.of(self.info.colors), self.info.colors.values(), strict=True))
        write_labels(folder / f"{self.info.frame_name(frame.frame_idx)}.png", frame.label_map(numbers), colors)


class YouTubeVos(DavisImages):
    """`Annotations/VIDEO/NAME.png` as DAVIS's, and `meta.json`: each object's category and the frames that show it."""

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path, info)
        self._folder = self.path / "Annotations" / info.name
        self._seen: dict[ObjId, set[int]] = {}
        self._tracked: set[int] = set()

    def add(self, frame: FrameMasks) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write(self._folder, frame)
        self._tracked.add(frame.frame_idx)
        for obj_id, mask in zip(frame.obj_ids, frame.apart(), strict=True):
            seen = self._seen.setdefault(obj_id, set())
            seen.discard(frame.frame_idx)
            if mask.any():
                seen.add(frame.frame_idx)

    def finish(self) -> None:
        super().finish()
        objects = {
            str(self.numbers.of([obj_id])[0]): {
                "category": self.info.objects.get(obj_id, "object"),
                "frames": [self.info.frame_name(t) for t in sorted(seen)],
            }
            for obj_id, seen in self._seen.items()
        }
        write_json(self.path / "meta.json", {"videos": {self.info.name: {"objects": objects}}})


class PerObject(Export):
    """`NUMBER/NAME.png` for each object and frame, 0 and 255, numbers of three digits or more (SA-V's layout).

    Overlaps are kept, and any number of objects fits.
    """

    is_folder = True

    def add(self, frame: FrameMasks) -> None:
        name = self.info.frame_name(frame.frame_idx)
        for number, mask in zip(self.numbers.of(frame.obj_ids), frame.masks, strict=True):
            folder = self.path / f"{number:03d}"
            folder.mkdir(exist_ok=True)
            save_png(folder / f"{name}.png", Image.fromarray(mask.astype(np.uint8) * 255))

    def finish(self) -> None:
        _ = self.size
        self.numbers.write(self.path / OBJECTS)


def write_labels(path: Path, labels: npt.NDArray[np.integer[Any]], colors: dict[int, Color]) -> None:
    """Write numbers [H, W]: an indexed PNG, or where one is above 255 a 16-bit grey PNG.

    Args:
        colors: number -> RGB, where it shall not be the DAVIS colour.
    """
    if labels.max() > _LARGEST["8 bits"]:
        save_png(path, Image.fromarray(labels))
        return
    palette = davis_palette()
    for number, color in colors.items():
        if number <= _LARGEST["8 bits"]:
            palette[number] = color
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(palette.tobytes())
    save_png(path, image)


def save_png(path: Path, image: Image.Image) -> None:
    with replacing(path) as part:
        image.save(part, format="PNG")
