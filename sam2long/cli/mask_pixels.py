"""What the pixels of a mask image mean, by what a person sees: a map of object ids, or a picture of one object.

An image comes in, labels come out; what can be read in two ways is refused. docs/masks.md states the rules.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2long.cli.mask_edges import Labels, MaskArray, num_solid, soft_edges, soft_rims
from sam2long.views.visualize import davis_palette

Pixels = npt.NDArray[np.uint8]

VOID = 255
"""In a map of ids: neither object nor background (DAVIS, YouTube-VOS)."""

_MANY = 64  # more values than a map of ids has
_SMALL = 64  # grey values below it are hardly seen: numbers
_NEAR_BLACK = 16
_DAVIS = {tuple(color): index for index, color in enumerate(davis_palette().tolist())}
_MEND = "save a palette PNG of object ids, or for each object one image, white on black without soft edges"


class AmbiguousMaskError(ValueError):
    """A mask image that can be read in two ways; the message names its values and the mend."""


def read_pixels(image: Image.Image, *, lossy: bool) -> tuple[Labels, bool]:
    """Read a mask image.

    Args:
        image: loaded, of any mode.
        lossy: from a JPEG, in which no pixel is exact: never a map of ids.

    Returns:
        int64 [H, W], and whether these are object ids; otherwise 1 is the object and 0 is not.

    Raises:
        AmbiguousMaskError: naming the values and the mend.
    """
    opaque = _opaque(image)
    if image.mode == "P":
        labels = np.where(opaque, np.asarray(image), 0).astype(np.int64)
        if _counts(image, labels):
            return labels, True
    if image.mode == "1" or image.mode.startswith(("L", "I", "F")):
        return _read_grey(_grey_values(image), opaque, lossy=lossy)
    rgb = np.asarray(image.convert("RGBA").convert("RGB") if image.mode in ("PA", "La", "RGBa") else _as_rgb(image))
    return _read_colours(rgb, opaque, lossy=lossy)


def _opaque(image: Image.Image) -> MaskArray:
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return np.asarray(image.convert("RGBA").getchannel("A")) > 127
    return np.ones((image.height, image.width), dtype=np.bool_)


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_grey(colours: Labels) -> bool:
    return bool((colours.max(axis=-1) - colours.min(axis=-1)).max() <= _NEAR_BLACK)


# -- palettes ----------------------------------------------------------------------------------------------------------


def _counts(image: Image.Image, labels: Labels) -> bool:
    """Whether a palette image's numbers are object ids: its colour 0 is black, and no number is a soft edge's."""
    palette = np.array(image.getpalette("RGB"), dtype=np.int64).reshape(-1, 3)
    if len(palette) == 0 or palette[0].max() > _NEAR_BLACK:
        return False
    used = np.unique(labels)
    used = used[used < len(palette)]
    colours = palette[used]
    is_identity = (colours == used[:, None]).all()
    is_black_and_white = len(used) <= 2 and _is_grey(colours) and (abs(colours - 127.5) > 127 - _NEAR_BLACK).all()
    if is_identity or is_black_and_white:
        return False  # the same image without its palette says the same
    edges = soft_edges(labels, VOID) or soft_rims(labels, VOID)
    is_davis = all(_DAVIS.get(tuple(palette[value].tolist())) == value for value in used.tolist())
    if edges and is_davis:
        raise AmbiguousMaskError(_soft("ids", edges))
    return not edges


# -- grey --------------------------------------------------------------------------------------------------------------


def _grey_values(image: Image.Image) -> npt.NDArray[np.float64]:
    """Grey values as they are stored, for floats of 0 to 1 times 255."""
    values = np.asarray(image.getchannel(0) if image.mode in ("LA", "La") else image).astype(np.float64)
    if image.mode == "1":
        return values * 255
    if not np.isfinite(values).all() or values.min() < 0:
        raise AmbiguousMaskError(f"its values are negative or no numbers: {_MEND}")
    if image.mode == "F" and values.max() <= 1:
        return np.round(values * 255)
    return values


def _read_grey(values: npt.NDArray[np.float64], opaque: MaskArray, *, lossy: bool) -> tuple[Labels, bool]:
    """Two values: the brighter is the object. Few, each a region: ids. Else a soft mask, cut at half."""
    if (cutout := _cutout(values[..., None], opaque)) is not None:
        return cutout.astype(np.int64), False
    values = np.where(opaque, values, 0)
    found = np.unique(values)
    if not lossy and len(found) <= 2:
        return _read_two_greys(values, found)
    if not lossy and len(found) <= _MANY and _are_ids(found):
        ids = values.astype(np.int64)
        edges = soft_edges(ids, VOID)
        numbers = [int(value) for value in found if 0 < value < VOID]
        # Beside white, what is nowhere solid is noise or an edge.
        if VOID not in found or any(num_solid(ids == value) for value in numbers if value not in edges):
            if edges := edges or soft_rims(ids, VOID):
                raise AmbiguousMaskError(_soft("values", edges))
            if found[0] > 0:
                raise AmbiguousMaskError(f"{_listed(found)}, and none is black: {_MEND}")
            return ids, True
    if found[-1] > VOID:
        if len(found) <= _MANY:
            raise AmbiguousMaskError(f"{_listed(found)}: object ids go from 1 to 255; {_MEND}")
        values = values / 257  # 16 bits
    return _cut_at_half(values, found), False


def _read_two_greys(values: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> tuple[Labels, bool]:
    low, high = float(found[0]), float(found[-1])
    if low == high and not 1 < high < _SMALL:
        return (values > 0).astype(np.int64), False  # all or nothing
    if 1 < high < _SMALL and low in (0, high):
        return values.astype(np.int64), True  # of a map of ids, one object
    if low > 0 and not (low < _SMALL and high >= 2 * _SMALL):
        raise AmbiguousMaskError(f"{_listed(found)}, and none is black: {_MEND}")
    return (values == high).astype(np.int64), False


def _are_ids(found: npt.NDArray[np.float64]) -> bool:
    """Whether a person would take grey values for numbers: small ones, or all of a long row."""
    below = found[found < VOID]
    if found[-1] > VOID or not (found == found.round()).all():
        return False
    return bool(below[-1] < _SMALL or (found[-1] < VOID and len(below) > below[-1] / 4))


def _cut_at_half(values: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> Labels:
    """The bright half of a mask with soft edges; refused where grey is more than an edge."""
    bright, middle = values > 191, (values >= 64) & (values <= 191)
    if not bright.any() or middle.sum() > bright.sum():
        raise AmbiguousMaskError(f"{_listed(found)}: neither black and white nor a map of ids; {_MEND}")
    if len(found) <= _MANY:
        edges = soft_edges(values.round().astype(np.int64))
        flat = [value for value in np.unique(values[middle]).tolist() if round(value) not in edges]
        if flat:
            raise AmbiguousMaskError(f"{_listed(found)}: is {flat[0]:g} an object, a part of one, or nothing? {_MEND}")
    return (values >= 127.5).astype(np.int64)


# -- colour ------------------------------------------------------------------------------------------------------------


def _read_colours(rgb: Pixels, opaque: MaskArray, *, lossy: bool) -> tuple[Labels, bool]:
    """Grey in all channels: as grey. DAVIS's colours: its ids. One colour on black: the object. Else refused."""
    if (cutout := _cutout(rgb, opaque)) is not None:
        return cutout.astype(np.int64), False
    pixels = np.where(opaque[..., None], rgb, 0).astype(np.int64)
    if _is_grey(pixels):
        return _read_grey(pixels[..., 1].astype(np.float64), np.ones_like(opaque), lossy=lossy)
    colours, numbers = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    labels = numbers.reshape(opaque.shape).astype(np.int64)
    if len(colours) <= _MANY and not lossy:
        known = [_DAVIS.get((red, green, blue)) for red, green, blue in colours.tolist()]
        ids = np.array([-1 if index is None else index for index in known])
        is_davis = colours[0].max() == 0 and (ids >= 0).all() and len(colours) > 2
        if is_davis and not (soft_edges(ids[labels], VOID) or soft_rims(ids[labels], VOID)):
            return ids[labels], True
    grey = _along_one_colour(pixels, strict=not lossy)
    if grey is None:
        shown = ", ".join(str(tuple(colour)) for colour in colours[:5].tolist())
        more = ", ..." if len(colours) > 5 else ""
        raise AmbiguousMaskError(f"it has {len(colours)} colours ({shown}{more}): which is which object? {_MEND}")
    return _read_grey(grey, np.ones_like(opaque), lossy=True)


def _along_one_colour(pixels: Labels, *, strict: bool) -> npt.NDArray[np.float64] | None:
    """How far each pixel lies on the way from black to the one colour there is, 0 to 255; None if there are more.

    Codecs blur colours more than brightness, so that a few pixels of a lossy image lie beside that way.
    """
    strength = pixels.max(axis=2)
    lit = strength > _NEAR_BLACK
    if lit.all():
        return None  # nothing is black
    peak = np.median(pixels[strength >= 0.75 * strength.max()], axis=0)
    share = (pixels @ peak) / (peak @ peak)
    beside = np.linalg.norm(pixels - share[..., None] * peak, axis=2)
    if np.mean(beside[lit] > (8 if strict else 80)) > (0 if strict else 0.01):
        return None
    return np.asarray(np.round(255 * share.clip(0, 1)))


def _cutout(pixels: npt.NDArray[np.float64] | Pixels, opaque: MaskArray) -> MaskArray | None:
    """The object where it is what is not transparent: there it has one colour, or a photo's many."""
    if opaque.all() or not opaque.any():
        return None
    seen = np.unique(pixels[opaque], axis=0)
    return opaque if len(seen) == 1 or len(seen) > 4 * _MANY else None


# -- words -------------------------------------------------------------------------------------------------------------


def _soft(what: str, edges: list[int]) -> str:
    shown = ", ".join(map(str, edges[:5])) + (", ..." if len(edges) > 5 else "")
    return f"its {what} {shown} are the soft edge of other objects; resize ids with nearest neighbour, or {_MEND}"


def _listed(found: npt.NDArray[np.float64]) -> str:
    if len(found) > 6:
        return f"it has {len(found)} values from {found[0]:g} to {found[-1]:g}"
    return f"its values are {', '.join(f'{value:g}' for value in found)}"
