"""What was tracked, written in the formats of other tools and packed into one file to take away."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from sam2long.exports import FORMATS, Export, FrameMasks, VideoInfo, open_export
from sam2long.files import replacing
from sam2long.studio.desk import Desk
from sam2long.studio.objects import hex_of

Turn = Callable[[], AbstractContextManager[Any]]
Told = Callable[[float], None]


def export_zip(
    desk: Desk,
    formats: Sequence[str],
    folder: Path,
    name: str,
    turn: Turn,
    told: Told,
) -> Path:
    """Write every frame that is known, in one pass, to `NAME-sam2long.zip`, which appears when it is whole.

    Args:
        desk: whose masks.
        formats: names in `FORMATS`.
        folder: for the zip; made where it is missing.
        name: of the video.
        turn: taken for every frame, so that the page goes on.
        told: how much is done, 0 to 1.

    Raises:
        ValueError: if nothing is chosen or known, or a format needs what is not there. ImportError: naming the extra.
    """
    chosen = [name for name in FORMATS if name in set(formats)]
    if not chosen:
        raise ValueError("Choose at least one format.")
    with turn():
        frames = sorted(set().union(*(desk.frames_known(k) for k in desk.objects)))
        info = _info(desk, re.sub(r"[^\w.-]+", "_", name).strip("._") or "video")
    if not frames:
        raise ValueError("There is nothing to export yet: show an object and track it.")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{info.name}-sam2long.zip"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as part:
        exports = [open_export(each, Path(part) / FORMATS[each].file, info) for each in chosen]
        _write(desk, exports, frames, turn, told)
        _list_objects(info, Path(part) / "objects.json")
        with replacing(target) as zipped:
            _zip(Path(part), zipped)
    return target


def _info(desk: Desk, name: str) -> VideoInfo:
    objects = {of.obj_id: of for of in desk.copied_objects()}
    return VideoInfo(
        name=name,
        source=desk.source,
        objects={k: of.name for k, of in objects.items()},
        colors={k: of.color for k, of in objects.items()},
        scores=lambda k: desk.predictor.get_scores(desk.state, k) if k in desk.state["obj_ids"] else {},
    )


def _list_objects(info: VideoInfo, file: Path) -> None:
    """The number, name and colour of each object, which not all formats have room for."""
    listed = [{"id": k, "name": name, "color": hex_of(info.colors[k])} for k, name in info.objects.items()]
    file.write_text(json.dumps(listed, ensure_ascii=False, indent=1), encoding="utf-8")


def _write(desk: Desk, exports: Sequence[Export], frames: Sequence[int], turn: Turn, told: Told) -> None:
    obj_ids = list(exports[0].info.objects)
    for done, frame_idx in enumerate(frames):
        with turn():
            masks = _masks(desk, obj_ids, frame_idx)
        for export in exports:
            export.write(masks)
        told(done / len(frames))
    with turn():
        for export in exports:
            export.finish()


def _masks(desk: Desk, obj_ids: list[Any], frame_idx: int) -> FrameMasks:
    """Of all objects; empty where one is not known on the frame."""
    known = desk.masks(frame_idx)
    empty = np.zeros(desk.size, dtype=np.bool_)
    return FrameMasks.of(frame_idx, obj_ids, np.stack([known.get(k, empty) for k in obj_ids]))


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
