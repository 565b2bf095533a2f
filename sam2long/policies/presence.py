"""Memory by presence times quality (as in SAM 3's tracker), but for every object and pathway by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sam2long.config import MemoryTreeConfig
from sam2long.policies.numbers import sigmoid
from sam2long.search.policy import Memory, Note, Policy, Situation
from sam2long.search.selection import Candidate, with_newest

_THRESHOLD = 0.01


def note_best_iou(chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
    """(best predicted IoU of the frame's masks,)."""
    return (max(candidate.predicted_iou for candidate in decoded),)


def is_worth_keeping(frame: Any) -> bool:
    """Whether presence, 0 where the decoder is unsure and 1 where it is certain, times quality is enough."""
    quality = frame.note[0] if frame.note else frame.predicted_iou
    return bool(max(0.0, 2.0 * sigmoid(frame.occlusion_score) - 1.0) * quality > _THRESHOLD)


def remember_present(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
    """The newest frame, and of all those worth keeping."""
    kept = tuple(frame for frame in (*memory.recent, newest) if is_worth_keeping(frame))
    return Memory(memory.anchors, with_newest(kept, newest, capacity))


POLICY = Policy("presence", note=note_best_iou, remember=remember_present)
