"""Doubt: a mask that looks unlike the object, or of which the decoder is unsure, has to show where it comes from.

Looks alone refuse too much: an object behind bars, turned or far away looks unlike itself, too. So they only raise a
doubt, as do a low occlusion score, a jump and a return; the doubtful mask is followed backwards, and silenced only if
it is found elsewhere (`alibi`), or if it turns up and looks more like a rival that was seen beside the object than like
the object (`rivals`). Of 1,198 masks so doubted (56 clips of the split `val`, embedded model, confirming from
an overlap of 0.3 on) 308 were found elsewhere, 23 of them right; of those that following said nothing of, a third was.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from sam2long.policies.alibi import AlibiRule, Carried
from sam2long.policies.appearance import AppearanceRule, Looks, appearance_of, similarity
from sam2long.policies.numbers import not_visible
from sam2long.policies.rivals import Rivals, RivalsRule
from sam2long.search.policy import Audit, Note, Policy, Situation
from sam2long.search.selection import Candidate


class Doubts(NamedTuple):
    """What a pathway carries on.

    Attributes:
        alibi: the last mask, and the rival that was refused; None where nothing lies before.
        looks: of the object; None before a mask was shown.
        audited: the frame of the last audit; None before there was one.
        rivals: what was seen beside the object, or was refused.
    """

    alibi: Carried | None = Carried()
    looks: Looks | None = None
    audited: int | None = None
    rivals: Rivals = ()


@dataclass(frozen=True)
class DoubtRule:
    """The rule's numbers. Likeness is the similarity to the first mask, over what is usual for the object.

    Attributes:
        alibi: how masks are followed backwards, and what is made of it.
        appearance: how looks are learned.
        rivals: how rivals are.
        unlike: likeness below which a mask is doubtful.
        unsure: occlusion score below which it is.
        certain: likeness of a frame that can be relied on, at least.
        pause: frames after an audit on which looks and score raise no other.
    """

    alibi: AlibiRule = field(default_factory=AlibiRule)
    appearance: AppearanceRule = field(default_factory=AppearanceRule)
    rivals: RivalsRule = field(default_factory=RivalsRule)
    unlike: float = 0.9
    unsure: float = 1.5
    certain: float = 0.92
    pause: int = 4

    def policy(self, name: str) -> Policy:
        """The rule as a policy."""
        return Policy(
            name,
            frozenset({"masks", "appearance"}),
            propose=self.propose,
            across=self.across,
            note=self.note,
            advance=self.advance,
            audit=self.alibi.following(Audit(self.suspects, self.is_certain, self.judge)),
        )

    def propose(self, candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        """The decoder's candidates; one that is the rival of the frame before, or looks like one, is "not visible"."""
        candidates = self.alibi.propose(candidates, _of_alibi(situation))
        return [not_visible(c) if self._looks_like_a_rival(c, situation) else c for c in candidates]

    def _looks_like_a_rival(self, candidate: Candidate, situation: Situation) -> bool:
        doubts = _doubts(situation)
        # The cheap question first: while nothing is doubtful, masks are not compared.
        if doubts is None or not doubts.rivals or not self._is_doubtful(candidate, doubts):
            return False
        turns_up = self.alibi.turns_up(candidate, _of_alibi(situation))
        return turns_up and self.rivals.is_one(candidate, doubts.looks, doubts.rivals)

    def _is_doubtful(self, candidate: Candidate, doubts: Doubts) -> bool:
        return candidate.occlusion_score < self.unsure or likeness(candidate, doubts.looks) < self.unlike

    def suspects(self, candidate: Candidate, situation: Situation) -> bool:
        """Whether the object turns up again, jumps, looks unlike itself or hardly shows."""
        doubts = _doubts(situation)
        if doubts is None or candidate.occlusion_score <= 0 or not _has_mask(candidate):
            return False
        of_alibi = _of_alibi(situation)
        if not self.alibi.may_follow(of_alibi):
            return False
        if self.alibi.turns_up(candidate, of_alibi):
            return True
        rests = doubts.audited is not None and abs(situation.frame_idx - doubts.audited) <= self.pause
        return not rests and self._is_doubtful(candidate, doubts)

    def is_certain(self, frame: Any) -> bool:
        """Whether an earlier mask of the pathway can be relied on: by its scores, its looks, and as one not doubted."""
        return self.alibi.is_certain(frame) and (len(frame.note) < 3 or frame.note[2] >= self.certain)

    def judge(self, suspect: Candidate, situation: Situation) -> Candidate:
        """The suspect, or "not visible" where it is an impostor."""
        return self.alibi.judge(suspect, _of_alibi(situation))

    def note(self, chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
        """The alibi check's, and the mask's likeness, 0 where it is not shown."""
        doubts = _doubts(situation) or Doubts()
        shown = likeness(chosen, doubts.looks) if chosen.occlusion_score > 0 else 0.0
        return (*self.alibi.note(chosen, decoded, _of_alibi(situation)), shown)

    def advance(self, chosen: Candidate, situation: Situation) -> Doubts:
        """What its pathway carries on."""
        doubts, alibi = _doubts(situation) or Doubts(), self.alibi.advance(chosen, _of_alibi(situation))
        looks = self.appearance.advance(chosen, replace(situation, carry=doubts.looks))
        audited = situation.frame_idx if chosen.evidence.sighting else doubts.audited
        return Doubts(alibi, looks, audited, self._rivals(chosen, situation, doubts, alibi))

    def _rivals(self, chosen: Candidate, situation: Situation, doubts: Doubts, alibi: Carried) -> Rivals:
        sighting = chosen.evidence.sighting
        if sighting and self.alibi.says(sighting) == "refused" and chosen.occlusion_score <= 0:
            return self.rivals.with_one(doubts.rivals, chosen)
        known = doubts.looks is not None and _has_mask(chosen) and chosen.occlusion_score > 0
        if not known or alibi.doubted or likeness(chosen, doubts.looks) < self.certain:
            return doubts.rivals
        return self.rivals.learned(doubts.rivals, chosen, situation.decoded)

    def across(self, carry: Hashable) -> Hashable:
        """What the object and its rivals look like holds wherever its track goes on; where they were does not."""
        doubts = _as_doubts(carry)
        return doubts and Doubts(None, doubts.looks, None, doubts.rivals)


def likeness(candidate: Candidate, looks: Looks | None) -> float:
    """Similarity of a candidate to the object's first mask, over what is usual; 1 before anything is known."""
    if looks is None:
        return 1.0
    return similarity(appearance_of(candidate), np.asarray(looks.first, dtype=np.float32)) / max(looks.usual, 1e-6)


def _doubts(situation: Situation) -> Doubts | None:
    return _as_doubts(situation.carry)


def _as_doubts(carry: Hashable) -> Doubts | None:
    if not isinstance(carry, tuple) or len(carry) != len(Doubts()) or not isinstance(carry[0], tuple | None):
        return None  # another policy's
    alibi, looks, audited, rivals = carry
    return Doubts(Carried(*alibi) if alibi else None, Looks(*looks) if looks else None, audited, rivals)


def _of_alibi(situation: Situation) -> Situation:
    doubts = _doubts(situation)
    return replace(situation, carry=doubts.alibi if doubts else None)


def _has_mask(candidate: Candidate) -> bool:
    return candidate.evidence.mask is not None and bool(candidate.evidence.mask.any())


POLICY = DoubtRule().policy("doubt")
