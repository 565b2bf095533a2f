"""Which frames a pathway attends to: SAM 2's conditioning frames, and what the pathway remembers (section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam2long.model.memory_tokens import MemoryItems
from sam2long.model.seam import BankOptions
from sam2long.search.policy import Note
from sam2long.search.selection import modulation_weights

# The score of a conditioning frame when memories are ranked for modulation: the user is certain.
CONDITIONING_SCORE = 10.0


@dataclass(slots=True, eq=False)
class FrameMemory:
    """What one pathway remembers of one frame.

    Attributes:
        frame_idx: the frame.
        predicted_iou: the mask's predicted IoU; 1 where the user gave the mask.
        occlusion_score: SAM 2's `object_score_logits` as a float.
        features: spatial memory `maskmem_features`, [1, C_mem, H, W], bfloat16 as SAM 2 stores it; None where
            no pathway can attend to it (any more).
        obj_ptr: object pointer, [1, C].
        note: what the policy wrote down of the frame (`Policy.note`).
    """

    frame_idx: int
    predicted_iou: float
    occlusion_score: float
    features: Tensor | None
    obj_ptr: Tensor
    note: Note = ()


@dataclass(slots=True)
class PathwayMemory:
    """All that a pathway attends to on a frame.

    Attributes:
        conditioning: the conditioning frames attended to.
        conditioning_pointers: those of them whose pointers are attended to, with their signed temporal distance.
        remembered: the frames the pathway remembers (design: L), oldest first.
        modulated: whether keys are weighted by certainty (not on a tree's first step, which is SAM 2's own).
        anchors: remembered frames that are read as conditioning frames are, each in the place of a recent one, with
            their signed temporal distances.
    """

    conditioning: Sequence[FrameMemory]
    conditioning_pointers: Sequence[tuple[int, FrameMemory]]
    remembered: Sequence[FrameMemory]
    modulated: bool
    anchors: Sequence[tuple[int, FrameMemory]] = ()


class MemoryBank:
    """Chooses what attention reads of the memories of pathways, and dates and weights it.

    Args:
        model: the predictor (its sizes are used).
        max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`.
        modulation: (w_low, w_high).
    """

    def __init__(self, model: BankOptions, max_obj_ptrs: int, modulation: tuple[float, float]) -> None:
        self._model = model
        self._max_obj_ptrs = max_obj_ptrs
        self._modulation = modulation

    def spatial_memories(self, pathway: PathwayMemory) -> list[FrameMemory]:
        """Conditioning frames and anchors, then the newest remembered frames, oldest first."""
        anchors = [memory for _, memory in pathway.anchors]
        recent = min(max(self._model.num_maskmem - 1 - len(anchors), 0), len(pathway.remembered))
        return [*pathway.conditioning, *anchors, *pathway.remembered[len(pathway.remembered) - recent :]]

    def pointers(self, pathway: PathwayMemory) -> list[tuple[int, FrameMemory, float]]:
        """(temporal distance, memory, score) of each pointer: conditioning, anchors, then newest to oldest."""
        if not self._model.use_obj_ptrs_in_encoder:
            return []
        conditioning = [(dist, memory, CONDITIONING_SCORE) for dist, memory in pathway.conditioning_pointers]
        anchors = [(dist, memory, memory.occlusion_score) for dist, memory in pathway.anchors]
        newest_first = list(reversed(pathway.remembered[1:]))[: self._max_obj_ptrs - 1]
        recent = [(k, memory, memory.occlusion_score) for k, memory in enumerate(newest_first, start=1)]
        return [*conditioning, *anchors, *recent]

    def lengths(self, pathway: PathwayMemory) -> tuple[int, int, int, bool]:
        """Pathways of equal lengths are one batch: (spatial memories, anchors, pointers, weighted or not)."""
        num_spatial = len(self.spatial_memories(pathway))
        weighted = pathway.modulated and num_spatial > 1
        return num_spatial, len(pathway.anchors), len(self.pointers(pathway)), weighted

    def items(self, pathways: Sequence[PathwayMemory]) -> MemoryItems:
        """What pathways of equal `lengths` attend to, one column a pathway."""
        *_, weighted = self.lengths(pathways[0])
        spatial = [self.spatial_memories(pathway) for pathway in pathways]
        pointers = [self.pointers(pathway) for pathway in pathways]
        columns = [
            [*self._weights(pathway), *(float(distance) for distance, _, _ in of_pathway)]
            for pathway, of_pathway in zip(pathways, pointers, strict=True)
        ]
        return MemoryItems(
            features=[[_features(memory) for memory in row] for row in zip(*spatial, strict=True)],
            pointers=[[memory.obj_ptr for _, memory, _ in row] for row in zip(*pointers, strict=True)],
            num_conditioning=len(pathways[0].conditioning) + len(pathways[0].anchors),
            weighted=weighted,
            numbers=torch.tensor(columns).T,  # (S + 2 K, B)
        )

    def _weights(self, pathway: PathwayMemory) -> list[float]:
        """A weight for every memory by its rank; spatial memories and pointers rank separately."""
        num_conditioning = len(pathway.conditioning)
        spatial = self.spatial_memories(pathway)[num_conditioning:]
        spatial_scores = [CONDITIONING_SCORE] * num_conditioning + [m.occlusion_score for m in spatial]
        pointer_scores = [score for _, _, score in self.pointers(pathway)]
        return modulation_weights(spatial_scores, self._modulation) + modulation_weights(
            pointer_scores, self._modulation
        )


def _features(memory: FrameMemory) -> Tensor:
    if memory.features is None:
        raise RuntimeError(f"the memory of frame {memory.frame_idx} is attended to but has no features")
    return memory.features
