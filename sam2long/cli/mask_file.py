"""Mask images as prompts: which pixels of a PNG belong to which object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from sam2long.cli.errors import UserError

MaskArray = npt.NDArray[np.bool_]


def read_masks(path: Path, obj_id: int | None) -> dict[int, MaskArray]:
    """The objects of a mask image.

    A palette image (mode P, as DAVIS has them) is a map of object ids: all of them are returned, or only
    `obj_id`. In any other image every pixel that is not black (nor fully transparent) is one object,
    called `obj_id` or 1.

    Returns:
        object id -> bool [H, W], true on the object. Never empty, no mask empty.

    Raises:
        UserError: if the file is missing, is no image, or holds no object (or not the one asked for).
    """
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        raise UserError(f"mask {path}: no such file") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"mask {path}: not a readable image ({error})") from None
    if image.mode != "P":
        mask = _not_black(image)
        if not mask.any():
            raise UserError(f"mask {path} is empty: all its pixels are black")
        return {1 if obj_id is None else obj_id: mask}
    id_map = np.asarray(image)
    present = [int(value) for value in np.unique(id_map) if value > 0]
    if not present:
        raise UserError(f"mask {path} is empty: all its pixels are background")
    if obj_id is not None and obj_id not in present:
        ids = ", ".join(map(str, present))
        raise UserError(f"mask {path} holds no object {obj_id}; it holds {ids}")
    return {value: id_map == value for value in present if obj_id in (None, value)}


def _not_black(image: Image.Image) -> MaskArray:
    if "A" in image.mode:
        opaque = np.asarray(image.getchannel("A")) > 0
        image = image.convert("RGB")
    else:
        opaque = np.ones((image.height, image.width), dtype=bool)
    pixels = np.asarray(image) != 0
    return opaque & (pixels.any(axis=2) if pixels.ndim == 3 else pixels)
