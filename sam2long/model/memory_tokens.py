"""From memories to the tokens that memory attention reads (paper, section 3.3).

Nothing in sam2 changes for the modulation: SAM 2's memory attention forms keys as `memory + memory_pos` and values as
`memory`, so `memory_pos' = w (memory + memory_pos) - memory` scales the keys by w and leaves the values alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

from sam2long.model.seam import MemoryEncodings

_MAX_STACKED_POS = 8


@dataclass(slots=True)
class MemoryItems:
    """What B pathways attend to, item by item; all have S spatial memories and K object pointers.

    Attributes:
        features: S rows of B spatial memories [1, C_mem, H, W], bfloat16 as SAM 2 stores them.
        pointers: K rows of B object pointers [1, C].
        num_conditioning: how many of the S, at the front, are conditioning frames.
        weighted: whether the keys are weighted.
        numbers: float32 [S + 2 K, B]: a weight for every spatial memory and every pointer, then the pointers' signed
            temporal distances in frames.
    """

    features: Sequence[Sequence[Tensor]]
    pointers: Sequence[Sequence[Tensor]]
    num_conditioning: int
    weighted: bool
    numbers: Tensor


class MemoryTokens:
    """Makes tokens of memories with SAM 2's encodings.

    Args:
        model: the predictor (its encodings, pointer projection and sizes are used).
        spatial_pos: spatial positional encoding of a memory, (HW, 1, C_mem).
        max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`.
        keeps_pos: whether stacked encodings are kept from frame to frame.
    """

    def __init__(
        self, model: MemoryEncodings, spatial_pos: Tensor, max_obj_ptrs: int, *, keeps_pos: bool = True
    ) -> None:
        self._model = model
        self._spatial_pos = spatial_pos
        self._max_obj_ptrs = max_obj_ptrs
        self._stacked_pos: dict[tuple[int, int], Tensor] | None = {} if keeps_pos else None

    def of(self, items: MemoryItems) -> tuple[Tensor, Tensor, int]:
        """The tokens of pathways.

        Returns:
            memory [N, B, C_mem], memory_pos [N, B, C_mem] (already weighted), and how many of the N tokens,
            at the end, are object pointers (SAM 2 gives those no rotary encoding).
        """
        num_spatial, num_pointers = len(items.features), len(items.pointers)
        numbers = items.numbers.to(self._spatial_pos.device, non_blocking=True)
        memory, memory_pos = self._spatial(items)
        num_pointer_tokens = 0
        if not num_pointers:
            # Pointers lift the bfloat16 features to their own precision; alone, features would meet float weights.
            memory = memory.to(memory_pos.dtype)
        else:
            tokens, tokens_pos = self._pointers(items, numbers[num_spatial + num_pointers :])
            num_pointer_tokens = tokens.shape[0]
            memory = torch.cat([memory, tokens], dim=0)
            memory_pos = torch.cat([memory_pos, tokens_pos], dim=0)
        if items.weighted:
            weights = numbers[:num_spatial].repeat_interleave(self._spatial_pos.shape[0], dim=0)
            if num_pointers:
                of_pointers = numbers[num_spatial : num_spatial + num_pointers]
                of_pointers = of_pointers.repeat_interleave(num_pointer_tokens // num_pointers, dim=0)
                weights = torch.cat([weights, of_pointers])
            weights = weights.unsqueeze(-1)  # (N, B, 1)
            memory_pos = (weights - 1.0) * memory + weights * memory_pos
        return memory, memory_pos, num_pointer_tokens

    def _spatial(self, items: MemoryItems) -> tuple[Tensor, Tensor]:
        rows = [
            # pathways side by side
            [self._flat(memory) for memory in row]
            for row in items.features
        ]
        memory = torch.cat([row[0] if len(row) == 1 else torch.cat(row, dim=1) for row in rows], dim=0)
        pos = self._stack_pos(items.num_conditioning, len(rows) - items.num_conditioning)
        return memory, pos.expand(-1, len(rows[0]), -1)

    def _flat(self, features: Tensor) -> Tensor:
        # (1, C_mem, H, W) -> (HW, 1, C_mem)
        return features.to(self._spatial_pos.device, non_blocking=True).flatten(2).permute(2, 0, 1)

    def _stack_pos(self, num_conditioning: int, num_recent: int) -> Tensor:
        """Spatial plus temporal encodings, (S HW, 1, C_mem): the j-th newest memory counts as j frames old."""
        key, kept = (num_conditioning, num_recent), self._stacked_pos
        if kept is not None and key in kept:
            return kept[key]
        ages = [self._model.num_maskmem - 1] * num_conditioning + list(range(num_recent - 1, -1, -1))
        tpos = self._model.maskmem_tpos_enc
        stacked = torch.cat([self._spatial_pos + tpos[age] for age in ages], dim=0)
        if kept is not None:
            if len(kept) >= _MAX_STACKED_POS:  # a few MB each; a steady track needs one or two
                kept.clear()
            kept[key] = stacked
        return stacked

    def _pointers(self, items: MemoryItems, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Pointers as tokens (K C / C_mem, B, C_mem) and their encodings; `distances` are (K, B)."""
        model, batch_size = self._model, len(items.pointers[0])
        ptrs = torch.cat([pointer for row in items.pointers for pointer in row])
        channels = ptrs.shape[-1]
        ptrs = ptrs.view(-1, batch_size, channels)  # (K B, C) -> (K, B, C)
        if model.add_tpos_enc_to_obj_ptrs:
            dim = channels if model.proj_tpos_enc_in_obj_ptrs else model.mem_dim
            pos = model.obj_ptr_tpos_proj(get_1d_sine_pe(distances / (self._max_obj_ptrs - 1), dim=dim))
        else:
            pos = ptrs.new_zeros(len(items.pointers), batch_size, model.mem_dim)
        split = channels // model.mem_dim
        if split > 1:
            # a pointer becomes C / C_mem tokens: (K, B, C) -> (K split, B, C_mem)
            ptrs = ptrs.reshape(-1, batch_size, split, model.mem_dim).permute(0, 2, 1, 3).flatten(0, 1)
            pos = pos.repeat_interleave(split, dim=0)
        return ptrs, pos
