"""A video as image files: a folder of them, or a list of paths."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sam2long.frames.same_file import identity_of, require_same
from sam2long.frames.source import Frame, FrameError, FrameSource, normalise_index, require_size

logger = logging.getLogger(__name__)

PAGED_FORMATS = ("APNG", "GIF", "PNG", "TIFF", "WEBP")
"""Formats of Pillow whose further images are frames or pages; those of a phone's JPEG (MPO) are previews."""

# EXIF's tag, and what undoes its values.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What files beside a frame are called that show something of it: `0001_mask.png` beside `0001.png`.
_COMPANION = re.compile(
    r"(.+)[_.-](masks?|seg|segmentation|labels?|gt|alpha|matte|depth|annotations?|anno|overlay|thumb|thumbnail|preview)",
    re.IGNORECASE,
)

_NUMBER = re.compile(r"\d+([.,]\d+)*")

JPEG_SUFFIXES = (".jpg", ".jpeg")
IMAGE_SUFFIXES = (*JPEG_SUFFIXES, ".png", ".tif", ".tiff", ".bmp", ".webp")


class ImageFiles(FrameSource):
    """Image files in the given order, each decoded when it is read.

    Only the first file's header is read at once, for the video's size. Pixels are Pillow's conversion to RGB, as
    SAM 2's own loader makes it, and photographs are turned upright as their EXIF tag says, which SAM 2's loader
    ignores: `upright=False` leaves them as they are stored. A file that vanished or was changed since is a FrameError
    when it is read. Raises ValueError for no paths, FileNotFoundError for a missing one and FrameError where the first
    is not an image, or holds several.
    """

    def __init__(self, paths: Sequence[Path], *, upright: bool = True) -> None:
        if not paths:
            raise ValueError("the list of image paths is empty; a video needs at least one frame")
        self._paths = list(paths)
        self._upright = upright
        stems = [path.stem for path in self._paths]
        # Paths of several folders may share stems; numbers then keep the names apart.
        self._names = stems if len(set(stems)) == len(stems) else None
        self._identities = [identity_of(path) for path in self._paths]
        try:
            with Image.open(self._paths[0]) as image:
                require_single(image)
                self.width, self.height = upright_size(image, upright=upright)
        except FileNotFoundError:
            raise
        except SeveralImagesError as error:
            raise ImageFileError(str(self._paths[0]), 0, str(error)) from None
        except Exception as error:
            raise ImageFileError(str(self._paths[0]), 0, _reason(error)) from error

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, frame_idx: int) -> str:
        if self._names is None:
            return super().name(frame_idx)
        return self._names[normalise_index(frame_idx, len(self))]

    def _read(self, frame_idx: int) -> Frame:
        path = self._paths[frame_idx]
        try:
            require_same(path, self._identities[frame_idx])
            return require_size(read_image(path, upright=self._upright), self.height, self.width)
        except FileNotFoundError as error:
            raise ImageFileError(str(path), frame_idx, "the file has vanished since the video was opened") from error
        except Exception as error:  # whatever a decoder says about damaged bytes (OSError, SyntaxError, ...)
            raise ImageFileError(str(path), frame_idx, _reason(error)) from error


class ImageFileError(FrameError):
    """A frame that has a file of its own cannot be read."""

    def __str__(self) -> str:
        path = Path(self.source)
        return f"frame {self.frame_idx} of {path.parent}, {path.name}: {self.reason}"


def _reason(error: Exception) -> str:
    """What Pillow says, without the file's name: the frame's error has that already."""
    return "not an image that Pillow can read" if isinstance(error, UnidentifiedImageError) else str(error)


class SeveralImagesError(ValueError):
    """A file among the frames of a video holds several images itself."""


def has_pages(image: Image.Image) -> bool:
    """Whether an opened file holds several frames or pages."""
    return image.format in PAGED_FORMATS and getattr(image, "n_frames", 1) > 1


def require_single(image: Image.Image) -> None:
    """Raises SeveralImagesError for a file of several frames or pages: one of them would be taken for all."""
    if has_pages(image):
        raise SeveralImagesError(
            f"it holds {getattr(image, 'n_frames', 1)} images; give the file itself as the video, "
            "or save each of them as a file"
        )


def upright_size(image: Image.Image, *, upright: bool) -> tuple[int, int]:
    """(width, height) of an opened image as `image_as_frame` gives it."""
    # Pillow turns TIFFs itself.
    is_turned = upright and image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if is_turned else (image.width, image.height)


def warn_if_turned(what: Path, images: Sequence[Path]) -> None:
    """Say once that a video is read as it is stored, where the EXIF tag of its first image would turn it."""
    try:
        with Image.open(images[0]) as image:
            tag = image.getexif().get(_ORIENTATION, 1) if image.format != "TIFF" else 1
    except Exception:  # no images, or none: whoever reads them says so
        return
    if tag != 1:
        logger.warning("%s: EXIF orientation %s is ignored, as benchmarks and SAM 2 ignore it", what, tag)


def read_image(path: Path, *, upright: bool = True) -> Frame:
    """The image file at `path` as uint8 RGB `[H, W, 3]`. Raises what Pillow raises, or ValueError."""
    with Image.open(path) as image:
        require_single(image)
        return image_as_frame(image, upright=upright)


def image_as_frame(image: Image.Image, *, upright: bool) -> Frame:
    """An opened image as uint8 RGB `[H, W, 3]`, turned as its EXIF tag says if `upright`."""
    # Pillow clips samples of more than 8 bits at 255 instead of scaling them: a microscope's 16-bit
    # image would become white without a word.
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"samples of more than 8 bits (mode {image.mode}); scale the image to 8 bits first")
    pixels = image.convert("RGB")
    if upright and image.format != "TIFF":
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        pixels = pixels if turn is None else pixels.transpose(turn)
    return np.array(pixels)


def open_image_folder(folder: Path, *, upright: bool = True) -> ImageFiles:
    """The images of `folder` in natural order.

    Raises ValueError where there are none, or two of one stem, and FileNotFoundError for a link that leads nowhere.
    """
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
    return ImageFiles(paths, upright=upright)


def list_images(folder: Path) -> list[Path]:
    """The image files of `folder` in natural order; hidden files and companions of frames are left out."""
    with os.scandir(folder) as entries:
        images = [e for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES) and not e.name.startswith(".")]
        names = sorted((entry.name for entry in images if entry.is_file()), key=natural_key)
        lost = sorted(entry.name for entry in images if entry.is_symlink() and not os.path.exists(entry.path))
    if lost:
        raise FileNotFoundError(f"{folder}: {len(lost)} images are links that lead nowhere; first {lost[0]}")
    # SAM 2 reads "<integer>.jpg" and nothing else: where that is what the JPEGs are called, masks or
    # previews of other formats beside them are no frames for us either.
    jpegs = [name for name in names if name.lower().endswith(JPEG_SUFFIXES)]
    if jpegs and len(jpegs) < len(names) and all(Path(name).stem.isdecimal() for name in jpegs):
        logger.warning("%s: reading its %d JPEGs, not its %d other images", folder, len(jpegs), len(names) - len(jpegs))
        names = jpegs
    names = _without_companions(folder, names)
    _warn_of_several_kinds(folder, names)
    return [folder / name for name in names]


def _warn_of_several_kinds(folder: Path, names: list[str]) -> None:
    """Log that a folder's images are named in several ways, or JPEGs among others: not all of them may be frames."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        stem, suffix = os.path.splitext(name.casefold())
        kind = _NUMBER.sub("#", stem) + (".jpg" if suffix in JPEG_SUFFIXES else suffix)
        kinds.setdefault(kind, []).append(name)
    if len(kinds) > 1:
        by_size = sorted(kinds.values(), key=len, reverse=True)
        shown = ", ".join(f"{len(of)} as {of[0]}" for of in by_size[:3]) + (", ..." if len(kinds) > 3 else "")
        logger.warning(
            "%s: all its %d images are read as frames, though named in %d ways (%s): move those that are none",
            folder, len(names), len(kinds), shown,
        )  # fmt: skip


def _without_companions(folder: Path, names: list[str]) -> list[str]:
    stems = {Path(name).stem for name in names}
    matches = {name: _COMPANION.fullmatch(Path(name).stem) for name in names}
    companions = [name for name, match in matches.items() if match and match[1] in stems]
    if companions:
        kept = len(names) - len(companions)
        logger.warning(
            "%s: reading %d images, not %d that lie beside them (%s ...)", folder, kept, len(companions), companions[0]
        )
    return [name for name in names if name not in set(companions)]


def natural_key(name: str) -> tuple[list[str | int], str]:
    """A sort key under which the integers inside names compare as numbers: `2.jpg` before `10.jpg`."""
    # Splitting at digits gives text and numbers in turn, text first: like always meets like.
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part_idx % 2 else part for part_idx, part in enumerate(parts)], name
