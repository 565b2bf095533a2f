"""Several policies as one: each carries its own, and sees what those before it put forward."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from sam2long.search.policy import Audit, Note, Policy, Situation, remember_as_paper
from sam2long.search.selection import Candidate, select_candidates


@dataclass(frozen=True)
class _Parts:
    """What the parts of a policy do, one after the other; a pathway carries a tuple of what each of them carries."""

    policies: tuple[Policy, ...]
    noting: int
    auditor: int

    def own(self, situation: Situation, part: int) -> Situation:
        carry = situation.carry
        known = isinstance(carry, tuple) and len(carry) == len(self.policies)
        return replace(situation, carry=carry[part] if isinstance(carry, tuple) and known else None)

    def propose(self, candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        for part, policy in enumerate(self.policies):
            candidates = policy.propose(candidates, self.own(situation, part))
        return candidates

    def advance(self, chosen: Candidate, situation: Situation) -> Hashable:
        return tuple(
            policy.advance(chosen, self.own(situation, part)) if policy.advance else None
            for part, policy in enumerate(self.policies)
        )

    def note(self, chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
        note = self.policies[self.noting].note
        return note(chosen, decoded, self.own(situation, self.noting)) if note else ()

    def suspects(self, candidate: Candidate, situation: Situation) -> bool:
        return self._audit.suspects(candidate, self.own(situation, self.auditor))

    def judge(self, suspect: Candidate, situation: Situation) -> Candidate:
        return self._audit.judge(suspect, self.own(situation, self.auditor))

    @property
    def _audit(self) -> Audit:
        audit = self.policies[self.auditor].audit
        assert audit is not None
        return audit


def combined(name: str, *policies: Policy) -> Policy:
    """One policy of several.

    Each may put forward candidates of its own, from what those before it put forward, and carries on its own. Of
    selection, memory (with its notes) and audit there can be one each: a part that has its own gives it.

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
    # Notes are read by the memory they are made for.
    noting = remembering or [part for part, policy in enumerate(policies) if policy.note]
    parts = _Parts(policies, *(noting or [0])[:1], *(auditing or [0]))
    audit = policies[auditing[0]].audit if auditing else None
    return Policy(
        name,
        frozenset().union(*(policy.wants for policy in policies)),
        propose=parts.propose,
        select=policies[selecting[0]].select if selecting else select_candidates,
        note=parts.note if noting else None,
        advance=parts.advance,
        remember=policies[remembering[0]].remember if remembering else remember_as_paper,
        audit=audit and replace(audit, suspects=parts.suspects, judge=parts.judge),
        needs=tuple(dict.fromkeys(module for policy in policies for module in policy.needs)),
    )
