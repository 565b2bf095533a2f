"""What is left to gain: trees for which the truth decides one thing, and everything else is as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2long.config import MemoryTreeConfig
from sam2long.policies.numbers import mask_iou
from sam2long.search.policy import Memory, Note, Policy, Situation, Want
from sam2long.search.selection import EPSILON, Candidate, with_newest
from sam2long.synthetic import Clip

ORACLES = ("mask", "memory", "presence")
# A remembered mask is right from this IoU with the truth on.
_RIGHT = 0.5
# Beyond any uncertainty threshold.
_SURE = 10.0


@dataclass(frozen=True)
class Truth:
    """Object 1's true masks.

    Args:
        masks: bool [T, H, W].
    """

    masks: NDArray[np.bool_]

    def iou(self, candidate: Candidate, frame_idx: int) -> float:
        """Of a candidate's mask, whatever its occlusion score says, with the truth at its resolution."""
        mask = candidate.evidence.mask
        assert mask is not None
        true = Image.fromarray(self.masks[frame_idx]).resize(mask.shape[::-1], Image.Resampling.NEAREST)
        return mask_iou(mask, np.asarray(true))

    def shows(self, frame_idx: int) -> bool:
        return bool(self.masks[frame_idx].any())

    # -- one thing each --------------------------------------------------------------------------------------------

    def best_mask(self, candidates: Sequence[Candidate], situation: Situation) -> list[Candidate]:
        """Which mask: scored by its true IoU, where the object shows; presence is the decoder's."""
        if not self.shows(situation.frame_idx):
            return list(candidates)
        scored = []
        for candidate in candidates:
            iou = self.iou(candidate, situation.frame_idx)
            scored.append(replace(candidate, score=situation.parent_score + float(np.log(iou + EPSILON))))
        return scored

    def true_presence(self, candidates: Sequence[Candidate], situation: Situation) -> list[Candidate]:
        """Whether the object is there; which mask is the decoder's choice."""
        shows = self.shows(situation.frame_idx)
        return [
            candidate
            if (candidate.occlusion_score > 0) == shows
            else replace(candidate, occlusion_score=_SURE * (2 * shows - 1))
            for candidate in candidates
        ]

    def note_truth(self, chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
        """(1 if the answer is right)."""
        said, shows = chosen.occlusion_score > 0, self.shows(situation.frame_idx)
        return (float(said and shows and self.iou(chosen, situation.frame_idx) >= _RIGHT),)


def remember_right(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
    """What is remembered: right masks, whatever their scores, and the newest frame, as in the paper."""
    kept = tuple(frame for frame in (*memory.recent, newest) if frame.note == (1.0,))
    return Memory(memory.anchors, with_newest(kept, newest, capacity))


def oracle(name: str, clip: Clip) -> Policy:
    """The paper's policy, but for one thing that the clip's truth decides: one of `ORACLES`."""
    truth = Truth(clip.masks[:, 0])
    masks: frozenset[Want] = frozenset({"masks"})
    policies = {
        "mask": Policy("oracle-mask", masks, propose=truth.best_mask),
        "memory": Policy("oracle-memory", masks, note=truth.note_truth, remember=remember_right),
        "presence": Policy("oracle-presence", propose=truth.true_presence),
    }
    return policies[name]
