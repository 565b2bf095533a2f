"""SAM 2's tracking step in parts, tensors in and tensors out, for a batch of pathways.

These are SAM 2's own modules, called in SAM 2's own order (`SAM2Base.track_step`). The modules are called
directly because `_forward_sam_heads` returns only the best mask's object pointer, and the tree needs one per mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from sam2long.model.image_features import ImageFeatures
from sam2long.model.seam import StepModel
from sam2long.search.picking import Proposal


@dataclass(slots=True)
class DecodedMasks:
    """What the pathways propose for a frame, one row a pathway.

    Attributes:
        mask_logits: [B, M, h, w] float32, low-res (image_size / 4); SAM 2's no-object value where the object is absent.
        predicted_ious: [B, M].
        tokens: mask tokens, [B, M, C] (or [B, 1, C] where the model shares one token between its masks).
        object_score_logits: occlusion scores, [B, 1].
    """

    mask_logits: Tensor
    predicted_ious: Tensor
    tokens: Tensor
    object_score_logits: Tensor

    def proposals(self) -> list[Proposal]:
        """The scores of every row: the frame's one wait for the device.

        It waits for these numbers only, not for what else is queued (frames being encoded ahead).
        """
        rows = torch.cat([self.predicted_ious, self.object_score_logits], dim=1).float()
        if rows.is_cuda:
            rows = rows.to("cpu", non_blocking=True)
            torch.cuda.current_stream().record_event().synchronize()
        return [Proposal(row, values[:-1], values[-1]) for row, values in enumerate(rows.tolist())]


class TrackingSteps:
    """The modules of a tracking step.

    Args:
        model: the predictor.
    """

    def __init__(self, model: StepModel) -> None:
        self._model = model
        self._prompts: dict[int, tuple[Tensor, Tensor]] = {}
        self._image_pe: Tensor | None = None

    def attend(self, features: ImageFeatures, memory: Tensor, memory_pos: Tensor, num_obj_ptr_tokens: int) -> Tensor:
        """A frame's features in the light of memory.

        Args:
            features: of the frame, shared by all pathways.
            memory, memory_pos: tokens of each pathway, [N, B, C_mem], as `MemoryBank.read` gives them.
            num_obj_ptr_tokens: how many of the N, at the end, are object pointers.

        Returns:
            [B, C, H, W].
        """
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
        pix_feat = padded(pix_feat, batch_size)
        sparse, dense, image_pe = self._empty_prompt(batch_size, pix_feat.device)
        outputs = model.sam_mask_decoder(
            image_embeddings=pix_feat,
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
        mask_logits, ious, tokens, object_score_logits = rows
        if model.pred_obj_scores:
            mask_logits = torch.where((object_score_logits > 0)[:, None, None], mask_logits, NO_OBJ_SCORE)
        return DecodedMasks(mask_logits.float(), ious, tokens, object_score_logits)

    def _empty_prompt(self, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of 'no prompt' as SAM 2 gives them on tracked frames (one point of label -1); built once."""
        encoder = self._model.sam_prompt_encoder
        if self._image_pe is None:
            self._image_pe = encoder.get_dense_pe()
        if batch_size not in self._prompts:
            points = torch.zeros(batch_size, 1, 2, device=device)
            labels = -torch.ones(batch_size, 1, dtype=torch.int32, device=device)
            sparse, dense = encoder(points=(points, labels), boxes=None, masks=None)
            self._prompts[batch_size] = (
                (sparse.clone(), dense.clone()) if self._model.reuses_buffers else (sparse, dense)
            )
        return *self._prompts[batch_size], self._image_pe

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
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing > 0 else rows
