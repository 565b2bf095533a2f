"""Which masks of a video a tracker is shown: the rules of SAM 2's script for datasets, and what to do about errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2long.datasets.layout import VideoItem
from sam2long.evaluation.masks import Labels, labels_on, png_names, read_labels

MERGED = 255
_LATER = "--track_object_appearing_later_in_video is for datasets whose objects do not all appear on the first frame"


@dataclass(frozen=True)
class ShownMask:
    """An object as it is shown on one frame.

    Attributes:
        frame_idx: from 0.
        obj_id: its label; of per-object masks its folder's number, or place where folders have other names.
        name: its folder, or the label as text.
        mask: bool [H, W].
    """

    frame_idx: int
    obj_id: int
    name: str
    mask: NDArray[np.bool_]


def shown_masks(item: VideoItem, height: int, width: int) -> list[ShownMask]:
    """The masks that prompt the tracker, ordered by object and frame.

    Without `later` they are those of frame 0 (with `all_masks` of every frame that has some, the first of which says
    which objects there are). With it each object's first mask that is not empty (with `all_masks` all that are not).

    Args:
        item: the video.
        height, width: of its frames, in pixels.

    Raises:
        FileNotFoundError: the first frame has no annotation.
        ValueError: there is no object, a mask has another size than the frames or cannot be read, or an object comes
            later than the rules allow.
    """
    found = _appearing_later(item, (height, width)) if item.layout.later else _on_first(item, (height, width))
    if not found:
        hint = " but void (255); --no-void makes 255 an object" if _holds_only_void(item) else ""
        raise ValueError(f"{item.masks} shows no object{hint}")
    return sorted(found, key=lambda shown: (shown.obj_id, shown.frame_idx))


def palette_of(item: VideoItem) -> bytes | None:
    """The colours of the annotations, RGB triples; None where they are grey."""
    for _, path in _annotations(item, item.frame_names):
        with Image.open(path) as image:
            colours = image.getpalette()
        return bytes(colours) if image.mode == "P" and colours else None
    return None


def _on_first(item: VideoItem, size: tuple[int, int]) -> list[ShownMask]:
    frames = range(len(item.images)) if item.layout.all_masks else range(1)
    found: list[ShownMask] = []
    known: set[int] | None = None
    for frame_idx in frames:
        shown = list(_on_frame(item, frame_idx, size, may_lack=item.layout.all_masks))
        if known is None and shown:
            known = {of.obj_id for of in shown}
        if new := [of for of in shown if known is not None and of.obj_id not in known]:
            name = item.images[frame_idx].stem
            raise ValueError(f"object {new[0].name} appears on frame {name} of {item.name} only: {_LATER}")
        found += shown
    return found


def _appearing_later(item: VideoItem, size: tuple[int, int]) -> list[ShownMask]:
    found: list[ShownMask] = []
    known: set[int] = set()
    for frame_idx in range(len(item.images)):
        for shown in _on_frame(item, frame_idx, size, may_lack=True):
            if shown.mask.any() and (item.layout.all_masks or shown.obj_id not in known):
                known.add(shown.obj_id)
                found.append(shown)
    return found


def _on_frame(item: VideoItem, frame_idx: int, size: tuple[int, int], *, may_lack: bool) -> Iterator[ShownMask]:
    folders = item.object_folders
    ids = object_ids(folders)
    for folder, path in item.mask_paths(item.images[frame_idx].stem, folders):
        if may_lack and not path.is_file():
            continue
        labels = _read(path, item, size)
        if folder:
            yield ShownMask(frame_idx, ids[folder], folder, labels > 0)
        elif item.layout.merged:
            yield ShownMask(frame_idx, MERGED, str(MERGED), labels > 0)
        else:
            for label in sorted(labels_on(labels) - {item.layout.void}):
                yield ShownMask(frame_idx, label, str(label), labels == label)


def shown_files(item: VideoItem) -> Iterator[Path]:
    """The files that `shown_masks` reads, as far as they are there."""
    layout = item.layout
    frames = item.frame_names if layout.later or layout.all_masks else item.frame_names[:1]
    for _, path in _annotations(item, frames):
        yield path


def object_ids(folders: list[str]) -> dict[str, int]:
    """A number for each object's folder: its own where all have one, else its place."""
    if all(folder.isdecimal() for folder in folders) and len({int(folder) for folder in folders}) == len(folders):
        return {folder: int(folder) for folder in folders}
    return {folder: place for place, folder in enumerate(folders, 1)}


def _read(path: Path, item: VideoItem, size: tuple[int, int]) -> Labels:
    if not path.is_file():
        others = png_names(path.parent) if path.parent.is_dir() else []
        beside = f"the first annotated frame is {others[0]}" if others else "there is no annotation at all"
        raise FileNotFoundError(
            f"{path} is missing: the first frame of {item.name} must show its objects ({beside}); {_LATER}"
        )
    labels = read_labels(path)
    if labels.ndim != 2 or labels.shape != size:
        shape = f"{labels.shape[1]}x{labels.shape[0]}"
        raise ValueError(
            f"{path} is {shape} pixels, the frames of {item.name} are {size[1]}x{size[0]}: they must be equal"
        )
    if labels.max(initial=0) > 255:
        raise ValueError(f"{path} holds the label {labels.max()}: labels go to 255")
    return labels


def _annotations(item: VideoItem, frame_names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    folders = item.object_folders
    for name in frame_names:
        for folder, path in item.mask_paths(name, folders):
            if path.is_file():
                yield folder, path


def _holds_only_void(item: VideoItem) -> bool:
    if item.layout.per_object or item.layout.merged:
        return False
    first = next((path for _, path in _annotations(item, item.frame_names)), None)
    return first is not None and labels_on(read_labels(first)) == {item.layout.void}
