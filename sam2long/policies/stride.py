"""Memory that reaches far: every fifth good frame, and the newest."""

from __future__ import annotations

from typing import Any

from sam2long.config import MemoryTreeConfig
from sam2long.policies.numbers import every_nth
from sam2long.search.policy import Memory, Policy
from sam2long.search.selection import select_one, with_newest

_STRIDE = 5


def remember_every_fifth(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
    """Good is what the paper remembers: predicted IoU above the threshold, and the object visible."""
    good = tuple(
        frame
        for frame in (*memory.recent, newest)
        if frame.predicted_iou > config.iou_threshold and frame.occlusion_score > 0
    )
    return Memory(memory.anchors, with_newest(every_nth(good, _STRIDE), newest, capacity))


POLICY = Policy("stride", remember=remember_every_fifth)
# One pathway, SAM 2's cost.
ALONE = Policy("stride-alone", select=select_one, remember=remember_every_fifth)
