"""Pictures of results: the DAVIS palette, masks over frames, labelled panels side by side, score plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from sam2long.search.scores import FrameScores

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Color = tuple[int, int, int]

MASK_ALPHA = 0.45


def davis_palette() -> UInt8Array:
    """The 256 colours of DAVIS and PASCAL VOC, uint8 [256, 3]: row k is object k's RGB colour, row 0 black."""
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    # The bits of the index, three at a time, become the bits of R, G and B from the most significant down.
    for place in range(8):
        for channel in range(3):
            bit = (index >> (3 * place + channel)) & 1
            palette[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return palette


_PALETTE = davis_palette()


def object_color(obj_id: int) -> Color:
    """The DAVIS colour of an object id, brightened so that it shows on dark and on light frames.

    The hue is the palette's; its strongest channel is raised to 255. Ids above 255 repeat from 1.
    """
    red, green, blue = (int(value) for value in _PALETTE[(obj_id - 1) % 255 + 1])
    strongest = max(red, green, blue)
    return red * 255 // strongest, green * 255 // strongest, blue * 255 // strongest


def overlay(
    frame: UInt8Array,
    masks: Mapping[int, BoolArray],
    *,
    alpha: float = MASK_ALPHA,
    colors: Mapping[int, Color] | None = None,
) -> UInt8Array:
    """Paint masks over a frame: a translucent colour inside, an opaque contour with a dark rim around.

    Args:
        frame: RGB, uint8 [H, W, 3]. Left unchanged.
        masks: object id -> bool [H, W]; where masks overlap, the later one lies on top.
        alpha: opacity of the inside, 0 to 1.
        colors: object id -> RGB, where it shall not be the DAVIS colour.

    Returns:
        RGB, uint8 [H, W, 3].

    Raises:
        ValueError: if a mask is not of the frame's size.
    """
    height, width = frame.shape[:2]
    line = contour_width(height, width)
    picture = frame.copy()
    for obj_id, mask in masks.items():
        if mask.shape != (height, width):
            raise ValueError(f"mask of object {obj_id} is {mask.shape}, the frame {(height, width)}")
        if not mask.any():
            continue
        # Only the part of the frame around the mask is touched: frames are large, most objects small.
        around = _bounding_box(mask, line)
        color = (colors or {}).get(obj_id) or object_color(obj_id)
        _paint(picture[around], mask[around], color, alpha, line)
    return picture


def contour_width(height: int, width: int) -> int:
    """Pixels a contour needs to be seen at this frame size: 1 below 480 lines, one more for every 480."""
    return 1 + min(height, width) // 480


def _bounding_box(mask: BoolArray, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )


def _paint(picture: UInt8Array, mask: BoolArray, color: Color, alpha: float, line: int) -> None:
    """Paint one mask into `picture`, in place."""
    inside = (1 - alpha) * picture[mask] + alpha * np.array(color, dtype=np.float32)
    picture[mask] = np.round(inside).astype(np.uint8)
    # Beyond the picture lies background: a mask that touches the edge keeps its contour there.
    padded = np.pad(mask, line)
    inner = (slice(line, -line), slice(line, -line))
    rim = _widened(padded, line)[inner] & ~mask
    contour = _widened(~padded, line)[inner] & mask
    picture[rim] //= 3
    picture[contour] = color


def _widened(mask: BoolArray, by: int) -> BoolArray:
    """Grow a mask by a square of half-width `by`: first along rows, then along columns."""
    across = mask.copy()
    for step in range(1, by + 1):
        across[:, step:] |= mask[:, :-step]
        across[:, :-step] |= mask[:, step:]
    grown = across.copy()
    for step in range(1, by + 1):
        grown[step:] |= across[:-step]
        grown[:-step] |= across[step:]
    return grown


def draw_prompt(
    frame: UInt8Array,
    *,
    obj_id: int,
    points: Sequence[Sequence[float]] = (),
    labels: Sequence[int] = (),
    box: Sequence[float] | None = None,
) -> UInt8Array:
    """Mark an object's clicks and box on a copy of a frame.

    Args:
        frame: RGB, uint8 [H, W, 3].
        obj_id: whose colour to draw with.
        points: (x, y) in pixels of the frame.
        labels: one for every point: 1 (drawn as a plus) is on the object, 0 (drawn as a bar) is not.
        box: (x0, y0, x1, y1) in pixels of the frame.
    """
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture)
    line = contour_width(*frame.shape[:2])
    if box is not None:
        draw.rectangle(tuple(box), outline=object_color(obj_id), width=line)
    radius = 4 * line
    for (x, y), label in zip(points, labels, strict=True):
        fill = (40, 200, 80) if label == 1 else (230, 60, 60)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline="white", width=line)
        arm = radius // 2
        draw.line((x - arm, y, x + arm, y), fill="white", width=line)
        if label == 1:
            draw.line((x, y - arm, x, y + arm), fill="white", width=line)
    return np.array(picture)


def side_by_side(images: Sequence[UInt8Array], labels: Sequence[str]) -> UInt8Array:
    """Join pictures of one height from left to right, each under its label.

    Args:
        images: RGB, uint8 [H, W_i, 3].
        labels: one for every image.

    Returns:
        RGB, uint8 [H + caption, sum of W_i and the gaps between them, 3].

    Raises:
        ValueError: if there are no images, heights differ, or there is not one label for each.
    """
    if not images or len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels; give one label for each image")
    heights = {image.shape[0] for image in images}
    if len(heights) > 1:
        raise ValueError(f"images differ in height: {sorted(heights)}")
    height = heights.pop()
    font_size = max(12, height // 24)
    caption, gap = round(font_size * 1.6), max(2, height // 120)
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    panel = Image.new("RGB", (width, height + caption), (24, 24, 24))
    draw = ImageDraw.Draw(panel)
    left = 0
    for image, label in zip(images, labels, strict=True):
        panel.paste(Image.fromarray(image), (left, caption))
        middle = (left + image.shape[1] / 2, caption / 2)
        draw.text(middle, label, fill="white", anchor="mm", font=ImageFont.load_default(font_size))
        left += image.shape[1] + gap
    return np.array(panel)


def plot_scores(scores: Mapping[int, FrameScores], axes: Any = None) -> Any:
    """Plot what the memory tree thought of one object: predicted IoU, occlusion score, distinct pathways.

    Args:
        scores: frame index -> scores, as `SAM2LongVideoPredictor.get_scores` returns.
        axes: three matplotlib axes stacked on top of each other; made when left out.

    Returns:
        The three axes.

    Raises:
        ImportError: if matplotlib is missing (extra `viz`).
    """
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("plots need matplotlib: pip install matplotlib (extra sam2long[viz])") from error
        _, axes = pyplot.subplots(3, 1, sharex=True, figsize=(8, 4.5), layout="constrained")
    frames = sorted(scores)
    iou, occlusion, pathways = axes
    iou.plot(frames, [scores[t].predicted_iou for t in frames])
    iou.set(ylabel="predicted IoU", ylim=(0, 1.02))
    occlusion.plot(frames, [scores[t].occlusion_score for t in frames])
    occlusion.axhline(0, color="gray", linewidth=0.8)
    occlusion.set(ylabel="occlusion score")
    alive = [scores[t].distinct_pathways for t in frames]
    pathways.step(frames, alive, where="mid")
    most = max(alive, default=1)
    pathways.set(ylabel="pathways", xlabel="frame", ylim=(0.5, most + 0.5), yticks=range(1, most + 1))
    return axes
