"""Anchors for the way back (RCMS with MQF; the MOSEv2 paper, arXiv 2508.05630).

When a pathway first sees the object gone, the nearest good frames before that become anchors: they keep what the object
looked like while the recent frames show nothing. Until then they lie aside, however long the object fades, whether the
paper's bank keeps them or not. A frame's quality is sigmoid(occlusion score) times the best predicted IoU times
maskness. Published for SAM 2 B+ on MOSEv2: +3.3 J&F from the anchors, +0.9 from the test of quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sam2long.config import MemoryTreeConfig
from sam2long.policies.numbers import sigmoid
from sam2long.search.policy import Memory, Note, Policy, Situation
from sam2long.search.selection import Candidate, choose_memory


def note_quality(chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
    """(quality,), in [0, 1]."""
    best = max(candidate.predicted_iou for candidate in decoded)
    return (sigmoid(chosen.occlusion_score) * best * (chosen.evidence.maskness or 0.0),)


@dataclass(frozen=True)
class AnchorsBeforeAbsence:
    """Remembers as the paper does, and anchors.

    Attributes:
        count: how many anchors.
        quality: which a frame must exceed.
        again: whether every new absence chooses anew; False leaves it to the first, as published, also where that had
            no good frame before it.
    """

    count: int = 4
    quality: float = 0.6
    again: bool = True

    def __call__(self, memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
        anchors, recent, aside = memory
        if all(frame.occlusion_score > 0 for frame in aside):  # else it was chosen for good
            # Where nothing lies aside, another policy or an older version may have remembered.
            aside = self._nearest_good((*(aside or (*anchors, *recent)), newest), newest)
            if newest.occlusion_score <= 0:  # all through an absence these stay the same
                anchors = aside or anchors
                aside = aside if self.again else (newest,)  # a mark: this was the absence that decides
        kept = tuple(frame for frame in recent if all(frame is not anchor for anchor in anchors))
        return Memory(anchors, choose_memory(kept, newest, config, capacity), aside)

    def _nearest_good(self, frames: Sequence[Any], newest: Any) -> tuple[Any, ...]:
        good = [frame for frame in frames if frame.note[:1] > (self.quality,) and frame.occlusion_score > 0]
        good.sort(key=lambda frame: -abs(newest.frame_idx - frame.frame_idx))  # the nearest last
        return tuple(good[-self.count :])


POLICY = Policy("reappearance", frozenset({"maskness"}), note=note_quality, remember=AnchorsBeforeAbsence())
# Anchors count as such once no rival pathway disputes their frames.
WAITING = replace(POLICY, name="reappearance-waits", anchors_wait=True)
