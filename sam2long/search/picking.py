"""From the scores of a frame to what each slot takes next: candidates are enumerated, selected, and named by row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sam2long.config import MemoryTreeConfig
from sam2long.search.policy import Note, Policy, Situation
from sam2long.search.selection import Candidate, Evidence, Sighting, cumulative_score, is_certain


class Proposal(NamedTuple):
    """What one pathway proposes for a frame.

    Attributes:
        row: the pathway's row in the frame's batch.
        ious: the predicted IoU of each of its masks.
        occlusion_score: SAM 2's `object_score_logits`, the same for all its masks.
        evidence: of each of its masks; empty where no policy wants any.
    """

    row: int
    ious: Sequence[float]
    occlusion_score: float
    evidence: Sequence[Evidence] = ()


class ScoredProposal(NamedTuple):
    """A slot of an object's tree: its pathway's cumulative score, what that pathway proposes, and what it carries."""

    score: float
    proposal: Proposal
    carry: Hashable = None


class Pick(NamedTuple):
    """A selected mask: the row and column it has in the frame's batch, and its scores.

    Attributes:
        row, mask_idx: where it lies.
        score, predicted_iou, occlusion_score: the candidate's.
        visible: whether the object shows, where the policy says otherwise than the decoder; None where it does not.
        note, carry: what the policy writes down of it, and what its pathway carries on.
    """

    row: int
    mask_idx: int
    score: float
    predicted_iou: float
    occlusion_score: float
    visible: bool | None = None
    note: Note = ()
    carry: Hashable = None


class Picking:
    """Picks masks for the slots of one object's tree on one frame.

    Candidates are enumerated per slot, duplicates included where slots share a pathway: the published results
    come from exactly this.

    Args:
        slots: of the object, in order.
        policy: the rule.
        config: the tree's settings.
        frame_idx, obj_id: what a policy may want to know.

    Attributes:
        considered: the candidates of the step that was picked for.
    """

    def __init__(
        self,
        slots: Sequence[ScoredProposal],
        policy: Policy,
        config: MemoryTreeConfig,
        frame_idx: int = 0,
        obj_id: Any = None,
    ) -> None:
        self._slots = slots
        self._policy = policy
        self._config = config
        self._frame_idx = frame_idx
        self._obj_id = obj_id
        self._chosen: list[tuple[Candidate, Pick]] = []
        self.considered: list[Candidate] = []
        self._decoded = [_decoded(slot_idx, slot) for slot_idx, slot in enumerate(slots)]
        ask = policy.uncertain
        if ask is not None and any(map(ask, self._decoded, self._situations_of(uncertain=False))):
            self._decoded = [[_uncertain(candidate) for candidate in of_slot] for of_slot in self._decoded]
        uncertain = not is_certain([candidate for of_slot in self._decoded for candidate in of_slot], config)
        self._situations = self._situations_of(uncertain=uncertain)

    def _situations_of(self, *, uncertain: bool) -> list[Situation]:
        frame_idx, obj_id, config = self._frame_idx, self._obj_id, self._config
        return [
            Situation(frame_idx, obj_id, slot.score, slot.carry, config, uncertain, tuple(decoded))
            for slot, decoded in zip(self._slots, self._decoded, strict=True)
        ]

    def of_first_step(self) -> list[Pick]:
        """SAM 2's own step: all slots share the root and take its mask of best predicted IoU; no score is added."""
        self.considered = decoded = self._decoded[0]
        best = max(decoded, key=lambda candidate: candidate.predicted_iou)
        return [self._pick(replace(best, score=self._slots[0].score))] * len(self._slots)

    def of_step(self) -> list[Pick]:
        """One pick per slot, in the new slot order.

        Raises:
            ValueError: if `select` returns another number of candidates than there are slots.
        """
        num_slots, propose = len(self._slots), self._policy.propose
        proposed = [c for slot in zip(self._decoded, self._situations, strict=True) for c in propose(*slot)]
        self.considered = [self._weighed(candidate) for candidate in proposed]
        chosen = list(self._policy.select(self.considered, self._config))
        if len(chosen) != num_slots:
            raise ValueError(f"select= must return num_pathways={num_slots} candidates, it returned {len(chosen)}")
        # Slots that share a pathway choose the same mask most of the time: it is noted down once.
        picks: dict[Any, Pick] = {}
        for c in chosen:
            row = self._slots[c.slot_idx].proposal.row
            alike = (row, c.mask_idx, c.score, c.predicted_iou, c.occlusion_score, id(c.evidence))
            if alike not in picks:
                picks[alike] = self._pick(c)
            self._chosen.append((c, picks[alike]))
        return [pick for _, pick in self._chosen]

    def suspects(self) -> list[Pick]:
        """The distinct picks of `of_step` that the policy's audit wants followed backwards."""
        audit = self._policy.audit
        if audit is None:
            return []
        return list(dict.fromkeys(pick for c, pick in self._chosen if audit.suspects(c, self._situation(c))))

    def after_audit(self, sightings: Mapping[Pick, Sighting]) -> list[Pick]:
        """One pick per slot, now that suspects were followed backwards; the order is that of `of_step`.

        Only where the audit changed a score the slots are put in order anew, best first; ties stay as they were.
        """
        picks = [self._judged(candidate, pick, sightings.get(pick)) for candidate, pick in self._chosen]
        if [pick.score for pick in picks] != [pick.score for _, pick in self._chosen]:
            picks.sort(key=lambda pick: -pick.score)
        return picks

    def _weighed(self, candidate: Candidate) -> Candidate:
        weigh = self._policy.weigh
        if weigh is None:
            return candidate
        return replace(candidate, score=candidate.score + weigh(candidate, self._situation(candidate)))

    def _judged(self, suspect: Candidate, pick: Pick, sighting: Sighting | None) -> Pick:
        audit = self._policy.audit
        if audit is None or sighting is None:
            return pick
        seen = replace(suspect, evidence=replace(suspect.evidence, sighting=sighting))
        return self._pick(audit.judge(seen, self._situation(suspect)))

    def _situation(self, candidate: Candidate) -> Situation:
        return self._situations[candidate.slot_idx]

    def _pick(self, chosen: Candidate) -> Pick:
        policy, situation = self._policy, self._situation(chosen)
        proposal = self._slots[chosen.slot_idx].proposal
        visible = chosen.occlusion_score > 0
        return Pick(
            proposal.row,
            chosen.mask_idx,
            chosen.score,
            chosen.predicted_iou,
            chosen.occlusion_score,
            None if visible == (proposal.occlusion_score > 0) else visible,
            policy.note(chosen, self._decoded[chosen.slot_idx], situation) if policy.note else (),
            policy.advance(chosen, situation) if policy.advance else None,
        )


def _decoded(slot_idx: int, slot: ScoredProposal) -> list[Candidate]:
    """The decoder's candidates of a slot."""
    score, (_, ious, occlusion_score, evidence), _ = slot
    return [
        Candidate(slot_idx, k, cumulative_score(score, iou), iou, occlusion_score, *evidence[k : k + 1])
        for k, iou in enumerate(ious)
    ]


def _uncertain(candidate: Candidate) -> Candidate:
    return replace(candidate, evidence=replace(candidate.evidence, uncertain=True))
