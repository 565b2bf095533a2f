"""What is drawn of a memory tree, gathered from its records while they come: bounded, however long the video is."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sam2long.search.records import Cause, HypothesisRecord, TreeRecord

# Frames whose hypotheses are kept; of a longer video the most doubtful stretches.
MAX_FRAMES = 2400
_STRETCH = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """How a frame was decided: for which hypothesis, by what, and on which frame."""

    hypothesis: int
    by: Cause
    decided_on: int


class TreeHistory:
    """The tree of one object over the frames of a video.

    Args:
        obj_id: the object.
        max_frames: how many frames' hypotheses are kept, about; None keeps all.

    Attributes:
        obj_id: the object.
        steps: frame -> its record without candidates, in the order of tracking; of no more than `max_frames`.
        answers: frame -> how it was decided, of those in `steps`.
    """

    def __init__(self, obj_id: Any, max_frames: int | None = MAX_FRAMES) -> None:
        self.obj_id = obj_id
        self.steps: dict[int, TreeRecord] = {}
        self.answers: dict[int, Answer] = {}
        self._max_frames = max_frames
        self._frames, self._doubts = array("l"), array("f")

    @classmethod
    def of(cls, records: Iterable[TreeRecord]) -> dict[Any, TreeHistory]:
        """The whole histories of all objects, by id."""
        histories: dict[Any, TreeHistory] = {}
        for record in records:
            histories.setdefault(record.obj_id, cls(record.obj_id, max_frames=None)).add(record)
        return histories

    def add(self, record: TreeRecord) -> None:
        """Take the next record of the object; a frame that comes again replaces what was there."""
        t = record.frame_idx
        if record.kind != "ended":
            self.steps.pop(t, None)
            self.answers.pop(t, None)
            self.steps[t] = replace(record, candidates=())
            self._frames.append(t)
            self._doubts.append(doubt(record))
        for decision in record.decided:
            if decision.frame_idx in self.steps:
                self.answers[decision.frame_idx] = Answer(decision.hypothesis, decision.by, t)
        if self._max_frames is not None and len(self.steps) > self._max_frames:
            self._forget_a_stretch(t // _STRETCH)

    def _forget_a_stretch(self, newest: int) -> None:
        """The least doubtful one but for the newest."""
        total: dict[int, float] = {}
        for t, record in self.steps.items():
            total[t // _STRETCH] = total.get(t // _STRETCH, 0.0) + doubt(record)
        least = min((of for of in total if of != newest), key=lambda of: total[of])
        for t in [t for t in self.steps if t // _STRETCH == least]:
            del self.steps[t]
            self.answers.pop(t, None)

    def overview(self, num_bins: int) -> tuple[list[float], list[float]]:
        """The most doubt in each of at most `num_bins` parts of the video: the frames these begin with, and doubts."""
        if not self._frames:
            return [], []
        first, last = min(self._frames), max(self._frames)
        width = max(1, math.ceil((last - first + 1) / num_bins))
        bins = [0.0] * ((last - first) // width + 1)
        for t, amount in zip(self._frames, self._doubts, strict=True):
            bins[(t - first) // width] = max(bins[(t - first) // width], amount)
        return [float(first + k * width) for k in range(len(bins))], bins

    @property
    def span(self) -> tuple[int, int]:
        """The first frame and the one behind the last, of all that came.

        Raises:
            ValueError: nothing came.
        """
        if not self._frames:
            raise ValueError("there is nothing to draw: no frame was tracked")
        return min(self._frames), max(self._frames) + 1

    def window(self, size: int) -> tuple[int, int]:
        """The `size` frames (from, to) among `steps` on which the tree was most in doubt; all, if there are no more."""
        first, end = self.span
        if end - first <= size:
            return first, end
        amounts = {t: self._weight(t) for t in self.steps}
        begins = sorted({min(max(t - size // 2, first), end - size) for t in amounts})
        totals = {begin: sum(amounts.get(t, 0.0) for t in range(begin, begin + size)) for begin in begins}
        best = [begin for begin in begins if totals[begin] >= max(totals.values()) - 1e-9]
        begin = best[len(best) // 2]  # what is in doubt lies in the middle
        return begin, begin + size

    def _weight(self, t: int) -> float:
        """Frames whose answer was not the best when they were tracked are what a tree is for."""
        answer = self.answers.get(t)
        return doubt(self.steps[t]) + (2.0 if answer is not None and answer.hypothesis else 0.0)

    def answer(self, t: int) -> tuple[int, HypothesisRecord] | None:
        """The place and scores of the answer of a frame, or of what is best so far; None where the user gave it."""
        hypotheses = self.steps[t].hypotheses
        place = self.answers[t].hypothesis if t in self.answers else 0
        return (place, hypotheses[place]) if place < len(hypotheses) else None


def doubt(record: TreeRecord) -> float:
    """How open a race is, from 0 (one hypothesis) to 1 (two of equal scores)."""
    return math.exp(-record.margin) if record.distinct_pathways > 1 else 0.0


def lanes(steps: Iterable[TreeRecord], answers: dict[int, int]) -> dict[tuple[int, int], int]:
    """Where each hypothesis (frame, place) is drawn: the answers on lane 0, every branch on a lane of its own.

    Args:
        steps: in the order of tracking.
        answers: frame -> the place of its answer.
    """
    lane: dict[tuple[int, int], int] = {}
    for record in steps:
        t, new = record.frame_idx, []
        taken = {0}
        for place, hypothesis in enumerate(record.hypotheses):
            parents = lane.get((record.grows_from if record.grows_from is not None else -1, hypothesis.parent), 0)
            if place == answers.get(t, 0):
                lane[t, place] = 0
            elif parents not in taken:
                lane[t, place] = parents
                taken.add(parents)
            else:
                new.append(place)
        for place in new:
            lane[t, place] = next(k for k in range(1, len(taken) + 1) if k not in taken)
            taken.add(lane[t, place])
    return lane
