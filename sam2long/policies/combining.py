"""Several policies as one: each carries its own, sees what those before it put forward, and adds to the scores."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from sam2long.config import MemoryTreeConfig
from sam2long.search.policy import Audit, Memory, Note, Policy, Situation, remember_as_paper
from sam2long.search.selection import Candidate, select_candidates


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame as one part of a policy sees it: with that part's notes."""

    frame: Any
    note: Note

    @property
    def frame_idx(self) -> int:
        return int(self.frame.frame_idx)

    @property
    def predicted_iou(self) -> float:
        return float(self.frame.predicted_iou)

    @property
    def occlusion_score(self) -> float:
        return float(self.frame.occlusion_score)


@dataclass(frozen=True)
class _Parts:
    """What the parts of a policy do, one after the other; a pathway carries a tuple of what each of them carries.

    Attributes:
        policies: the parts.
        noting: those whose notes are kept, two at most: of two the first's come first, behind their number.
        remembering, auditing: which part does.
    """

    policies: tuple[Policy, ...]
    noting: tuple[int, ...]
    remembering: int
    auditing: int

    def own(self, situation: Situation, part: int) -> Situation:
        return replace(situation, carry=self.carried(situation.carry)[part])

    def carried(self, carry: Hashable) -> tuple[Hashable, ...]:
        """What each part carries; nothing if it is not of this policy."""
        known = isinstance(carry, tuple) and len(carry) == len(self.policies)
        return carry if isinstance(carry, tuple) and known else (None,) * len(self.policies)

    def propose(self, candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        for part, policy in enumerate(self.policies):
            candidates = policy.propose(candidates, self.own(situation, part))
        return candidates

    def uncertain(self, candidates: Sequence[Candidate], situation: Situation) -> bool:
        return any(
            policy.uncertain(candidates, self.own(situation, part))
            for part, policy in enumerate(self.policies)
            if policy.uncertain
        )

    def weigh(self, candidate: Candidate, situation: Situation) -> float:
        # `fsum` rounds once: the order of the parts does not show.
        return math.fsum(
            policy.weigh(candidate, self.own(situation, part))
            for part, policy in enumerate(self.policies)
            if policy.weigh
        )

    def across(self, carry: Hashable) -> Hashable:
        known = self.carried(carry)
        return tuple(
            policy.across(carried) if policy.across and carried is not None else None
            for policy, carried in zip(self.policies, known, strict=True)
        )

    def advance(self, chosen: Candidate, situation: Situation) -> Hashable:
        return tuple(
            policy.advance(chosen, self.own(situation, part)) if policy.advance else None
            for part, policy in enumerate(self.policies)
        )

    def note(self, chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
        notes = []
        for part in self.noting:
            note = self.policies[part].note
            notes.append(note(chosen, decoded, self.own(situation, part)) if note else ())
        return notes[0] if len(notes) == 1 else (float(len(notes[0])), *notes[0], *notes[1])

    def seen(self, frame: Any, part: int) -> _Seen:
        note = frame.note
        if part not in self.noting or not note:
            return _Seen(frame, ())
        if len(self.noting) == 1:
            return _Seen(frame, note)
        end = 1 + int(note[0])
        return _Seen(frame, note[1:end] if part == self.noting[0] else note[end:])

    def remember(self, memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
        part = self.remembering
        # One view a frame: rules compare frames by identity.
        views = {id(frame): self.seen(frame, part) for frame in (*chain(*memory), newest)}
        before = Memory(*(tuple(views[id(frame)] for frame in frames) for frames in memory))
        after = self.policies[part].remember(before, views[id(newest)], config, capacity)
        return Memory(*(tuple(view.frame for view in frames) for frames in after))

    def suspects(self, candidate: Candidate, situation: Situation) -> bool:
        return self._audit.suspects(candidate, self.own(situation, self.auditing))

    def is_certain(self, frame: Any) -> bool:
        return self._audit.is_certain(self.seen(frame, self.auditing))

    def judge(self, suspect: Candidate, situation: Situation) -> Candidate:
        return self._audit.judge(suspect, self.own(situation, self.auditing))

    @property
    def _audit(self) -> Audit:
        audit = self.policies[self.auditing].audit
        assert audit is not None
        return audit


def combined(name: str, *policies: Policy) -> Policy:
    """One policy of several.

    Each may put forward candidates of its own, from what those before it put forward, and carries on its own; what they
    `weigh` is added up over all candidates, so it does not depend on their order. Of
    selection, memory and audit there can be one each: a part that has its own gives it, and sees its own notes.

    Args:
        name: of the policy.
        policies: the parts, in order.

    Raises:
        ValueError: if two parts select, remember or audit.
    """
    selecting = [part for part, policy in enumerate(policies) if policy.select is not select_candidates]
    remembering = [part for part, policy in enumerate(policies) if policy.remember is not remember_as_paper]
    auditing = [part for part, policy in enumerate(policies) if policy.audit is not None]
    for what, found in (("select", selecting), ("remember", remembering), ("audit", auditing)):
        if len(found) > 1:
            raise ValueError(f"policy {name!r}: {len(found)} of its parts {what}, one may")
    with_notes = [part for part, policy in enumerate(policies) if policy.note]
    # Notes are for memory and audit; where nobody reads them, the first part's are kept to be looked at.
    noting = [part for part in with_notes if part in (*remembering, *auditing)] or with_notes[:1]
    parts = _Parts(policies, tuple(noting), *(remembering or [0])[:1], *(auditing or [0])[:1])
    audit = policies[auditing[0]].audit if auditing else None
    return Policy(
        name,
        frozenset().union(*(policy.wants for policy in policies)),
        propose=parts.propose,
        select=policies[selecting[0]].select if selecting else select_candidates,
        note=parts.note if noting else None,
        advance=parts.advance,
        remember=parts.remember if remembering else remember_as_paper,
        audit=audit and replace(audit, suspects=parts.suspects, is_certain=parts.is_certain, judge=parts.judge),
        uncertain=parts.uncertain if any(policy.uncertain for policy in policies) else None,
        weigh=parts.weigh if any(policy.weigh for policy in policies) else None,
        across=parts.across if any(policy.across for policy in policies) else None,
        anchors_wait=any(policy.anchors_wait for policy in policies),
        needs=tuple(dict.fromkeys(module for policy in policies for module in policy.needs)),
    )
