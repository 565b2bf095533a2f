"""Prompts: what the user shows of each object, read from options and checked against the video."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam2long.cli.errors import UserError
from sam2long.cli.mask_file import MaskArray, read_masks

Point = tuple[float, float]
Box = tuple[float, float, float, float]

MAX_OBJ_ID = 65535  # a 16-bit PNG holds no larger one


@dataclass(frozen=True)
class Prompt:
    """One object on one frame, shown by clicks and/or a box, or by a mask.

    Attributes:
        frame_idx: position in the video, from 0.
        obj_id: 1 to 65535.
        points: (x, y) in pixels of the video, the origin at the top left.
        labels: one for every point: 1 on the object, 0 not on it.
        box: (x0, y0, x1, y1) in pixels of the video.
        mask: bool [H, W].
        mask_file: where the mask was read.
        origin: where it was given, in front of error messages.
    """

    frame_idx: int
    obj_id: int
    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    mask: MaskArray | None = field(default=None, compare=False)
    mask_file: Path | None = field(default=None, compare=False)
    origin: str = field(default="", compare=False)

    @property
    def is_lost(self) -> bool:
        """Whether it is a run's of before, whose mask cannot be read any more."""
        return self.mask_file is not None and self.mask is None

    @property
    def is_positive(self) -> bool:
        """Whether it says where the object is, not only where it is not."""
        return self.mask_file is not None or self.mask is not None or self.box is not None or 1 in self.labels


def point_option(text: str) -> tuple[Point, int]:
    """Parse `x,y` or `x,y,label`."""
    numbers = _numbers(text)
    if numbers is None or len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] not in (0, 1)):
        raise argparse.ArgumentTypeError(f"expected x,y or x,y,label with label 1 (object) or 0 (not), got {text!r}")
    return (numbers[0], numbers[1]), int(numbers[2]) if len(numbers) == 3 else 1


def box_option(text: str) -> Box:
    """Parse `x0,y0,x1,y1`."""
    numbers = _numbers(text)
    if numbers is None or len(numbers) != 4:
        raise argparse.ArgumentTypeError(f"expected x0,y0,x1,y1, got {text!r}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _numbers(text: str) -> list[float] | None:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def prompts_from_options(
    points: Sequence[tuple[Point, int]], box: Box | None, mask: Path | None, frame_idx: int, obj_id: int | None
) -> list[Prompt]:
    """The prompts of `--point`, `--box` or `--mask` on one frame; empty if none was given."""
    if mask is not None:
        if points or box is not None:
            raise UserError("--mask already says which pixels are the object: give it without --point and --box")
        masks = read_masks(mask, obj_id)
        origin = f"mask {mask}: "
        return [Prompt(frame_idx, k, mask=pixels, mask_file=mask, origin=origin) for k, pixels in masks.items()]
    if not points and box is None:
        return []
    return [
        Prompt(
            frame_idx,
            1 if obj_id is None else obj_id,
            points=tuple(point for point, _ in points),
            labels=tuple(label for _, label in points),
            box=box,
        )
    ]


def check_prompts(prompts: Sequence[Prompt], *, num_frames: int, height: int, width: int) -> None:
    """Refuse prompts that cannot work on a video of this size.

    Raises:
        UserError: for the first prompt that does not fit the video, that repeats another's frame and object,
            and for an object that is never shown.
    """
    seen: set[tuple[int, int]] = set()
    for prompt in prompts:
        try:
            _check_fits(prompt, num_frames, height, width)
        except UserError as error:
            raise UserError(f"{prompt.origin}{error}") from None
        key = (prompt.frame_idx, prompt.obj_id)
        if key in seen:
            raise UserError(
                f"{prompt.origin}object {prompt.obj_id} has another prompt on frame {prompt.frame_idx}: "
                "give its points and box together, or its mask alone"
            )
        seen.add(key)
    for prompt in prompts:
        if not any(other.is_positive for other in prompts if other.obj_id == prompt.obj_id):
            raise UserError(
                f"{prompt.origin}object {prompt.obj_id} is unknown: it has only points that are not on it "
                "(label 0); add a point with label 1, a box or a mask"
            )


def _check_fits(prompt: Prompt, num_frames: int, height: int, width: int) -> None:
    if not 0 <= prompt.frame_idx < num_frames:
        raise UserError(f"frame {prompt.frame_idx} is out of range: the video has frames 0 to {num_frames - 1}")
    if not 1 <= prompt.obj_id <= MAX_OBJ_ID:
        raise UserError(f"object id {prompt.obj_id} is out of range: ids go from 1 to {MAX_OBJ_ID}")
    size = f"the frame, {width} x {height} pixels"
    _check_pixels(prompt, size)
    for x, y in prompt.points:
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(f"point ({x:g}, {y:g}) lies outside {size}")
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        shown = f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g})"
        if not (x0 < x1 and y0 < y1):
            raise UserError(f"{shown} is empty: it needs x0 < x1 and y0 < y1")
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise UserError(f"{shown} reaches outside {size}")
    if prompt.mask is not None and prompt.mask.shape != (height, width):
        mask_height, mask_width = prompt.mask.shape
        raise UserError(f"the mask is {mask_width} x {mask_height} pixels, {size}")


def _check_pixels(prompt: Prompt, size: str) -> None:
    """Refuse coordinates that are given as fractions of the frame."""
    numbers = [number for point in prompt.points for number in point] + list(prompt.box or ())
    # 0 and 1 are pixels too, but a box between them has none.
    is_point_of_pixels = prompt.box is None and all(number == int(number) for number in numbers)
    if numbers and all(0 <= number <= 1 for number in numbers) and not is_point_of_pixels:
        shown = ", ".join(f"{number:g}" for number in numbers[:4])
        raise UserError(f"coordinates are pixels of {size}; {shown} are fractions of it: multiply by its size")


def without(earlier: Sequence[Prompt], later: Sequence[Prompt]) -> list[Prompt]:
    """The earlier prompts whose object and frame no later one shows again."""
    again = {(prompt.frame_idx, prompt.obj_id) for prompt in later}
    return [prompt for prompt in earlier if (prompt.frame_idx, prompt.obj_id) not in again]


def add_to_predictor(predictor: Any, inference_state: Any, prompt: Prompt, frame_idx: int | None = None) -> Any:
    """Hand one prompt to a `SAM2LongVideoPredictor`.

    Args:
        frame_idx: of a stream that begins later than its video; None takes the prompt's.

    Returns:
        (frame_idx, obj_ids, video_res_masks) as SAM 2 gives them.
    """
    if prompt.is_lost:
        raise UserError(
            f"mask {prompt.mask_file} is gone, or is not what it was, and no state was saved that holds it: bring it "
            "back, or track anew with --overwrite"
        )
    target = {"frame_idx": prompt.frame_idx if frame_idx is None else frame_idx, "obj_id": prompt.obj_id}
    if prompt.mask is not None:
        return predictor.add_new_mask(inference_state, mask=prompt.mask, **target)
    clicks: dict[str, Any] = {}
    if prompt.points:
        clicks = {"points": [list(point) for point in prompt.points], "labels": list(prompt.labels)}
    return predictor.add_new_points_or_box(inference_state, box=prompt.box, **clicks, **target)
