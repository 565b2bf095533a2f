"""What a video file's header says beyond its frames: how they are to be shown, and how many there should be."""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from typing import Any

import numpy as np

from sam2long.frames.display import Display
from sam2long.frames.video_index import Numbers, VideoIndex

logger = logging.getLogger(__name__)

_HIGHEST_RATE = 240
"""Frames per second; damaged headers claim rates like 90000, and players refuse them."""


def display_of(stream: Any, index: VideoIndex, *, turned: bool) -> Display:
    """Of a video file; `turned` if its frames are given a quarter turn from how they are stored."""
    rate = stream.average_rate
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 100) < aspect < 100:  # 0/1 and the like: not known
        aspect = Fraction(1)
    ticks = index.frame_pts - index.frame_pts[0] if index.by_time_stamp else None
    if ticks is not None and _are_even(ticks):
        ticks = None
    return Display(
        frame_rate=Fraction(rate) if rate and 0 < rate <= _HIGHEST_RATE else None,
        pixel_aspect=1 / Fraction(aspect) if turned else Fraction(aspect),
        ticks=ticks,
        tick=Fraction(stream.time_base or 1),
    )


def _are_even(ticks: Numbers) -> bool:
    """Whether the time between frames is the same, but for rounding to a fine enough clock."""
    if len(ticks) <= 2:
        return True
    steps = np.diff(ticks)
    return bool(np.ptp(steps) == 0 or (np.ptp(steps) == 1 and steps.min() >= 8))


def warn_if_cut(container: Any, stream: Any, index: VideoIndex, label: str) -> None:
    """Log that a file holds less than its header says: Matroska and others break off without an error."""
    promised = _promised_seconds(container, stream)
    if promised is None or not index.by_time_stamp:
        return
    shown = float((index.frame_pts[-1] - index.frame_pts[0]) * stream.time_base)
    one = shown / (index.num_frames - 1) if index.num_frames > 1 else 1 / float(stream.average_rate or 25)
    if shown + 2 * one < 0.9 * promised:
        logger.warning(
            "%s is cut off: its header says %.4g s, its %d frames end after %.4g s",
            label, promised, index.num_frames, shown + one,
        )  # fmt: skip


def _promised_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska says it of each track: 00:00:02.400000000
    texts = [value for key, value in stream.metadata.items() if key.upper().startswith("DURATION")]
    if texts and (match := re.fullmatch(r"(\d+):(\d+):([\d.]+)", texts[0])):
        return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
    is_alone = len(container.streams) == 1  # or it may be a longer sound's
    return container.duration / 1e6 if is_alone and container.duration else None
