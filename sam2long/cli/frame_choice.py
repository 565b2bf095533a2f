"""Which frames of a video are tracked: `--frames A:B` and `--every N`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sam2long.cli.errors import UserError
from sam2long.cli.prompts import Prompt


@dataclass(frozen=True)
class FrameChoice:
    """Every `every`-th frame from `first` on and before `end` (None: the video's)."""

    first: int = 0
    end: int | None = None
    every: int = 1

    def __str__(self) -> str:
        return f"{self.first}:{'' if self.end is None else self.end}:{self.every}"

    def of(self, num_frames: int | None) -> range:
        """The frames of a video of so many (None: a stream's).

        Raises:
            UserError: if there are none.
        """
        length = sys.maxsize if num_frames is None else num_frames
        chosen = range(self.first, length if self.end is None else min(self.end, length), self.every)
        if not chosen:
            raise UserError(f"--frames {self.first}: is beyond the video, which has frames 0 to {length - 1}")
        return chosen


ALL = FrameChoice()


def frames_option(text: str) -> tuple[int, int | None]:
    """Parse `A:B`; either may be left out."""
    parts = text.split(":")
    try:
        first, end = (int(part) if part else None for part in parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A:B, frames A to B - 1, got {text!r}") from None
    if (first or 0) < 0 or (end is not None and end <= (first or 0)):
        raise argparse.ArgumentTypeError(f"expected A:B with 0 <= A < B, frames A to B - 1, got {text!r}")
    return first or 0, end


def every_option(text: str) -> int:
    """Parse a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def among_chosen(prompts: Sequence[Prompt], chosen: range) -> list[Prompt]:
    """The prompts, their frames counted among the chosen ones.

    Raises:
        UserError: for one on another frame.
    """
    for prompt in prompts:
        if prompt.frame_idx not in chosen:
            near = min(max(prompt.frame_idx, chosen[0]), chosen[-1])
            near = chosen[(near - chosen.start) // chosen.step]
            raise UserError(
                f"{prompt.origin}frame {prompt.frame_idx} is not among those that --frames and --every choose: "
                f"show the object on frame {near}"
            )
    return [replace(prompt, frame_idx=chosen.index(prompt.frame_idx)) for prompt in prompts]


def add_upright_argument(group: Any) -> None:
    """How images with an EXIF tag are read."""
    group.add_argument(
        "--no-upright", dest="upright", action="store_false",
        help="read images as they are stored, whatever their EXIF orientation, as SAM 2 does",
    )  # fmt: skip
