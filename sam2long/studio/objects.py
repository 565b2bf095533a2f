"""An object as a person sees it: a number, a name, a colour, and where it was shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sam2long.studio.steps import Step
from sam2long.views.visualize import Color

MAX_OBJECTS = 255
"""Formats that give every pixel the number of its object know no more."""
MAX_NAME = 60
# Colours that are told apart on most videos, by people who see few of them too (after Okabe and Ito).
_COLORS: tuple[Color, ...] = (
    (46, 170, 255), (255, 92, 138), (92, 219, 120), (190, 130, 255),
    (255, 159, 28), (80, 230, 210), (250, 224, 70), (235, 87, 70),
)  # fmt: skip


@dataclass
class StudioObject:
    """One object.

    Attributes:
        obj_id: from 1; given again only where adding the object was undone.
        shown: frame index -> what was shown there, in order.
    """

    obj_id: int
    name: str
    color: Color
    shown: dict[int, tuple[Step, ...]] = field(default_factory=dict)

    @classmethod
    def new(cls, obj_id: int) -> StudioObject:
        return cls(obj_id, f"Object {obj_id}", _COLORS[(obj_id - 1) % len(_COLORS)])


def checked_name(text: str) -> str:
    """A name in one line.

    Raises:
        ValueError: if nothing is left, or it is too long.
    """
    name = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not name:
        raise ValueError("An object needs a name.")
    if len(name) > MAX_NAME:
        raise ValueError(f"The name has {len(name)} letters; {MAX_NAME} at most.")
    return name


def checked_color(text: str) -> Color:
    """RGB of what a colour picker gives: `#ff8000`, or `rgb(255, 128, 0)` with or without a fourth number.

    Raises:
        ValueError: if it is neither.
    """
    if found := re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text.strip()):
        red, green, blue = (int(channel, 16) for channel in found.groups())
        return red, green, blue
    numbers = re.fullmatch(r"rgba?\(([\d.]+), *([\d.]+), *([\d.]+)(?:, *[\d.]+)?\)", text.strip())
    if numbers is None:
        raise ValueError(f"{text!r} is no colour: one looks like #ff8000")
    red, green, blue = (min(255, round(float(channel))) for channel in numbers.groups())
    return red, green, blue


def hex_of(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
