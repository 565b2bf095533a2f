"""Scores that forget: a long good past does not outvote the present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate, cumulative_score


@dataclass(frozen=True)
class DecayingScores:
    """Scores a candidate by its pathway's score, faded, plus the logarithm of its predicted IoU.

    Attributes:
        decay: what is left of the past after each frame, in (0, 1]; 1 is the paper's sum.
    """

    decay: float = 0.9

    def __call__(self, candidates: Sequence[Candidate], situation: Situation) -> list[Candidate]:
        past = self.decay * situation.parent_score
        return [replace(c, score=cumulative_score(past, c.predicted_iou)) for c in candidates]


POLICY = Policy("forgetting", propose=DecayingScores())
