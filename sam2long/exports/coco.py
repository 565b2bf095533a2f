"""Masks as COCO's run lengths, by pycocotools itself: `coco.json`, and the text formats of the MOT challenges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sam2long.exports.frame_masks import Extent, FrameMasks, ObjId
from sam2long.exports.video_info import Scores, VideoInfo, write_json
from sam2long.exports.writing import Export
from sam2long.files import replacing
from sam2long.views.visualize import BoolArray


def import_mask_tools() -> ModuleType:
    """`pycocotools.mask`.

    Raises:
        ImportError: it is missing.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError(
            "COCO's run lengths need pycocotools: pip install pycocotools (extra sam2long[export])"
        ) from error
    return mask  # type: ignore[no-any-return,unused-ignore]


class RunLengths:
    """Masks as pycocotools encodes them, by frame and object."""

    def __init__(self) -> None:
        self.tools = import_mask_tools()
        self._frames: dict[int, dict[ObjId, str]] = {}
        self._size = (0, 0)

    def add(self, frame_idx: int, obj_ids: tuple[ObjId, ...], masks: BoolArray) -> None:
        self._size = (int(masks.shape[1]), int(masks.shape[2]))
        self._frames[frame_idx] = {
            obj_id: self.tools.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")
            for obj_id, mask in zip(obj_ids, masks, strict=True)
            if mask.any()
        }

    def frames(self) -> list[int]:
        return sorted(self._frames)

    def __iter__(self) -> Iterator[tuple[int, ObjId, dict[str, Any]]]:
        """(frame, object, its run lengths in COCO's words) for every mask that is not empty, in the order of time."""
        for frame_idx in self.frames():
            for obj_id, counts in self._frames[frame_idx].items():
                yield frame_idx, obj_id, {"size": list(self._size), "counts": counts}


class Coco(Export):
    """`coco.json`: `images` (id is the frame index), `annotations` with RLE, `categories`.

    Objects of one name share a category; without names all are "object". Each has its `track_id`, and a `score`: the
    predicted IoU, 1 where there is none (prompted frames).
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path, info)
        self._masks = RunLengths()

    def add(self, frame: FrameMasks) -> None:
        self.numbers.of(frame.obj_ids)
        self._masks.add(frame.frame_idx, frame.obj_ids, frame.masks)

    def finish(self) -> None:
        height, width = self.size
        images = [
            {
                "id": t,
                "file_name": self.info.frame_name(t) + self.info.suffix,
                "height": height,
                "width": width,
                "frame_index": t,
                "video": self.info.name,
            }
            for t in self._masks.frames()
        ]
        categories: dict[str, int] = {}
        annotations = list(self._annotations(categories))
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        }
        write_json(self.path, content, indent=None)

    def _annotations(self, categories: dict[str, int]) -> Iterator[dict[str, Any]]:
        """The annotations; `categories` is filled on the way."""
        scores = Scores(self.info)
        number = count(1)  # pycocotools takes an annotation of id 0 for no match
        for name in self.info.objects.values():
            categories.setdefault(name, len(categories) + 1)
        for frame_idx, obj_id, rle in self._masks:
            name = self.info.objects.get(obj_id, "object")
            yield {
                "id": next(number),
                "image_id": frame_idx,
                "category_id": categories.setdefault(name, len(categories) + 1),
                "track_id": self.numbers.of([obj_id])[0],
                "obj_id": obj_id,
                "segmentation": rle,
                "area": int(self._masks.tools.area(rle)),
                "bbox": self._masks.tools.toBbox(rle).tolist(),
                "iscrowd": 0,
                "score": scores.confidence(obj_id, frame_idx),
            }


class Mot(Export):
    """MOTChallenge's text: `frame, id, left, top, width, height, confidence, -1, -1, -1`, counted from 1.

    One line for each object and frame that shows it. Where a number is not the object's id, `NAME.objects.json` beside
    the file says which it is.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path, info)
        self._boxes: dict[int, dict[ObjId, Extent]] = {}

    def add(self, frame: FrameMasks) -> None:
        self.numbers.of(frame.obj_ids)
        extents = {k: Extent.of(mask) for k, mask in zip(frame.obj_ids, frame.masks, strict=True)}
        self._boxes[frame.frame_idx] = {k: extent for k, extent in extents.items() if extent is not None}

    def finish(self) -> None:
        _ = self.size
        scores = Scores(self.info)
        lines = []
        for t in sorted(self._boxes):
            for obj_id, box in self._boxes[t].items():
                where = f"{box.x0 + 1},{box.y0 + 1},{box.x1 - box.x0},{box.y1 - box.y0}"
                confidence = scores.confidence(obj_id, t)
                lines.append(f"{t + 1},{self.numbers.of([obj_id])[0]},{where},{confidence:.6g},-1,-1,-1\n")
        _write_text(self, lines)


class Mots(Export):
    """MOTSChallenge's text: `frame id class height width rle`, frames from 1; overlaps as in `FrameMasks.apart`.

    Args:
        class_id: of all objects; 2 is the benchmark's pedestrian.
    """

    def __init__(self, path: Path, info: VideoInfo, class_id: int = 2) -> None:
        super().__init__(path, info)
        self._masks = RunLengths()
        self._class_id = class_id

    def add(self, frame: FrameMasks) -> None:
        self.numbers.of(frame.obj_ids)
        self._masks.add(frame.frame_idx, frame.obj_ids, frame.apart())

    def finish(self) -> None:
        height, width = self.size
        lines = [
            f"{t + 1} {self.numbers.of([obj_id])[0]} {self._class_id} {height} {width} {rle['counts']}\n"
            for t, obj_id, rle in self._masks
        ]
        _write_text(self, lines)


def _write_text(export: Export, lines: list[str]) -> None:
    if export.numbers.changed:
        export.numbers.write(export.path.with_name(f"{export.path.stem}.objects.json"))
    with replacing(export.path) as part:
        part.write_text("".join(lines), encoding="ascii")
