"""Motion (SAMURAI, arXiv 2411.11922): a constant-velocity Kalman filter per pathway helps to choose among its masks.

Where motion is not linear it costs (published: TNL2K 56.7 -> 50.6, MOSE 74.5 -> 72.6); it gains where a single object
moves smoothly (LaSOT 68.5 -> 74.2). The filter's constants are DeepSORT's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2long.config import MemoryTreeConfig
from sam2long.policies.numbers import Box, box_iou, box_of, shown
from sam2long.search.policy import Memory, Note, Policy, Situation
from sam2long.search.selection import Candidate, cumulative_score, with_newest

Array = NDArray[np.float64]

_STABLE = 15  # frames before the filter has a say
_WEIGHT = 0.15  # of motion against predicted IoU
_MIN_IOU = 0.3
_MIN_REMEMBERED_IOU = 0.5
_NO_PREDICTION = -1.0
_STD_POSITION, _STD_VELOCITY = 1 / 20, 1 / 160  # of the box's height
_MOTION: Array = np.eye(8) + np.eye(8, k=4)


@dataclass(frozen=True)
class Filter:
    """A pathway's Kalman filter on (centre x, centre y, width / height, height) and their velocities per frame.

    Attributes:
        stable: for how many frames it has followed the object; 0: it knows nothing.
        mean: 8 numbers, low-res pixels.
        covariance: 64 numbers, row by row.
    """

    stable: int = 0
    mean: tuple[float, ...] = ()
    covariance: tuple[float, ...] = ()

    @classmethod
    def from_carry(cls, carry: Any) -> Filter:
        """What a pathway carries, as a filter."""
        return cls(*carry) if carry else cls()

    @property
    def carry(self) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
        """The filter as plain tuples, which can be saved."""
        return self.stable, self.mean, self.covariance

    @classmethod
    def started_at(cls, box: Box) -> Filter:
        """A filter at rest on a box."""
        mean = np.concatenate([_measured(box), np.zeros(4)])
        height = mean[3]
        position, velocity = 2 * _STD_POSITION * height, 10 * _STD_VELOCITY * height
        std = np.array([position, position, 1e-2, position, velocity, velocity, 1e-5, velocity])
        return cls._of(1, mean, np.diag(std**2))

    @classmethod
    def _of(cls, stable: int, mean: Array, covariance: Array) -> Filter:
        return cls(stable, tuple(mean.tolist()), tuple(covariance.ravel().tolist()))

    def predicted(self) -> Filter:
        """One frame on."""
        mean, covariance = self._arrays()
        height = mean[3]
        position, velocity = _STD_POSITION * height, _STD_VELOCITY * height
        std = np.array([position, position, 1e-2, position, velocity, velocity, 1e-5, velocity])
        return self._of(self.stable, _MOTION @ mean, _MOTION @ covariance @ _MOTION.T + np.diag(std**2))

    def updated(self, box: Box) -> Filter:
        """After seeing a box, one frame more stable."""
        mean, covariance = self._arrays()
        position = _STD_POSITION * mean[3]
        noise = np.diag(np.array([position, position, 1e-1, position]) ** 2)
        gain = np.linalg.solve(covariance[:4, :4] + noise, covariance[:4]).T  # (8, 4)
        mean = mean + gain @ (_measured(box) - mean[:4])
        covariance = covariance - gain @ (covariance[:4, :4] + noise) @ gain.T
        return self._of(self.stable + 1, mean, covariance)

    @property
    def box(self) -> Box:
        """Where it believes the object to be."""
        x, y, aspect, height = self.mean[:4]
        width = aspect * height
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def _arrays(self) -> tuple[Array, Array]:
        return np.array(self.mean), np.array(self.covariance).reshape(8, 8)  # 64 numbers -> (8, 8)


def _measured(box: Box) -> Array:
    x0, y0, x1, y1 = box
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / (y1 - y0), y1 - y0])


def _prediction(carry: Any) -> Filter | None:
    """The filter one frame on, once it has a say."""
    before = Filter.from_carry(carry)
    return before.predicted() if before.stable >= _STABLE else None


def _motion_iou(prediction: Filter, candidate: Candidate) -> float:
    box = box_of(shown(candidate))
    return 0.0 if box is None else box_iou(prediction.box, box)


def weigh_by_motion(candidate: Candidate, situation: Situation) -> float:
    """Once the filter is stable, 0.15 motion IoU + 0.85 predicted IoU takes the place of predicted IoU."""
    prediction = _prediction(situation.carry)
    if prediction is None:
        return 0.0
    weighed = _WEIGHT * _motion_iou(prediction, candidate) + (1 - _WEIGHT) * candidate.predicted_iou
    return cumulative_score(0.0, weighed) - cumulative_score(0.0, candidate.predicted_iou)


def note_motion(chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
    """(IoU of the mask's box with the predicted one,), -1 where nothing was predicted."""
    prediction = _prediction(situation.carry)
    return (_NO_PREDICTION if prediction is None else _motion_iou(prediction, chosen),)


def advance_filter(chosen: Candidate, situation: Situation) -> tuple[Any, ...]:
    """The filter after the frame."""
    before, box = Filter.from_carry(situation.carry), box_of(shown(chosen))
    if before.stable == 0:
        return (Filter() if box is None else Filter.started_at(box)).carry
    # While it settles a frame must be better than the threshold, afterwards not worse.
    lost = chosen.predicted_iou <= _MIN_IOU if before.stable < _STABLE else chosen.predicted_iou < _MIN_IOU
    if lost:
        return Filter().carry
    predicted = before.predicted()
    return (predicted if box is None else predicted.updated(box)).carry


def remember_moving(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
    """The newest frame, and of all those that are good, visible and where they were expected."""
    kept = tuple(frame for frame in (*memory.recent, newest) if _is_expected(frame))
    return Memory(memory.anchors, with_newest(kept, newest, capacity))


def _is_expected(frame: Any) -> bool:
    overlap = frame.note[0] if frame.note else _NO_PREDICTION
    trusted = frame.predicted_iou > _MIN_REMEMBERED_IOU and frame.occlusion_score > 0
    return bool(trusted and (overlap == _NO_PREDICTION or overlap > 0))


POLICY = Policy(
    "motion",
    frozenset({"masks"}),
    weigh=weigh_by_motion,
    note=note_motion,
    advance=advance_filter,
    remember=remember_moving,
)
