"""Appearance says whether it is the object: a mask that looks unlike the object as it was at first counts as absent.

The image encoder's features tell things apart that the occlusion score does not. On masks that a tree proposed for
synthetic clips (24 of the split `val`, embedded model), right answers were told from wrong ones by their similarity at
the coarsest level with an AUC of 0.84 (with the finest beside it 0.85); by the occlusion score with 0.68, by the
predicted IoU with 0.75 (`docs/policies.md`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sam2long.policies.numbers import not_visible
from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate


class Looks(NamedTuple):
    """What a pathway carries on.

    Attributes:
        first: the appearance of the first mask it tracked, which is the nearest to the prompt's.
        usual: mean similarity of the masks that were shown since, over the first few of them.
        num_shown: how many they were.
    """

    first: tuple[float, ...]
    usual: float = 1.0
    num_shown: int = 0


@dataclass(frozen=True)
class AppearanceRule:
    """The rule's numbers.

    Attributes:
        share: of the usual similarity, below which a mask is not the object's.
        learned_from: how many frames the usual similarity is learned from, so that it suits the model and the object.
    """

    share: float = 0.8
    learned_from: int = 10

    def policy(self, name: str) -> Policy:
        """The rule as a policy."""
        return Policy(name, frozenset({"appearance"}), propose=self.propose, advance=self.advance, across=self.across)

    def propose(self, candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        """The decoder's candidates; those that look unlike the object are "not visible"."""
        looks = _looks(situation)
        if looks is None:
            return candidates
        least = self.share * looks.usual
        first = np.asarray(looks.first, dtype=np.float32)
        return [
            not_visible(c) if c.occlusion_score > 0 and similarity(appearance_of(c), first) < least else c
            for c in candidates
        ]

    def advance(self, chosen: Candidate, situation: Situation) -> Looks | None:
        """See `Looks`; nothing is carried before a mask was shown."""
        looks, shown = _looks(situation), chosen.occlusion_score > 0
        if looks is None:
            appearance = appearance_of(chosen)
            return Looks(tuple(appearance.tolist())) if shown and appearance.any() else None
        if not shown or looks.num_shown >= self.learned_from:
            return looks
        similar = similarity(appearance_of(chosen), np.asarray(looks.first, dtype=np.float32))
        count = looks.num_shown + 1
        return Looks(looks.first, (looks.usual * looks.num_shown + similar) / count, count)

    def across(self, carry: Hashable) -> Hashable:
        """What the object looks like holds wherever its track goes on."""
        return carry


def appearance_of(candidate: Candidate) -> NDArray[np.float32]:
    """The candidate's appearance [C], which the policy wants."""
    appearance = candidate.evidence.appearance
    assert appearance is not None, "this policy wants appearance"
    return appearance


def similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Cosine of two appearances, in [-1, 1]; 0 where a mask was empty."""
    norms = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / norms if norms else 0.0


def _looks(situation: Situation) -> Looks | None:
    return Looks(*situation.carry) if isinstance(situation.carry, tuple) else None


POLICY = AppearanceRule().policy("appearance")
