"""Pictures for the page: small JPEGs of single frames, the masks drawn on."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam2long.frames import FrameError
from sam2long.studio.desk import Desk
from sam2long.studio.steps import Drawn, Step
from sam2long.views.visualize import BoolArray, UInt8Array, overlay

_LONGEST = 1280  # pixels of a side: screens show no more
_CARD = 420
_QUALITY = 85


@dataclass(frozen=True)
class Picture:
    """A frame as the page shows it.

    Attributes:
        jpeg: the file.
        width, height: of the video, in whose pixels marks are.
        frame_idx: which.
        marks: what was shown of each object on this frame.
        caption: in words, where there is something to say.
        is_answer: of an alternative, whether it is the answer now.
    """

    jpeg: bytes
    width: int
    height: int
    frame_idx: int
    marks: Mapping[int, tuple[Step, ...]]
    caption: str = ""
    is_answer: bool = False

    @property
    def url(self) -> str:
        """The picture itself, as text."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


def frame_picture(desk: Desk, frame_idx: int, *, masks_on: bool) -> Picture:
    """A frame with the masks of all objects; grey with a message where it cannot be read."""
    height, width = desk.size
    marks = {k: of.shown[frame_idx] for k, of in desk.objects.items() if frame_idx in of.shown}
    small = _fitting(width, height, _LONGEST)
    try:
        frame = _scaled(desk.source[frame_idx], small)
    except (FrameError, OSError) as error:
        return Picture(_jpeg(_message(small, str(error))), width, height, frame_idx, marks, str(error))
    if masks_on:
        masks = desk.masks(frame_idx, (small[1], small[0]))
        frame = overlay(frame, masks, colors={k: desk.objects[k].color for k in masks})
    return Picture(_jpeg(frame), width, height, frame_idx, marks)


def alternative_pictures(desk: Desk, obj_id: int, frame_idx: int) -> list[Picture]:
    """What an object nearly was on a doubtful frame, side by side; none where there was no doubt."""
    found = desk.alternatives(obj_id, frame_idx)
    if not found:
        return []
    height, width = desk.size
    small = _fitting(width, height, _CARD)
    frame, of = _scaled(desk.source[frame_idx], small), desk.objects[obj_id]
    shown = of.shown.get(frame_idx)
    pictures = []
    for alternative in found:
        mask = (alternative.video_res_masks[0, 0] > 0).cpu().numpy()
        is_answer = alternative.is_answer if shown is None else _shows(shown, mask)
        seen = "visible" if alternative.occlusion_score > 0 else "hidden"
        caption = f"{seen}, quality {alternative.predicted_iou:.2f}"
        painted = overlay(frame, {obj_id: _scaled_mask(mask, small)}, colors={obj_id: of.color})
        pictures.append(Picture(_jpeg(painted), width, height, frame_idx, {}, caption, is_answer))
    return pictures


def with_stroke(mask: BoolArray, points: Sequence[tuple[float, float]], radius: float, *, erase: bool) -> BoolArray:
    """A mask, bool [H, W], painted over along `points` (x, y) by a round brush, or rubbed out.

    Raises:
        ValueError: if the brush has no size, or the stroke no points.
    """
    height, width = mask.shape
    if not points or not 0 < radius <= max(height, width):
        raise ValueError("That stroke paints nothing.")
    image = Image.fromarray(mask.astype(np.uint8))
    draw, value = ImageDraw.Draw(image), 0 if erase else 1
    draw.line(list(points), fill=value, width=max(1, round(2 * radius)))
    for x, y in points:  # round ends and joints
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)
    return np.array(image, dtype=np.bool_)


def _shows(steps: Sequence[Step], mask: BoolArray) -> bool:
    return len(steps) == 1 and isinstance(steps[0], Drawn) and np.array_equal(steps[0].mask, mask)


def _fitting(width: int, height: int, longest: int) -> tuple[int, int]:
    share = min(1.0, longest / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def _scaled(frame: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    return np.array(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _scaled_mask(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    return np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)) > 127


def _jpeg(frame: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, format="JPEG", quality=_QUALITY)
    return file.getvalue()


def _message(size: tuple[int, int], text: str) -> UInt8Array:
    image = Image.new("RGB", (max(size[0], 320), max(size[1], 120)), (60, 60, 64))
    ImageDraw.Draw(image).text((12, 12), f"This frame cannot be read:\n{text}"[:300], font=ImageFont.load_default(16))
    return np.array(image)
