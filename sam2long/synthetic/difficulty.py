"""What makes a synthetic clip hard, and the named settings of it."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

Range = tuple[float, float]
Count = tuple[int, int]
_SHARES = ("swap", "fog", "dimming", "drift", "camera")
_COUNTS = ("bystanders", "doubles", "meetings", "bars", "occlusion_frames", "absences", "absence_frames")


@dataclass(frozen=True)
class Difficulty:
    """What makes a clip hard. Ranges are inclusive; event counts are per 60 frames (at least that many a clip).

    Attributes:
        size: half-width of the object, in half frames.
        speed: motion per frame, in half frames.
        bystanders, doubles: how many other objects, and how many look-alikes of the tracked one.
        similarity: 0 a look-alike only by outline, 1 indistinguishable.
        meetings: look-alikes crossing or touching the object.
        swap: chance that a look-alike meets the object where a bar hides it.
        bars, occlusion_frames: occluders met and about how long each hides the object.
        fog: chance that an occluder is see-through.
        absences, absence_frames: leaving the frame, and for how long.
        dimming: how dark it gets around an event, 0..1.
        drift: change of size, angle and light over time, 0..1.
        camera: camera motion, 0..1.
    """

    size: Range = (0.15, 0.3)
    speed: Range = (0.01, 0.03)
    bystanders: Count = (0, 2)
    doubles: Count = (0, 0)
    similarity: Range = (0.5, 0.8)
    meetings: Count = (0, 0)
    swap: float = 0.0
    bars: Count = (0, 0)
    occlusion_frames: Count = (5, 14)
    fog: float = 0.0
    absences: Count = (0, 0)
    absence_frames: Count = (10, 20)
    dimming: float = 0.0
    drift: float = 0.3
    camera: float = 0.3

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value <= 1):
                raise ValueError(f"{name}={value} is out of range; choose a number from 0 to 1")
        for name, value in vars(self).items():
            if name not in _SHARES:
                self._check_range(name, value)

    def _check_range(self, name: str, value: Any) -> None:
        try:
            low, high = value
            in_order = 0 <= low <= high
        except (TypeError, ValueError):
            in_order = False
        if not in_order:
            raise ValueError(f"{name}={value} is no range; give (low, high) with 0 <= low <= high")
        if name == "similarity" and high > 1:
            raise ValueError(f"similarity={value} is out of range; choose numbers from 0 to 1")
        if name in _COUNTS and not all(isinstance(bound, numbers.Integral) for bound in value):
            raise ValueError(f"{name}={value} counts; give whole numbers")


SUITES: dict[str, Difficulty] = {
    "easy": Difficulty(),
    "occlusion": Difficulty(
        bars=(2, 3), doubles=(1, 2), similarity=(0.6, 0.85), swap=0.6, fog=0.25, drift=0.5, dimming=0.2
    ),
    "distractor": Difficulty(
        doubles=(1, 2), similarity=(0.5, 0.85), meetings=(2, 4), bars=(0, 1), dimming=0.5, drift=0.4
    ),
    "reappear": Difficulty(
        absences=(1, 2), absence_frames=(10, 24), doubles=(1, 2), similarity=(0.5, 0.8), drift=0.7, camera=0.4
    ),
    "crowd": Difficulty(
        size=(0.12, 0.2),
        bystanders=(2, 4),
        doubles=(3, 4),
        similarity=(0.6, 0.9),
        meetings=(1, 2),
        bars=(1, 2),
        swap=0.4,
    ),
}

# Long video is the point of a memory: the object leaves again and again, and a look-alike stays.
LONG_SUITES: dict[str, Difficulty] = {
    "long": Difficulty(
        absences=(1, 1),
        absence_frames=(10, 30),
        doubles=(1, 2),
        similarity=(0.5, 0.85),
        meetings=(0, 1),
        bars=(0, 1),
        drift=0.6,
        camera=0.4,
    ),
    "longest": Difficulty(
        absences=(1, 1),
        absence_frames=(10, 40),
        doubles=(1, 2),
        similarity=(0.5, 0.85),
        meetings=(0, 1),
        drift=0.5,
        camera=0.2,
    ),
}
ALL_SUITES = SUITES | LONG_SUITES
_FRAMES = {"long": 300, "longest": 1000}


def frames_of(suite: str) -> int:
    """How many frames a clip of the suite has, unless one asks for another length."""
    return _FRAMES.get(suite, 60)
