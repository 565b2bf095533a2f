"""What a person shows of an object on a frame, step by step: clicks, a box, a mask. Steps travel as JSON."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from sam2long.views.visualize import BoolArray


@dataclass(frozen=True)
class Click:
    """A point in pixels of the video, on the object (`positive`) or beside it."""

    x: float
    y: float
    positive: bool = True

    def show(self, predictor: Any, state: Any, frame_idx: int, obj_id: int) -> None:
        """Add it to what was shown on the frame."""
        points, labels = [[self.x, self.y]], [int(self.positive)]
        predictor.add_new_points_or_box(state, frame_idx, obj_id, points=points, labels=labels, clear_old_points=False)

    def saved(self) -> dict[str, Any]:
        return {"click": [float(self.x), float(self.y)], "positive": self.positive}


@dataclass(frozen=True)
class Box:
    """A box around the object: two corners in pixels of the video, x0 <= x1 and y0 <= y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    @classmethod
    def between(cls, one: tuple[float, float], other: tuple[float, float]) -> Box:
        """From two opposite corners, whichever they are."""
        (xa, ya), (xb, yb) = one, other
        return cls(min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))

    def show(self, predictor: Any, state: Any, frame_idx: int, obj_id: int) -> None:
        """Show it in place of what was shown on the frame."""
        box = [self.x0, self.y0, self.x1, self.y1]
        predictor.add_new_points_or_box(state, frame_idx, obj_id, box=box)

    def saved(self) -> dict[str, Any]:
        return {"box": [float(value) for value in (self.x0, self.y0, self.x1, self.y1)]}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A mask, bool [H, W] of the video's size: painted, read from a file, or one of the alternatives."""

    mask: BoolArray

    def show(self, predictor: Any, state: Any, frame_idx: int, obj_id: int) -> None:
        """Show it in place of what was shown on the frame."""
        predictor.add_new_mask(state, frame_idx, obj_id, self.mask)

    def saved(self) -> dict[str, Any]:
        file = io.BytesIO()
        Image.fromarray(self.mask).save(file, format="PNG")
        return {"mask": base64.b64encode(file.getvalue()).decode("ascii")}


Step = Click | Box | Drawn


def with_step(steps: Sequence[Step], step: Step) -> tuple[Step, ...]:
    """What is shown on a frame once a step is added: clicks refine, a box or a mask begins anew."""
    return (*steps, step) if isinstance(step, Click) else (step,)


def saved(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as JSON."""
    return [step.saved() for step in steps]


def restored(records: Sequence[dict[str, Any]]) -> tuple[Step, ...]:
    """What `saved` gave.

    Raises:
        ValueError, KeyError, TypeError, OSError: if it is damaged.
    """
    return tuple(_restored(record) for record in records)


def _restored(record: dict[str, Any]) -> Step:
    if "click" in record:
        x, y = record["click"]
        return Click(float(x), float(y), bool(record["positive"]))
    if "box" in record:
        return Box(*(float(value) for value in record["box"]))
    with Image.open(io.BytesIO(base64.b64decode(record["mask"]))) as image:
        return Drawn(np.array(image.convert("1")))


def digest(steps: Sequence[Step]) -> str:
    """Equal for equal steps."""
    return hashlib.sha256(json.dumps(saved(steps)).encode()).hexdigest()[:16]
