"""SAM 2's tracking step in two parts, tensors in and tensors out, for a batch of pathways.

These are SAM 2's own modules, called in SAM 2's own order (`SAM2Base.track_step`). The modules are called
directly because `_forward_sam_heads` returns only the best mask's object pointer, and the tree needs one per mask.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from sam2long.model.holes import fill_holes
from sam2long.model.image_features import ImageFeatures
from sam2long.model.levels import quantise
from sam2long.model.memory_tokens import MemoryItems, MemoryTokens
from sam2long.model.seam import TrackingModel

# A CPU gains nothing from a batch whose activations outgrow its caches and are paged in afresh by every operation:
# at 1024 pixels five rows one by one take 5 % less time in memory attention, 30 % less in the memory encoder.
_TOKENS_AT_ONCE_ON_CPU = 4096


@dataclass(slots=True)
class DecodedMasks:
    """What the pathways propose for a frame, one row a pathway.

    Attributes:
        mask_logits: [B, M, h, w] float32, low-res (image_size / 4); SAM 2's no-object value where the object is absent.
        tokens: mask tokens, [B, M, C] (or [B, 1, C] where the model shares one token between its masks).
        object_score_logits: occlusion scores, [B, 1].
        scores: float32 [B, M + 1], predicted IoUs, then the occlusion score: what the host waits for.
        raw_logits: `mask_logits` as decoded, also where the object is absent, of any precision.
    """

    mask_logits: Tensor
    tokens: Tensor
    object_score_logits: Tensor
    scores: Tensor
    raw_logits: Tensor


class TrackingModules:
    """SAM 2's modules of tracking, run eagerly.

    Args:
        model: the predictor.
        tokens: makes tokens of memories; None where nothing is attended to.
        keeps_prompt: whether the embeddings of 'no prompt' are kept from frame to frame.
    """

    def __init__(self, model: TrackingModel, tokens: MemoryTokens | None, *, keeps_prompt: bool = True) -> None:
        self._model = model
        self._tokens = tokens
        self._prompts: dict[int, tuple[Tensor, Tensor, Tensor]] | None = {} if keeps_prompt else None

    def rows_at_once(self, features: ImageFeatures) -> int:
        """How many pathways go through memory attention and the memory encoder in one batch."""
        tokens = features.vision_feats[-1]  # (HW, 1, C)
        compiled = self._model.reuses_buffers  # for a few batch sizes, which pieces would add to
        if tokens.device.type != "cpu" or compiled:
            return sys.maxsize
        return max(1, _TOKENS_AT_ONCE_ON_CPU // tokens.shape[0])

    # -- memory attention and mask decoder -------------------------------------------------------------------------

    def propose(
        self, features: ImageFeatures, batches: Sequence[MemoryItems], rows: Sequence[Sequence[int]]
    ) -> DecodedMasks:
        """The masks of all pathways.

        Args:
            features: of the frame, shared by all pathways.
            batches: what the pathways attend to, in batches of equal lengths, each padded to its size.
            rows: the rows of the result that each batch is for; together all rows once.
        """
        conditioned = [self.attend(features, items)[: len(of)] for items, of in zip(batches, rows, strict=True)]
        return self.decode(features, in_order(conditioned, rows))

    def attend(self, features: ImageFeatures, items: MemoryItems) -> Tensor:
        """A frame's features in the light of each pathway's memory, [B, C, H, W]."""
        assert self._tokens is not None
        memory, memory_pos, num_obj_ptr_tokens = self._tokens.of(items)
        batch_size = memory.shape[1]
        pix_feat = self._model.memory_attention(
            curr=[features.vision_feats[-1].expand(-1, batch_size, -1)],
            curr_pos=[features.vision_pos[-1].expand(-1, batch_size, -1)],
            memory=memory,
            memory_pos=memory_pos,
            num_obj_ptr_tokens=num_obj_ptr_tokens,
        )
        if self._model.reuses_buffers:
            pix_feat = pix_feat.clone()
        # (HW, B, C) -> (B, C, H, W)
        return pix_feat.permute(1, 2, 0).view(batch_size, -1, *features.feat_sizes[-1])

    def decode(self, features: ImageFeatures, pix_feat: Tensor) -> DecodedMasks:
        """The masks of every pathway, from its conditioned features [B, C, H, W]."""
        model, num_pathways = self._model, pix_feat.shape[0]
        batch_size = model.padded_batch_size(num_pathways)
        sparse, dense, image_pe = self._empty_prompt(batch_size, pix_feat.device)
        outputs = model.sam_mask_decoder(
            image_embeddings=padded(pix_feat, batch_size),
            image_pe=image_pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=False,  # one image per pathway already
            high_res_features=_high_res_features(features),
        )
        rows = [output[:num_pathways] for output in outputs]
        if model.reuses_buffers:
            rows = [output.clone() for output in rows]
        raw_logits, ious, tokens, object_score_logits = rows
        mask_logits = raw_logits
        if model.pred_obj_scores:
            mask_logits = torch.where((object_score_logits > 0)[:, None, None], raw_logits, NO_OBJ_SCORE)
        scores = torch.cat([ious, object_score_logits], dim=1).float()
        return DecodedMasks(mask_logits.float(), tokens, object_score_logits, scores, raw_logits)

    def _empty_prompt(self, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of 'no prompt' as SAM 2 gives them on tracked frames (one point of label -1)."""
        if self._prompts is not None and batch_size in self._prompts:
            return self._prompts[batch_size]
        encoder = self._model.sam_prompt_encoder
        points = torch.zeros(batch_size, 1, 2, device=device)
        labels = -torch.ones(batch_size, 1, dtype=torch.int32, device=device)
        sparse, dense = encoder(points=(points, labels), boxes=None, masks=None)
        if self._model.reuses_buffers:
            sparse, dense = sparse.clone(), dense.clone()
        prompt = sparse, dense, encoder.get_dense_pe()
        if self._prompts is not None:
            self._prompts[batch_size] = prompt
        return prompt

    # -- decided masks ---------------------------------------------------------------------------------------------

    def finish(self, mask_logits: Tensor) -> tuple[Tensor, Tensor]:
        """What is committed of decided masks [N, 1, h, w]: logits with their holes filled, and `quantise` of them."""
        pred_masks = fill_holes(mask_logits, self._model.fill_hole_area)
        return pred_masks, quantise(pred_masks)

    # -- object pointers and memory encoder ------------------------------------------------------------------------

    def remember(
        self, features: ImageFeatures, mask_logits: Tensor, object_score_logits: Tensor, tokens: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """What is remembered of selected masks, each from its own.

        Args:
            features: of the frame, shared by all masks.
            mask_logits: [N, 1, h, w], low-res.
            object_score_logits: [N, 1].
            tokens: of the masks, [N, C].

        Returns:
            Per mask a spatial memory [1, C_mem, H, W] in bfloat16, as SAM 2 stores it, and an object pointer [1, C].
        """
        size = self._model.padded_batch_size(len(tokens))  # a recording has as many rows, and kernels may depend on it
        obj_ptrs = self.object_pointers(padded(tokens, size), padded(object_score_logits, size))
        memories = self.encode_memory(features, mask_logits, object_score_logits)
        return [(own(memories, row), own(obj_ptrs, row)) for row in range(len(tokens))]

    def object_pointers(self, tokens: Tensor, object_score_logits: Tensor) -> Tensor:
        """Pointers [N, C] of mask tokens, gated by presence as in SAM 2's `_forward_sam_heads`."""
        model = self._model
        obj_ptrs: Tensor = model.obj_ptr_proj(tokens)
        if not model.pred_obj_scores:
            return obj_ptrs
        present = object_score_logits.sigmoid() if model.soft_no_obj_ptr else (object_score_logits > 0).float()
        if model.fixed_no_obj_ptr:
            obj_ptrs = present * obj_ptrs
        return obj_ptrs + (1 - present) * model.no_obj_ptr

    def encode_memory(self, features: ImageFeatures, mask_logits: Tensor, object_score_logits: Tensor) -> Tensor:
        """Spatial memories [N, C_mem, H, W] in bfloat16."""
        model, num_masks = self._model, mask_logits.shape[0]
        size = self.memory_batch(features, num_masks)
        high_res = F.interpolate(
            padded(mask_logits, size),
            size=(model.image_size, model.image_size),
            mode="bilinear",
            align_corners=False,
        )
        scores = torch.split(padded(object_score_logits, size), size)
        memories = [
            model.encode_memory(features, masks, of_masks)
            for masks, of_masks in zip(torch.split(high_res, size), scores, strict=True)
        ]
        return torch.cat(memories, dim=0)[:num_masks].to(torch.bfloat16)

    def memory_batch(self, features: ImageFeatures, num_masks: int) -> int:
        """How many masks the memory encoder takes at once."""
        # SAM 2 encodes one object at a time, where its non-overlap constraint does nothing; in a batch it
        # would take pathways for competing objects.
        if self._model.non_overlap_masks_for_mem_enc:
            return 1
        return min(self._model.padded_batch_size(num_masks), self.rows_at_once(features))


def _high_res_features(features: ImageFeatures) -> list[Tensor] | None:
    """Features for the decoder's upscaling, [1, C, H, W] each: one image serves all pathways by broadcasting."""
    if len(features.vision_feats) == 1:
        return None
    return [
        feats.permute(1, 2, 0).view(1, feats.shape[2], *size)
        for feats, size in zip(features.vision_feats[:-1], features.feat_sizes[:-1], strict=True)
    ]


def padded(rows: Tensor, batch_size: int) -> Tensor:
    """`rows` with its last row repeated, `batch_size` at least."""
    missing = batch_size - rows.shape[0]
    # Not one expanded row: rows in channels-last order would lose it, and kernels of other layouts round otherwise.
    return torch.cat([rows, *[rows[-1:]] * missing]) if missing > 0 else rows


def in_order(batches: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Tensor:
    """The batches as one, row r being the one that `rows` says is r."""
    order = [row for of_batch in rows for row in of_batch]
    together = batches[0] if len(batches) == 1 else torch.cat(list(batches), dim=0)
    if order == sorted(order):
        return together
    return together[torch.tensor(order).argsort().to(together.device, non_blocking=True)]


def own(batch: Tensor, row: int) -> Tensor:
    """A row as [1, ...], cloned: a view would keep the whole batch alive when its siblings are dropped."""
    return batch if batch.shape[0] == 1 else batch[row : row + 1].clone()
