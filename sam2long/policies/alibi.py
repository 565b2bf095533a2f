"""The alibi check: a doubtful mask is followed backwards; one that comes from somewhere else is not the object.

Two things seen at the same time are not the same thing. Where the object turns up after an absence, or elsewhere than
it was, the mask is tracked backwards to a frame on which the object was certain. If it is found beside the object
there, having been in sight all the way, it is an impostor: the pathway waits in silence, and knows the impostor while
it moves on. If it lands on the object it is confirmed; if it vanishes on the way, that says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sam2long.policies.numbers import Mask, mask_from_text, mask_iou, mask_to_text, not_visible
from sam2long.search.policy import Audit, Note, Policy, Situation
from sam2long.search.selection import Candidate, Sighting


class Carried(NamedTuple):
    """What a pathway carries on, in terms of low-res masks as text; nothing is carried before its first frame.

    Attributes:
        last: the mask of the frame before; empty where the object was absent, or was refused.
        rival: the mask that was refused, where it was on the frame before; empty if there is none.
        doubted: for how many frames it has not been relied on, since it turned up or jumped and was not confirmed.
        debt: frames that were followed for it beyond what it is allowed.
    """

    last: str = ""
    rival: str = ""
    doubted: int = 0
    debt: float = 0.0


@dataclass(frozen=True)
class AlibiRule:
    """The rule's numbers.

    Attributes:
        jump: a mask that overlaps the frame before's by less is suspicious.
        same: overlaps beyond it are the same thing, on successive frames.
        found: overlap with the object's certain mask beyond which a suspect is confirmed.
        elsewhere: overlap with it up to which it is refused; what lies between says nothing.
        min_area: low-res pixels below which nothing was found.
        unbroken: least overlap of successive masks of a track that was not lost on the way.
        in_sight: occlusion score above which a track must have been all the way: where it saw nothing it may have gone
            over to something else.
        min_occlusion, min_iou: of a certain frame.
        reach: frames back to the certain frame, at most.
        allowance: frames that may be followed for each frame tracked, on average.
        reserve: frames that may be followed at once beyond it; a pathway that has more debt is not checked.
    """

    jump: float = 0.15
    same: float = 0.3
    found: float = 0.5
    elsewhere: float = 0.3
    min_area: int = 8
    unbroken: float = 0.1
    in_sight: float = 1.0
    min_occlusion: float = 2.0
    min_iou: float = 0.5
    reach: int = 40
    allowance: float = 3.0
    reserve: int = 120

    def policy(self, name: str) -> Policy:
        """The rule as a policy."""
        return Policy(
            name,
            frozenset({"masks"}),
            propose=self.propose,
            note=self.note,
            advance=self.advance,
            audit=self.following(Audit(self.suspects, self.is_certain, self.judge)),
        )

    def following(self, audit: Audit) -> Audit:
        """The audit, following masks as far as the rule says."""
        return replace(audit, reach=self.reach, lost=self.unbroken, unseen=self.in_sight)

    def propose(self, candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        """The decoder's candidates; one that overlaps the rival of the frame before is the rival: not the object."""
        carried = _carried(situation)
        if carried is None or not carried.rival:
            return candidates
        rival = mask_from_text(carried.rival)
        return [
            not_visible(c) if c.occlusion_score > 0 and mask_iou(_mask(c), rival) > self.same else c for c in candidates
        ]

    def suspects(self, candidate: Candidate, situation: Situation) -> bool:
        """Whether the object turns up after an absence, or elsewhere than it was, and may be followed."""
        return self.turns_up(candidate, situation) and self.may_follow(situation)

    def may_follow(self, situation: Situation) -> bool:
        """Whether the pathway was not followed too much of late: where masks flicker, each is suspicious."""
        return (_carried(situation) or Carried()).debt <= self.reserve

    def turns_up(self, candidate: Candidate, situation: Situation) -> bool:
        """Whether the object turns up after an absence, or elsewhere than it was."""
        carried = _carried(situation)
        if carried is None or candidate.occlusion_score <= 0 or not _mask(candidate).any():
            return False
        return not carried.last or mask_iou(_mask(candidate), mask_from_text(carried.last)) < self.jump

    def is_certain(self, frame: Any) -> bool:
        """Whether an earlier mask of the pathway can be relied on: by its scores, and as one not doubted."""
        good = frame.occlusion_score > self.min_occlusion and frame.predicted_iou > self.min_iou
        return good and (len(frame.note) < 2 or frame.note[1] > 0)

    def says(self, sighting: Sighting) -> str:
        """What a sighting means: "confirmed", "refused" or "nothing"."""
        broken = sighting.continuity < self.unbroken or sighting.occlusion_score <= self.in_sight
        if broken or sighting.area < self.min_area:
            return "nothing"
        if sighting.overlap > self.found:
            return "confirmed"
        return "refused" if sighting.overlap <= self.elsewhere else "nothing"

    def judge(self, suspect: Candidate, situation: Situation) -> Candidate:
        """The suspect, or "not visible" where it is an impostor."""
        sighting = suspect.evidence.sighting
        return not_visible(suspect) if sighting and self.says(sighting) == "refused" else suspect

    def note(self, chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
        """(1 if the mask was confirmed, -1 if it was refused, else 0; 1 if it can be relied on, else 0)."""
        said = self.says(chosen.evidence.sighting) if chosen.evidence.sighting else "nothing"
        return {"confirmed": 1.0, "refused": -1.0, "nothing": 0.0}[said], float(not self._doubted(chosen, situation))

    def advance(self, chosen: Candidate, situation: Situation) -> Carried:
        """What its pathway carries on."""
        carried, mask, sighting = _carried(situation) or Carried(), _mask(chosen), chosen.evidence.sighting
        doubted, debt = self._doubted(chosen, situation), max(0.0, carried.debt - self.allowance)
        if sighting:
            debt += abs(situation.frame_idx - sighting.frame_idx)
        if chosen.occlusion_score > 0:
            return Carried(mask_to_text(mask) if mask.any() else "", "", doubted, debt)
        refused = sighting is not None and self.says(sighting) == "refused"
        moved_on = carried.rival and mask_iou(mask, mask_from_text(carried.rival)) > self.same
        # A rival that is not where it was is forgotten: what turns up there later may be the object, and is followed.
        return Carried("", mask_to_text(mask) if refused or moved_on else "", doubted, debt)

    def _doubted(self, chosen: Candidate, situation: Situation) -> int:
        sighting = chosen.evidence.sighting
        if sighting and chosen.occlusion_score > 0 and self.says(sighting) == "confirmed":
            return 0
        if self.turns_up(chosen, situation):
            return 1
        before = (_carried(situation) or Carried()).doubted
        # Once nothing older can be asked, doubting on would mean never to ask again.
        return before + 1 if 0 < before < self.reach else 0


def _carried(situation: Situation) -> Carried | None:
    return Carried(*situation.carry) if isinstance(situation.carry, tuple) else None


def _mask(candidate: Candidate) -> Mask:
    mask = candidate.evidence.mask
    assert mask is not None, "this policy wants masks"
    return mask


POLICY = AlibiRule().policy("alibi")
