"""From the scores of a frame to what each slot takes next: candidates are enumerated, selected, and named by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sam2long.config import MemoryTreeConfig
from sam2long.selection import Candidate, SelectFunction, cumulative_score


class Slot(NamedTuple):
    """A slot of an object's tree: its pathway's cumulative score, and the row that pathway has in the batch."""

    score: float
    row: int


class Pick(NamedTuple):
    """A selected mask: the row and column it has in the frame's batch, and its scores."""

    row: int
    mask_idx: int
    score: float
    predicted_iou: float
    occlusion_score: float


def picks_of_first_step(
    slots: Sequence[Slot], ious: Sequence[Sequence[float]], occlusions: Sequence[float]
) -> list[Pick]:
    """SAM 2's own step: all slots share the root and take its mask of best predicted IoU; no score is added."""
    score, row = slots[0]
    best = max(range(len(ious[row])), key=ious[row].__getitem__)
    return [Pick(row, best, score, ious[row][best], occlusions[row])] * len(slots)


def picks_of_step(
    slots: Sequence[Slot],
    ious: Sequence[Sequence[float]],
    occlusions: Sequence[float],
    select: SelectFunction,
    config: MemoryTreeConfig,
) -> list[Pick]:
    """One pick per slot, in the new slot order.

    Candidates are enumerated per slot, duplicates included where slots share a pathway: the published results
    come from exactly this.

    Args:
        slots: of one object, in order.
        ious: predicted IoUs per row and mask.
        occlusions: occlusion scores per row.

    Raises:
        ValueError: if `select` returns another number of candidates than there are slots.
    """
    candidates = [
        Candidate(slot_idx, mask_idx, cumulative_score(slot.score, iou), iou, occlusions[slot.row])
        for slot_idx, slot in enumerate(slots)
        for mask_idx, iou in enumerate(ious[slot.row])
    ]
    chosen = list(select(candidates, config))
    if len(chosen) != len(slots):
        raise ValueError(f"select= must return num_pathways={len(slots)} candidates, it returned {len(chosen)}")
    return [Pick(slots[c.slot_idx].row, c.mask_idx, c.score, c.predicted_iou, c.occlusion_score) for c in chosen]
