"""Mask images as prompts: opening the file, and which of its objects are meant. `mask_pixels` says what a pixel is."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from sam2long.cli.errors import UserError
from sam2long.cli.mask_edges import MaskArray
from sam2long.cli.mask_pixels import VOID, AmbiguousMaskError, read_pixels

logger = logging.getLogger(__name__)

__all__ = ["MaskArray", "describe_mask", "read_masks"]


def read_masks(path: Path, obj_id: int | None) -> dict[int, MaskArray]:
    """The objects of a mask image, upright as a viewer shows it; docs/masks.md has the rules.

    A map of ids gives all its objects, or only `obj_id`; 255 in it is void unless it is asked for. A picture of one
    mask gives one object, called `obj_id` or 1.

    Returns:
        object id -> bool [H, W], true on the object. Never empty, no mask empty.

    Raises:
        UserError: if the file is missing, is no image, can be read in two ways, or holds no object (or not the one
            asked for).
    """
    image = _open(path)
    try:
        labels, is_id_map = read_pixels(image, lossy=image.format in ("JPEG", "MPO"))
    except AmbiguousMaskError as error:
        raise UserError(f"mask {path}: {error}") from None
    if not labels.any():
        raise UserError(f"mask {path} is empty: it shows nothing but background")
    if not is_id_map:
        mask = labels > 0
        _warn_of_inverted(path, mask)
        return {1 if obj_id is None else obj_id: mask}
    return _objects(path, labels, obj_id)


def describe_mask(mask: MaskArray) -> str:
    """How much of the frame a mask takes, such as `12 % of the frame`."""
    return f"{100 * mask.mean():.2g} % of the frame" if mask.mean() < 0.995 else "all of the frame"


def _open(path: Path) -> Image.Image:
    from sam2long.frames.images import has_pages  # not above: it brings torch, which `--help` does without

    try:
        with Image.open(path) as image:
            if has_pages(image):
                raise UserError(f"mask {path} holds {getattr(image, 'n_frames', 1)} images: save the one that is meant")
            kind = image.format
            image.load()
            upright = ImageOps.exif_transpose(image)
            upright.format = kind
            return upright
    except FileNotFoundError:
        raise UserError(f"mask {path}: no such file") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"mask {path}: not a readable image ({error})") from None


def _objects(path: Path, ids: npt.NDArray[np.int64], obj_id: int | None) -> dict[int, MaskArray]:
    """The objects of a map of ids, or the one that is asked for."""
    present = [int(value) for value in np.unique(ids) if value > 0]
    if obj_id is not None and obj_id not in present:
        raise UserError(f"mask {path} holds no object {obj_id}; it holds {', '.join(map(str, present))}")
    if present == [VOID] and obj_id is None:
        raise UserError(f"mask {path} holds nothing but void ({VOID}); --obj-id {VOID} takes it for an object")
    if VOID in present and len(present) > 1 and obj_id != VOID:
        present.remove(VOID)
        logger.warning("mask %s: %d is void, no object: %s", path, VOID, describe_mask(ids == VOID))
    return {value: ids == value for value in present if obj_id in (None, value)}


def _warn_of_inverted(path: Path, mask: MaskArray) -> None:
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if rim.all() and not mask.all():
        logger.warning(
            "mask %s: the object is what is white, here everything around a dark inside (%s); is it inverted?",
            path, describe_mask(mask),
        )  # fmt: skip
