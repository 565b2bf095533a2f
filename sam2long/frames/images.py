"""A video as image files: a folder of them, or a list of paths."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sam2long.frames.source import Frame, FrameError, FrameSource, normalise_index, require_size

logger = logging.getLogger(__name__)

PAGED_FORMATS = ("APNG", "GIF", "PNG", "TIFF", "WEBP")
"""Formats of Pillow whose further images are frames or pages; those of a phone's JPEG (MPO) are previews."""

JPEG_SUFFIXES = (".jpg", ".jpeg")
IMAGE_SUFFIXES = (*JPEG_SUFFIXES, ".png", ".tif", ".tiff", ".bmp", ".webp")


class ImageFiles(FrameSource):
    """Image files in the given order, each decoded when it is read.

    Only the first file's header is read at once, for the video's size. Pixels are what SAM 2's own loader
    sees: Pillow's conversion to RGB, EXIF orientation ignored. Raises ValueError for no paths,
    FileNotFoundError for a missing one and FrameError where the first is not an image.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise ValueError("the list of image paths is empty; a video needs at least one frame")
        self._paths = list(paths)
        stems = [path.stem for path in self._paths]
        # Paths of several folders may share stems; numbers then keep the names apart.
        self._names = stems if len(set(stems)) == len(stems) else None
        try:
            with Image.open(self._paths[0]) as image:
                self.width, self.height = image.size
        except FileNotFoundError:
            raise
        except Exception as error:
            raise FrameError(str(self._paths[0]), 0, f"not an image that Pillow can read ({error})") from error

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, frame_idx: int) -> str:
        if self._names is None:
            return super().name(frame_idx)
        return self._names[normalise_index(frame_idx, len(self))]

    def _read(self, frame_idx: int) -> Frame:
        path = self._paths[frame_idx]
        try:
            return require_size(read_image(path), self.height, self.width)
        except FileNotFoundError as error:
            raise FrameError(str(path), frame_idx, "the file has vanished since the video was opened") from error
        except Exception as error:  # whatever a decoder says about damaged bytes (OSError, SyntaxError, ...)
            raise FrameError(str(path), frame_idx, str(error)) from error


def read_image(path: Path) -> Frame:
    """The image file at `path` as uint8 RGB `[H, W, 3]`. Raises what Pillow raises, or ValueError."""
    with Image.open(path) as image:
        # Pillow clips samples of more than 8 bits at 255 instead of scaling them: a microscope's 16-bit
        # image would become white without a word.
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"samples of more than 8 bits (mode {image.mode}); scale the image to 8 bits first")
        return np.array(image.convert("RGB"))


def open_image_folder(folder: Path) -> ImageFiles:
    """The images of `folder` in natural order. Raises ValueError where there are none, or two of one stem."""
    paths = list_images(folder)
    if not paths:
        raise ValueError(f"no images in the folder {folder}; looked for {', '.join(IMAGE_SUFFIXES)}")
    stems: dict[str, Path] = {}
    for path in paths:
        other = stems.setdefault(path.stem, path)
        if other is not path:
            raise ValueError(
                f"{other.name} and {path.name} in {folder} may both be frame {path.stem!r}; "
                "keep one kind of image in the folder, or pass a list of paths"
            )
    return ImageFiles(paths)


def list_images(folder: Path) -> list[Path]:
    """The image files of `folder` in natural order, hidden files left out."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name.lower().endswith(IMAGE_SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
        ]
    names.sort(key=natural_key)
    # SAM 2 reads "<integer>.jpg" and nothing else: where that is what the JPEGs are called, masks or
    # previews of other formats beside them are no frames for us either.
    jpegs = [name for name in names if name.lower().endswith(JPEG_SUFFIXES)]
    if jpegs and len(jpegs) < len(names) and all(Path(name).stem.isdecimal() for name in jpegs):
        logger.warning("%s: reading its %d JPEGs, not its %d other images", folder, len(jpegs), len(names) - len(jpegs))
        names = jpegs
    return [folder / name for name in names]


def natural_key(name: str) -> tuple[list[str | int], str]:
    """A sort key under which the integers inside names compare as numbers: `2.jpg` before `10.jpg`."""
    # Splitting at digits gives text and numbers in turn, text first: like always meets like.
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part_idx % 2 else part for part_idx, part in enumerate(parts)], name
