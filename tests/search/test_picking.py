"""What the slots take on a frame, on literal numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sam2long import MemoryTreeConfig
from sam2long.search.picking import Pick, Picking, Proposal, ScoredProposal
from sam2long.search.policy import PAPER
from sam2long.search.selection import cumulative_score

FIRST, SECOND = Proposal(4, [0.2, 0.9, 0.5], 6.0), Proposal(5, [0.8, 0.1, 0.1], 3.0)


def test_first_step_takes_the_best_iou_and_adds_no_score() -> None:
    assert (
        Picking([ScoredProposal(0.0, FIRST)] * 3, PAPER, MemoryTreeConfig()).of_first_step()
        == [Pick(4, 1, 0.0, 0.9, 6.0)] * 3
    )


def test_slots_that_share_a_pathway_keep_sharing_on_a_certain_frame() -> None:
    picks = Picking([ScoredProposal(-1.0, FIRST)] * 3, PAPER, MemoryTreeConfig()).of_step()
    assert picks == [Pick(4, 1, cumulative_score(-1.0, 0.9), 0.9, 6.0)] * 3


def test_rows_follow_the_slots() -> None:
    slots = [ScoredProposal(-1.0, SECOND), ScoredProposal(-1.05, FIRST)]
    picks = Picking(slots, PAPER, MemoryTreeConfig(num_pathways=2)).of_step()
    assert [(pick.row, pick.mask_idx) for pick in picks] == [(4, 1), (5, 0)]  # -1.05 + ln 0.9 beats -1 + ln 0.8


def test_a_selection_of_the_wrong_size_is_refused() -> None:
    two = replace(PAPER, select=lambda given, _: given[:2])
    with pytest.raises(ValueError, match="num_pathways=3 candidates, it returned 2"):
        Picking([ScoredProposal(0.0, FIRST)] * 3, two, MemoryTreeConfig()).of_step()
