"""From the frames a pathway remembers to the tokens that memory attention reads (paper, section 3.3).

Several pathways are read as one batch. Nothing in sam2 changes for the modulation: SAM 2's memory attention
forms keys as `memory + memory_pos` and values as `memory`, so `memory_pos' = w (memory + memory_pos) - memory`
scales the keys by w and leaves the values alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

from sam2long.model.seam import MemoryEncodings
from sam2long.search.selection import modulation_weights

# The score of a conditioning frame when memories are ranked for modulation: the user is certain.
CONDITIONING_SCORE = 10.0
_MAX_STACKED_POS = 8


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
    """

    frame_idx: int
    predicted_iou: float
    occlusion_score: float
    features: Tensor | None
    obj_ptr: Tensor


@dataclass(slots=True)
class PathwayMemory:
    """All that a pathway attends to on a frame.

    Attributes:
        conditioning: the conditioning frames attended to.
        conditioning_pointers: those of them whose pointers are attended to, with their signed temporal distance.
        remembered: the frames the pathway remembers (design: L), oldest first.
        modulated: whether keys are weighted by certainty (not on a tree's first step, which is SAM 2's own).
    """

    conditioning: Sequence[FrameMemory]
    conditioning_pointers: Sequence[tuple[int, FrameMemory]]
    remembered: Sequence[FrameMemory]
    modulated: bool


class MemoryBank:
    """Reads the memories of pathways as batched tokens for `memory_attention`.

    Args:
        model: the predictor (its encodings, pointer projection and sizes are used).
        spatial_pos: spatial positional encoding of a memory, [1, C_mem, H, W] (SAM 2's `maskmem_pos_enc`).
        max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`.
        modulation: (w_low, w_high).
        device: where the model runs.
    """

    def __init__(
        self,
        model: MemoryEncodings,
        spatial_pos: Tensor,
        max_obj_ptrs: int,
        modulation: tuple[float, float],
        device: torch.device,
    ) -> None:
        self._model = model
        self._spatial_pos = spatial_pos.to(device).flatten(2).permute(2, 0, 1)  # (HW, 1, C_mem)
        self._max_obj_ptrs = max_obj_ptrs
        self._modulation = modulation
        self._device = device
        self._stacked_pos: dict[tuple[int, int], Tensor] = {}

    def spatial_memories(self, pathway: PathwayMemory) -> list[FrameMemory]:
        """Conditioning frames, then the newest remembered frames, oldest first."""
        recent = min(self._model.num_maskmem - 1, len(pathway.remembered))
        return [*pathway.conditioning, *pathway.remembered[len(pathway.remembered) - recent :]]

    def pointers(self, pathway: PathwayMemory) -> list[tuple[int, FrameMemory, float]]:
        """(temporal distance, memory, score) of each object pointer: conditioning first, then newest to oldest."""
        if not self._model.use_obj_ptrs_in_encoder:
            return []
        conditioning = [(dist, memory, CONDITIONING_SCORE) for dist, memory in pathway.conditioning_pointers]
        newest_first = list(reversed(pathway.remembered[1:]))[: self._max_obj_ptrs - 1]
        return conditioning + [(k, mem, mem.occlusion_score) for k, mem in enumerate(newest_first, start=1)]

    def lengths(self, pathway: PathwayMemory) -> tuple[int, int, bool]:
        """Pathways of equal lengths can be read as one batch: (spatial memories, pointers, weighted or not)."""
        num_spatial = len(self.spatial_memories(pathway))
        return num_spatial, len(self.pointers(pathway)), pathway.modulated and num_spatial > 1

    def read(self, pathways: Sequence[PathwayMemory]) -> tuple[Tensor, Tensor, int]:
        """Tokens of pathways of equal `lengths`.

        Returns:
            memory [N, B, C_mem], memory_pos [N, B, C_mem] (already weighted), and how many of the N tokens,
            at the end, are object pointers (SAM 2 gives those no rotary encoding).
        """
        num_spatial, num_pointers, weighted = self.lengths(pathways[0])
        memory, memory_pos = self._read_spatial(pathways)
        num_pointer_tokens = 0
        if not num_pointers:
            # Pointers lift the bfloat16 features to their own precision; alone, features would meet float weights.
            memory = memory.to(memory_pos.dtype)
        else:
            tokens, tokens_pos = self._read_pointers(pathways)
            num_pointer_tokens = tokens.shape[0]
            memory = torch.cat([memory, tokens], dim=0)
            memory_pos = torch.cat([memory_pos, tokens_pos], dim=0)
        if weighted:
            repeats = [self._spatial_pos.shape[0]] * num_spatial
            repeats += [num_pointer_tokens // max(num_pointers, 1)] * num_pointers
            weights = self._weights(pathways, repeats)
            memory_pos = (weights - 1.0) * memory + weights * memory_pos
        return memory, memory_pos, num_pointer_tokens

    def _read_spatial(self, pathways: Sequence[PathwayMemory]) -> tuple[Tensor, Tensor]:
        columns = [self.spatial_memories(pathway) for pathway in pathways]
        rows = [
            # pathways side by side
            [self._tokens(column[i]) for column in columns]
            for i in range(len(columns[0]))
        ]
        memory = torch.cat([row[0] if len(row) == 1 else torch.cat(row, dim=1) for row in rows], dim=0)
        num_conditioning = len(pathways[0].conditioning)
        pos = self._stack_pos(num_conditioning, len(rows) - num_conditioning)
        return memory, pos.expand(-1, len(pathways), -1)

    def _tokens(self, memory: FrameMemory) -> Tensor:
        if memory.features is None:
            raise RuntimeError(f"the memory of frame {memory.frame_idx} is attended to but has no features")
        # (1, C_mem, H, W) -> (HW, 1, C_mem)
        return memory.features.to(self._device, non_blocking=True).flatten(2).permute(2, 0, 1)

    def _stack_pos(self, num_conditioning: int, num_recent: int) -> Tensor:
        """Spatial plus temporal encodings, (S HW, 1, C_mem): the j-th newest memory counts as j frames old."""
        key = (num_conditioning, num_recent)
        if key not in self._stacked_pos:
            last = self._model.num_maskmem - 1
            ages = [last] * num_conditioning + list(range(num_recent - 1, -1, -1))
            tpos = self._model.maskmem_tpos_enc
            if len(self._stacked_pos) >= _MAX_STACKED_POS:  # a few MB each; a steady track needs one or two
                self._stacked_pos.clear()
            self._stacked_pos[key] = torch.cat([self._spatial_pos + tpos[age] for age in ages], dim=0)
        return self._stacked_pos[key]

    def _read_pointers(self, pathways: Sequence[PathwayMemory]) -> tuple[Tensor, Tensor]:
        model = self._model
        columns = [self.pointers(pathway) for pathway in pathways]
        ptrs = torch.stack([torch.cat([m.obj_ptr for _, m, _ in column], dim=0) for column in columns], dim=1)
        num_pointers, batch_size, channels = ptrs.shape  # (K, B, C)
        if model.add_tpos_enc_to_obj_ptrs:
            distances = torch.tensor([[dist for dist, _, _ in column] for column in columns]).T  # (K, B)
            distances = distances.to(self._device, non_blocking=True) / (self._max_obj_ptrs - 1)
            dim = channels if model.proj_tpos_enc_in_obj_ptrs else model.mem_dim
            pos = model.obj_ptr_tpos_proj(get_1d_sine_pe(distances, dim=dim))  # (K, B, C_mem)
        else:
            pos = ptrs.new_zeros(num_pointers, batch_size, model.mem_dim)
        split = channels // model.mem_dim
        if split > 1:
            # a pointer becomes C / C_mem tokens: (K, B, C) -> (K split, B, C_mem)
            ptrs = ptrs.reshape(num_pointers, batch_size, split, model.mem_dim).permute(0, 2, 1, 3).flatten(0, 1)
            pos = pos.repeat_interleave(split, dim=0)
        return ptrs, pos

    def _weights(self, pathways: Sequence[PathwayMemory], repeats: Sequence[int]) -> Tensor:
        """Weight of every token by its memory's rank, (N, B, 1); spatial memories and pointers rank separately."""
        weights = torch.tensor([self._item_weights(pathway) for pathway in pathways]).T  # (items, B)
        counts = torch.tensor(repeats).to(self._device, non_blocking=True)
        weights = weights.to(self._device, non_blocking=True)
        return weights.repeat_interleave(counts, dim=0, output_size=sum(repeats)).unsqueeze(-1)

    def _item_weights(self, pathway: PathwayMemory) -> list[float]:
        num_conditioning = len(pathway.conditioning)
        spatial = self.spatial_memories(pathway)[num_conditioning:]
        spatial_scores = [CONDITIONING_SCORE] * num_conditioning + [m.occlusion_score for m in spatial]
        pointer_scores = [score for _, _, score in self.pointers(pathway)]
        return modulation_weights(spatial_scores, self._modulation) + modulation_weights(
            pointer_scores, self._modulation
        )
