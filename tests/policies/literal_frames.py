"""Candidates and remembered frames with literal numbers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from sam2long import MemoryTreeConfig
from sam2long.search.policy import Memory, Policy, Situation
from sam2long.search.selection import Candidate, Evidence, cumulative_score

CONFIG = MemoryTreeConfig()


@dataclass(frozen=True)
class Frame:
    """What a policy sees of a remembered frame."""

    frame_idx: int
    predicted_iou: float = 0.9
    occlusion_score: float = 5.0
    note: tuple[float, ...] = ()


def square(x: int, y: int, side: int, height: int | None = None) -> np.ndarray:
    mask = np.zeros((40, 60), dtype=bool)
    mask[y : y + (side if height is None else height), x : x + side] = True
    return mask


def candidate(
    iou: float,
    occlusion: float = 5.0,
    mask_idx: int = 0,
    slot: int = 0,
    parent: float = 0.0,
    mask: np.ndarray | None = None,
    maskness: float | None = None,
) -> Candidate:
    evidence = Evidence(mask=mask, maskness=maskness)
    return Candidate(slot, mask_idx, cumulative_score(parent, iou), iou, occlusion, evidence)


def situation(frame_idx: int = 0, parent: float = 0.0, carry: Hashable = None, *, uncertain: bool = False) -> Situation:
    return Situation(frame_idx, 1, parent, carry, CONFIG, uncertain)


def weighed(policy: Policy, candidate: Candidate, situation: Situation) -> float:
    """The score of a candidate after the policy's say."""
    assert policy.weigh is not None
    return candidate.score + policy.weigh(candidate, situation)


def remember(policy: Policy, *frames: Frame, memory: Memory[Frame] | None = None) -> Memory[Frame]:
    memory = Memory() if memory is None else memory
    for frame in frames:
        memory = policy.remember(memory, frame, CONFIG, 15)
    return memory


def indices(frames: tuple[Frame, ...]) -> list[int]:
    return [frame.frame_idx for frame in frames]
