"""Scores that forget: a long good past does not outvote the present."""

from __future__ import annotations

from dataclasses import dataclass

from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate


@dataclass(frozen=True)
class DecayingScores:
    """Fades the score of a candidate's pathway; what the frame adds to it stays.

    Attributes:
        decay: what is left of the past after each frame, in (0, 1]; 1 is the paper's sum.
    """

    decay: float = 0.9

    def __call__(self, candidate: Candidate, situation: Situation) -> float:
        return (self.decay - 1.0) * situation.parent_score


POLICY = Policy("forgetting", weigh=DecayingScores())
