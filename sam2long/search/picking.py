"""From the scores of a frame to what each slot takes next: candidates are enumerated, selected, and named by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sam2long.config import MemoryTreeConfig
from sam2long.search.selection import Candidate, SelectFunction, cumulative_score


class Proposal(NamedTuple):
    """What one pathway proposes for a frame, in numbers.

    Attributes:
        row: the pathway's row in the frame's batch.
        ious: the predicted IoU of each of its masks.
        occlusion_score: SAM 2's `object_score_logits`, the same for all its masks.
    """

    row: int
    ious: Sequence[float]
    occlusion_score: float


class ScoredProposal(NamedTuple):
    """A slot of an object's tree: its pathway's cumulative score, and what that pathway proposes."""

    score: float
    proposal: Proposal


class Pick(NamedTuple):
    """A selected mask: the row and column it has in the frame's batch, and its scores."""

    row: int
    mask_idx: int
    score: float
    predicted_iou: float
    occlusion_score: float


def picks_of_first_step(slots: Sequence[ScoredProposal]) -> list[Pick]:
    """SAM 2's own step: all slots share the root and take its mask of best predicted IoU; no score is added."""
    score, (row, ious, occlusion_score) = slots[0]
    best = max(range(len(ious)), key=ious.__getitem__)
    return [Pick(row, best, score, ious[best], occlusion_score)] * len(slots)


def picks_of_step(slots: Sequence[ScoredProposal], select: SelectFunction, config: MemoryTreeConfig) -> list[Pick]:
    """One pick per slot, in the new slot order.

    Candidates are enumerated per slot, duplicates included where slots share a pathway: the published results
    come from exactly this.

    Args:
        slots: of one object, in order.
        select: the policy.
        config: the tree's settings.

    Raises:
        ValueError: if `select` returns another number of candidates than there are slots.
    """
    candidates = [
        Candidate(slot_idx, mask_idx, cumulative_score(score, iou), iou, proposal.occlusion_score)
        for slot_idx, (score, proposal) in enumerate(slots)
        for mask_idx, iou in enumerate(proposal.ious)
    ]
    chosen = list(select(candidates, config))
    if len(chosen) != len(slots):
        raise ValueError(f"select= must return num_pathways={len(slots)} candidates, it returned {len(chosen)}")
    rows = [slots[candidate.slot_idx].proposal.row for candidate in chosen]
    return [
        Pick(row, c.mask_idx, c.score, c.predicted_iou, c.occlusion_score) for row, c in zip(rows, chosen, strict=True)
    ]
