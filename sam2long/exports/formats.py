"""The formats by name, and exporting to several of them in one pass over the frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam2long.exports.coco import Coco, Mot, Mots
from sam2long.exports.frame_masks import FrameMasks, Tracked
from sam2long.exports.images import DavisImages, PerObject, YouTubeVos
from sam2long.exports.pictures import CutoutImages, CutoutProRes, CutoutVideo, Overlay
from sam2long.exports.tables import NumpyArrays, ObjectsCsv
from sam2long.exports.video_info import VideoInfo
from sam2long.exports.writing import Export


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        file: what its file or folder is called where nobody says.
        kind: what writes it.
        shows_frames: whether it needs the video's frames (`VideoInfo.source`).
    """

    file: str
    kind: type[Export]
    shows_frames: bool = False


FORMATS: Mapping[str, Format] = {
    "davis": Format("davis", DavisImages),
    "per-object": Format("per-object", PerObject),
    "youtube-vos": Format("youtube-vos", YouTubeVos),
    "coco": Format("coco.json", Coco),
    "mot": Format("mot.txt", Mot),
    "mots": Format("mots.txt", Mots),
    "csv": Format("objects.csv", ObjectsCsv),
    "npz": Format("masks.npz", NumpyArrays),
    "overlay": Format("overlay.mp4", Overlay, shows_frames=True),
    "cutout": Format("cutout", CutoutImages, shows_frames=True),
    "cutout-webm": Format("cutout.webm", CutoutVideo, shows_frames=True),
    "cutout-prores": Format("cutout.mov", CutoutProRes, shows_frames=True),
}


def open_export(to: str, path: str | os.PathLike[str], info: VideoInfo | None = None, **options: Any) -> Export:
    """Begin an export, for a tracking loop of your own: `write(FrameMasks.of(...))` each frame, then `finish()`.

    Args:
        to: a name in `FORMATS`.
        path: the file or folder; files are replaced when the new one is whole, a folder has to be new or empty.
        info: what is known besides masks.
        options: the format's own: `fps` (a `Fraction`) of videos, `class_id` of MOTS.

    Raises:
        ValueError, FileExistsError, FileNotFoundError, ImportError: see `Export`.
    """
    if to not in FORMATS:
        raise ValueError(f"no format {to!r}; known: {', '.join(FORMATS)}")
    return FORMATS[to].kind(Path(path), info or VideoInfo(), **options)


def export(tracked: Tracked, to: Mapping[str, str | os.PathLike[str]], info: VideoInfo | None = None) -> None:
    """Export a video, to several formats in one pass.

    Args:
        tracked: what `propagate_in_video` yields, or any (frame index, N object ids, masks bool [N, H, W]), in any
            order; a frame that comes again replaces what was there.
        to: format -> file or folder, as in `open_export`.
        info: names, colours, scores, and the frames for formats that show them.

    Raises:
        ValueError, FileExistsError, FileNotFoundError, ImportError: see `Export`; those about `to` and `info` before
            `tracked` is asked for its first frame. Where `tracked` fails no file is written; pictures in folders stay.
    """
    exports = [open_export(name, path, info) for name, path in to.items()]
    for frame in tracked:
        masks = FrameMasks.of(*frame)
        for each in exports:
            each.write(masks)
    for each in exports:
        each.finish()
