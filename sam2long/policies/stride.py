"""Memory that reaches far: every fifth good frame, and the newest."""

from __future__ import annotations

from typing import Any

from sam2long.config import MemoryTreeConfig
from sam2long.policies.numbers import every_nth
from sam2long.search.policy import Memory, Policy
from sam2long.search.selection import select_one

_STRIDE = 5


def remember_every_fifth(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
    """Good is what the paper remembers: predicted IoU above the threshold, and the object visible."""
    last = memory.recent[-1] if memory.recent else None
    good = last is not None and last.predicted_iou > config.iou_threshold and last.occlusion_score > 0
    return Memory(memory.anchors, every_nth(memory.recent, newest, _STRIDE, good)[-(capacity + 1) :])


POLICY = Policy("stride", remember=remember_every_fifth)
# One pathway, SAM 2's cost.
ALONE = Policy("stride-alone", select=select_one, remember=remember_every_fifth)
