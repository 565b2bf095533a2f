"""What the slots take on a frame, on literal numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from sam2long import MemoryTreeConfig
from sam2long.policies import POLICIES
from sam2long.policies.numbers import not_visible
from sam2long.search.picking import Pick, Picking, Proposal, ScoredProposal
from sam2long.search.policy import PAPER, Audit, Policy, Situation
from sam2long.search.selection import Candidate, Sighting, cumulative_score, select_candidates

FIRST, SECOND = Proposal(4, [0.2, 0.9, 0.5], 6.0), Proposal(5, [0.8, 0.1, 0.1], 3.0)


def test_first_step_takes_the_best_iou_and_adds_no_score() -> None:
    assert (
        Picking([ScoredProposal(0.0, FIRST)] * 3, PAPER, MemoryTreeConfig()).of_first_step()
        == [Pick(4, 1, 0.0, 0.9, 6.0)] * 3
    )


def test_slots_that_share_a_pathway_keep_sharing_on_a_certain_frame() -> None:
    picks = Picking([ScoredProposal(-1.0, FIRST)] * 3, PAPER, MemoryTreeConfig()).of_step()
    assert picks == [Pick(4, 1, cumulative_score(-1.0, 0.9), 0.9, 6.0)] * 3


def test_what_slots_share_is_noted_down_once() -> None:
    """And what differs in a score alone is not the same."""
    noted: list[Candidate] = []

    def advance(chosen: Candidate, situation: Situation) -> str:
        noted.append(chosen)
        return f"{situation.carry}, then {chosen.mask_idx}"

    def propose(candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        return [replace(c, score=c.score - 1.0) if c.slot_idx == 2 else c for c in candidates]

    slots = [ScoredProposal(-1.0, FIRST, "root")] * 3
    shared = Picking(slots, Policy(advance=advance), MemoryTreeConfig()).of_step()
    assert [candidate.mask_idx for candidate in noted] == [1]
    assert shared == [Pick(4, 1, cumulative_score(-1.0, 0.9), 0.9, 6.0, carry="root, then 1")] * 3
    noted.clear()
    picks = Picking(slots, Policy(advance=advance, propose=propose), MemoryTreeConfig()).of_step()
    assert len(set(picks)) == len(noted) == 2


def test_rows_follow_the_slots() -> None:
    slots = [ScoredProposal(-1.0, SECOND), ScoredProposal(-1.05, FIRST)]
    picks = Picking(slots, PAPER, MemoryTreeConfig(num_pathways=2)).of_step()
    assert [(pick.row, pick.mask_idx) for pick in picks] == [(4, 1), (5, 0)]  # -1.05 + ln 0.9 beats -1 + ln 0.8


def test_a_selection_of_the_wrong_size_is_refused() -> None:
    two = replace(PAPER, select=lambda given, _: given[:2])
    with pytest.raises(ValueError, match="num_pathways=3 candidates, it returned 2"):
        Picking([ScoredProposal(0.0, FIRST)] * 3, two, MemoryTreeConfig()).of_step()


# -- uncertain frames ------------------------------------------------------------------------------------------------


def slots_of(*proposals: Proposal, score: float = 0.0) -> list[ScoredProposal]:
    return [ScoredProposal(score, proposal) for proposal in proposals]


def test_one_sure_pathway_makes_the_frame_certain_for_all() -> None:
    unsure, sure = Proposal(0, [0.05, 0.04, 0.03], 0.2), Proposal(1, [0.04, 0.03, 0.02], 6.0)
    slots = slots_of(unsure, sure, sure, score=-5.0)
    picking, paper = (Picking(slots, policy, MemoryTreeConfig()) for policy in (POLICIES["absence"], PAPER))
    assert picking.of_step() == paper.of_step()
    assert len(picking.considered) == 9
    waiting = Picking(slots_of(unsure, unsure, unsure, score=-5.0), POLICIES["absence"], MemoryTreeConfig())
    waiting.of_step()
    assert len(waiting.considered) == 12


def test_every_slot_is_told_whether_the_frame_is_uncertain() -> None:
    seen: list[bool] = []

    def look(candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
        seen.append(situation.uncertain)
        return candidates

    for scores, uncertain in (((1.0, 2.0), True), ((1.0, -2.1), False)):
        seen.clear()
        slots = slots_of(*(Proposal(row, [0.9, 0.5, 0.1], score) for row, score in enumerate(scores)))
        Picking(slots, Policy(propose=look), MemoryTreeConfig(num_pathways=2)).of_step()
        assert seen == [uncertain] * 2


def test_one_slots_doubt_makes_the_frame_uncertain_for_all() -> None:
    """Equal rounded IoUs count as one hypothesis only on an uncertain frame."""
    slots = slots_of(*(Proposal(row, [0.9, 0.9, 0.1], 6.0) for row in range(2)))
    config, doubtful = MemoryTreeConfig(num_pathways=2), Policy(uncertain=lambda decoded, _: decoded[0].slot_idx == 1)
    picks = [Picking(slots, policy, config).of_step() for policy in (PAPER, doubtful)]
    assert [[(pick.row, pick.mask_idx) for pick in of] for of in picks] == [[(0, 0), (0, 1)], [(0, 0), (0, 2)]]


# -- after an audit --------------------------------------------------------------------------------------------------

UNCERTAIN = [
    ScoredProposal(0.0, Proposal(0, [0.9, 0.3, 0.3], 1.0)),
    *[ScoredProposal(-0.05, Proposal(1, [0.9, 0.3, 0.3], 1.0))] * 2,
]


def audited(judge: Mapping[int, float | None], policy: Policy = PAPER) -> tuple[list[Pick], list[Pick]]:
    """Picks before and after an audit; by mask, what is taken off a score, or None: not visible."""

    def judged(suspect: Candidate, situation: Situation) -> Candidate:
        less = judge.get(suspect.mask_idx, 0.0)
        return not_visible(suspect) if less is None else replace(suspect, score=suspect.score - less)

    audit = Audit(lambda candidate, situation: True, lambda frame: True, judged)
    picking = Picking(UNCERTAIN, replace(policy, audit=audit), MemoryTreeConfig())
    before = picking.of_step()
    return before, picking.after_audit(dict.fromkeys(picking.suspects(), Sighting(1, 0.9, 50, 0.9)))


def visible_first(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> Sequence[Candidate]:
    return sorted(select_candidates(candidates, config), key=lambda candidate: -candidate.mask_idx)


def test_an_audit_that_changes_no_score_changes_no_order() -> None:
    before, after = audited({})
    assert [(pick.row, pick.mask_idx) for pick in before] == [(0, 0), (0, 1), (1, 0)], "the order taken, not by score"
    assert after == before
    before, after = audited({}, Policy(select=visible_first))
    assert [(pick.row, pick.mask_idx) for pick in before] == [(0, 1), (0, 0), (1, 0)]
    assert after == before
    refused = audited({1: None})[1]
    assert [(pick.row, pick.mask_idx, pick.visible) for pick in refused] == [(0, 0, None), (0, 1, False), (1, 0, None)]


def test_an_audit_that_changes_a_score_orders_the_slots_by_score() -> None:
    assert [(pick.row, pick.mask_idx) for pick in audited({1: 0.5})[1]] == [(0, 0), (1, 0), (0, 1)]
    assert [(pick.row, pick.mask_idx) for pick in audited({0: 5.0})[1]] == [(0, 1), (0, 0), (1, 0)]
