"""Folders of PNG masks: what videos and frames there are, and their label maps, with errors that name the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Labels = NDArray[np.integer[Any]]  # (H, W): the object that every pixel belongs to, 0 for none
_MODES = ("P", "L", "1", "I", "I;16", "I;16B")


def read_labels(path: Path) -> Labels:
    """The label map of a palette or grey PNG, (H, W): the palette's indices or the grey levels as they are.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or has colours, which name no object.
    """
    try:
        with Image.open(path) as image:
            mode, labels = image.mode, np.array(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except PermissionError as error:
        raise PermissionError(f"{path} cannot be opened: {error.strerror}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is no image, or a damaged one: write it again") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on the way
        raise ValueError(f"{path} is a damaged image ({error}): write it again") from error
    if mode not in _MODES:
        raise ValueError(f"{path} has colours (mode {mode}): write object ids as a palette or grey PNG")
    return labels.astype(np.uint8) if mode == "1" else labels


def read_pair(found_path: Path, truth_path: Path) -> tuple[Labels, Labels]:
    """A predicted label map and the annotated one.

    Raises:
        ValueError: their sizes differ; no official tool resizes.
    """
    found, truth = read_labels(found_path), read_labels(truth_path)
    if found.shape != truth.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (found.shape, truth.shape)]
        raise ValueError(
            f"{found_path} has {sizes[0]} pixels, the ground truth {truth_path} has {sizes[1]}: "
            "write predictions in the annotation's size"
        )
    return found, truth


def existing_folder(path: Path, what: str) -> Path:
    """The folder, if it is one.

    Raises:
        FileNotFoundError: there is nothing; the message shows what lies where it was looked for.
        NotADirectoryError: it is a file.
    """
    if path.is_dir():
        return path
    if path.exists():
        raise NotADirectoryError(f"{path} is a file, not a folder: {what}")
    parent = next(folder for folder in (path, *path.parents) if folder.is_dir())
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    beside = f"{parent} holds {', '.join(names[:5]) or 'nothing'}{' ...' if len(names) > 5 else ''}"
    raise FileNotFoundError(f"{path} is missing: {what} ({beside})")


def subfolders(path: Path) -> list[str]:
    """The names of the folders in a folder, sorted; hidden ones are left out."""
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def png_names(folder: Path) -> list[str]:
    """The names, without `.png`, of the PNG files in a folder, sorted."""
    return sorted(entry.stem for entry in folder.glob("*.png") if not entry.name.startswith("."))


def require(paths: Iterable[Path], mend: str) -> None:
    """See that files exist, before work starts.

    Raises:
        FileNotFoundError: names the first that is missing, says how many more are, and what to do.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{missing[0]} is missing{more}: {mend}")


def read_list(path: Path, what: str, *, may_be_empty: bool = False) -> list[str]:
    """The lines of a text file, without blanks and empty lines.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no line, or is no text.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: {what}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file: {what}") from error
    names = [line for line in lines if line]
    if not names and not may_be_empty:
        raise ValueError(f"{path} is empty: {what}")
    return names


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: {what}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): {what}") from error


def max_label(label_maps: Sequence[Labels]) -> int:
    """The highest label on any of some maps; 0 where there is none."""
    return max((int(labels.max(initial=0)) for labels in label_maps), default=0)


def labels_on(labels: Labels) -> set[int]:
    """The labels that a map shows, without 0."""
    if labels.dtype == np.uint8:  # counting is several times faster than sorting
        return set(np.flatnonzero(np.bincount(labels.ravel())).tolist()) - {0}
    return set(np.unique(labels).tolist()) - {0}
