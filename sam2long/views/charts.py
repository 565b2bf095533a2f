"""Curves over the frames of a video, drawn with Pillow alone: strips stacked on top of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam2long.views.visualize import Color, UInt8Array

BACKGROUND: Color = (24, 24, 24)
_FIELD: Color = (38, 38, 40)
_BAND: Color = (66, 58, 44)
_GRID: Color = (84, 84, 88)
_TEXT: Color = (225, 225, 225)
_FINE = 3  # Pillow draws lines without antialiasing: charts are drawn this much larger and scaled down


@dataclass(frozen=True)
class Curve:
    """One value for every frame; NaN leaves a gap. `steps` draws bars, one a frame, in place of a line."""

    values: Sequence[float]
    color: Color
    label: str = ""
    steps: bool = False


@dataclass(frozen=True)
class Strip:
    """One chart: what it shows, its curves, and the values from `low` to `high` its field spans.

    Attributes:
        ticks: values named at the left edge.
        band: values (from, to) whose field is tinted.
    """

    title: str
    curves: tuple[Curve, ...]
    low: float
    high: float
    ticks: tuple[float, ...]
    band: tuple[float, float] | None = None


class Chart:
    """Strips of equal height over one time axis, as pictures that show the curves up to a frame.

    Args:
        strips: from top to bottom; every curve has `num_frames` values.
        num_frames: of the video.
        width, strip_height: pixels of the picture, and of every strip with its title.
        marks: frames to mark with a thin line through all strips.
    """

    def __init__(
        self, strips: Sequence[Strip], num_frames: int, *, width: int, strip_height: int, marks: Sequence[int] = ()
    ) -> None:
        self.size = (width, strip_height * len(strips) + strip_height // 5)
        self._num_frames = num_frames
        self._font = ImageFont.load_default(strip_height * 0.17 * _FINE)
        self._left, self._right = round(strip_height * 0.55) * _FINE, (width - strip_height // 8) * _FINE
        fields = [self._field(k * strip_height, strip_height) for k in range(len(strips))]
        canvas = Image.new("RGB", (self.size[0] * _FINE, self.size[1] * _FINE), BACKGROUND)
        draw = ImageDraw.Draw(canvas)
        for strip, (top, bottom) in zip(strips, fields, strict=True):
            self._draw_field(draw, strip, top, bottom, marks)
        self._empty = self._scaled(canvas)
        for strip, (top, bottom) in zip(strips, fields, strict=True):
            for curve in strip.curves:
                self._draw_curve(draw, strip, curve, top, bottom)
        self._full = self._scaled(canvas)

    def picture(self, until: int | None = None) -> UInt8Array:
        """The chart, uint8 [H, W, 3]: all of it, or the curves up to frame `until` and a line there."""
        if until is None:
            return self._full.copy()
        now = round(self._x(until) / _FINE)
        picture = self._empty.copy()
        picture[:, : now + 1] = self._full[:, : now + 1]
        picture[:, now] = np.maximum(picture[:, now], 170)
        return picture

    def _field(self, top: int, height: int) -> tuple[int, int]:
        """The rows, in fine pixels, between which a strip's curves lie: below its title."""
        return round((top + height * 0.3) * _FINE), round((top + height * 0.95) * _FINE)

    def _x(self, frame: float) -> float:
        return self._left + (self._right - self._left) * (frame + 0.5) / self._num_frames

    @staticmethod
    def _y(strip: Strip, value: float, top: int, bottom: int) -> float:
        share = (min(max(value, strip.low), strip.high) - strip.low) / (strip.high - strip.low)
        return bottom - share * (bottom - top)

    def _draw_field(self, draw: ImageDraw.ImageDraw, strip: Strip, top: int, bottom: int, marks: Sequence[int]) -> None:
        draw.rectangle((self._left, top, self._right, bottom), fill=_FIELD)
        if strip.band is not None:
            first, last = (self._y(strip, value, top, bottom) for value in strip.band)
            draw.rectangle((self._left, last, self._right, first), fill=_BAND)
        for mark in marks:
            draw.line((self._x(mark), top, self._x(mark), bottom), fill=_GRID, width=_FINE)
        for tick in strip.ticks:
            y = self._y(strip, tick, top, bottom)
            draw.line((self._left, y, self._right, y), fill=_GRID, width=_FINE)
            draw.text((self._left - 4 * _FINE, y), f"{tick:g}", fill=_TEXT, anchor="rm", font=self._font)
        self._draw_title(draw, strip, top - 4 * _FINE)

    def _draw_title(self, draw: ImageDraw.ImageDraw, strip: Strip, y: float) -> None:
        """The title, then the labels of the curves in their colours."""
        x = float(self._left)
        for text, color in [(strip.title, _TEXT), *((curve.label, curve.color) for curve in strip.curves)]:
            draw.text((x, y), text, fill=color, anchor="ls", font=self._font)
            x += draw.textlength(f"{text}   ", font=self._font) if text else 0

    def _draw_curve(self, draw: ImageDraw.ImageDraw, strip: Strip, curve: Curve, top: int, bottom: int) -> None:
        for t, value in enumerate(curve.values):
            if curve.steps and math.isfinite(value):
                bar = (self._x(t - 0.5), self._y(strip, value, top, bottom), self._x(t + 0.5), bottom)
                draw.rectangle(bar, fill=curve.color)
        if curve.steps:
            return
        points = [(self._x(t), self._y(strip, value, top, bottom)) for t, value in enumerate(curve.values)]
        for t, (one, other) in enumerate(pairwise(points)):
            if math.isfinite(curve.values[t]) and math.isfinite(curve.values[t + 1]):
                draw.line((*one, *other), fill=curve.color, width=2 * _FINE)

    def _scaled(self, canvas: Image.Image) -> UInt8Array:
        return np.array(canvas.resize(self.size, Image.Resampling.BOX))
