"""Pathways kept apart by their masks: on uncertain frames two candidates are one hypothesis if their masks overlap.

The paper goes by equal rounded predicted IoU, which two different masks can share and two equal masks can miss.
"""

from __future__ import annotations

from collections.abc import Sequence

from sam2long.config import MemoryTreeConfig
from sam2long.policies.numbers import mask_iou, shown
from sam2long.search.policy import Policy
from sam2long.search.selection import Candidate, is_certain, select_candidates, select_diverse

_SAME = 0.7


def select_apart(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
    """The best candidates of different masks; then, as in the paper, the best of slots that nothing was taken from."""
    if is_certain(candidates, config):
        return select_candidates(candidates, config)
    return select_diverse(candidates, config.num_pathways, _are_the_same)


def _are_the_same(one: Candidate, other: Candidate) -> bool:
    return mask_iou(shown(one), shown(other)) > _SAME


POLICY = Policy("diversity", frozenset({"masks"}), select=select_apart)
