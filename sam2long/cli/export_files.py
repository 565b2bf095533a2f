"""What `sam2long export` and `sam2long track --export` share: names of formats, and how exports come to their place."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError

if TYPE_CHECKING:
    from sam2long.exports import Export, VideoInfo

FORMAT_NAMES = (
    "davis", "per-object", "youtube-vos", "coco", "mot", "mots", "csv", "npz",
    "overlay", "cutout", "cutout-webm", "cutout-prores",
)  # fmt: skip


def begin_exports(names: list[str], folder: Path, info: VideoInfo, fps: Fraction | None) -> dict[str, Export]:
    """The exports of these names, to be written into a folder; `fps` is of videos.

    Raises:
        UserError: if a library is missing, or the video is not known to a format that shows it.
    """
    from sam2long.exports import FORMATS, open_export

    def pace(file: str) -> dict[str, Any]:
        return {"fps": fps} if fps is not None and file.endswith((".mp4", ".webm", ".mov")) else {}

    try:
        files = {name: FORMATS[name].file for name in names}
        return {name: open_export(name, folder / file, info, **pace(file)) for name, file in files.items()}
    except (ValueError, ImportError) as error:
        raise UserError(str(error)) from error


def check_target(target: Path, overwrite: bool) -> None:
    """Raises UserError where something lies that stays; a folder without `objects.json` is no export."""
    if not target.exists():
        return
    if not overwrite:
        raise UserError(f"{target} exists: give -o another folder, or add --overwrite")
    if target.is_dir() and any(target.iterdir()) and not (target / "objects.json").is_file():
        raise UserError(f"{target} holds files that are no export: give -o another folder")


def publish(part: Path, out: Path) -> None:
    """Move what was written to its place; old exports go with `part`."""
    old = part / ".old"
    old.mkdir()
    for made in [entry for entry in part.iterdir() if entry != old]:
        target = out / made.name
        if target.is_dir():
            os.replace(target, old / made.name)
        os.replace(made, target)
