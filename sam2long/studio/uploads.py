"""What a browser sends: kept under a name of our own, whatever it was called."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from sam2long.frames.images import IMAGE_SUFFIXES

_BLOCK = 1 << 20


def keep(files: Sequence[Path], folder: Path) -> tuple[Path, bool]:
    """Copy an upload to a folder, under a name that says what is in it: the same files are kept once.

    Args:
        files: one video or image, or images that are frames.
        folder: made where it is missing.

    Returns:
        The copy, a file or a folder of images, and whether it was made just now.

    Raises:
        ValueError: if nothing was sent, or several files that are no images.
    """
    files = list(files)
    if not files:
        raise ValueError("Nothing was uploaded.")
    folder.mkdir(parents=True, exist_ok=True)
    if len(files) == 1:
        target = folder / _digest(files) / safe_name(files[0].name)
        target.parent.mkdir(exist_ok=True)
        if is_new := not target.exists():
            _copy(files[0], target)
        return target, is_new
    if strange := [file.name for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]:
        raise ValueError(f"{safe_name(strange[0])} is no image: upload one video, or the images of one.")
    target = folder / _digest(files) / "images"
    target.parent.mkdir(exist_ok=True)
    if is_new := not target.is_dir():
        part = target.with_name(".images.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for file in files:
            _copy(file, part / safe_name(file.name))
        part.rename(target)
    return target, is_new


def remove(kept: Path) -> None:
    """Forget what `keep` gave."""
    if kept.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
    else:
        kept.unlink(missing_ok=True)


def safe_name(name: str) -> str:
    """A file's name with nothing in it that leads anywhere; its ending stays."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, suffix = last.rpartition(".")
    stem, suffix = (stem, suffix) if dot else (suffix, "")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_")[-60:] or "file"
    ending = re.sub(r"[^A-Za-z0-9]+", "", suffix)[:8]
    return f"{plain}.{ending}" if ending else plain


def _copy(file: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(file, part)
    part.rename(target)


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    return found.hexdigest()[:10]
