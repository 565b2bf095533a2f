"""A batched forward pass for all pathways of all objects: condition, decode three masks each, encode the selected.

These are SAM 2's own modules, called in SAM 2's own order (`SAM2Base.track_step`). The modules are called
directly because `_forward_sam_heads` returns only the best mask's object pointer, and the tree needs one per mask.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from sam2long.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.picking import Pick

# A CPU gains nothing from a batch whose activations outgrow its caches and are paged in afresh by every operation:
# at 1024 pixels five rows one by one take 5 % less time in memory attention, 30 % less in the memory encoder.
_TOKENS_AT_ONCE_ON_CPU = 4096


@dataclass(slots=True)
class FrameFeatures:
    """Image features of one frame, batch size 1, as SAM 2's `_get_image_feature` gives them.

    Attributes:
        vision_feats, vision_pos: per level, [HW, 1, C].
        feat_sizes: per level, (H, W).
    """

    vision_feats: list[Tensor]
    vision_pos: list[Tensor]
    feat_sizes: list[tuple[int, int]]


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

    def scores(self) -> tuple[list[list[float]], list[float]]:
        """(predicted IoUs per row and mask, occlusion score per row): the frame's one wait for the device.

        It waits for these numbers only, not for what else is queued (frames being encoded ahead).
        """
        rows = torch.cat([self.predicted_ious, self.object_score_logits], dim=1).float()
        if rows.is_cuda:
            rows = rows.to("cpu", non_blocking=True)
            torch.cuda.current_stream().record_event().synchronize()
        values = rows.tolist()
        return [row[:-1] for row in values], [row[-1] for row in values]


def unpinned(tensor: Tensor) -> Tensor:
    """The tensor in ordinary host memory, if it lies in pinned memory; else as it is."""
    return tensor.clone() if tensor.is_pinned() else tensor


@dataclass(slots=True)
class Hypothesis:
    """A selected mask and its memory.

    Attributes:
        memory: what its pathway remembers of the frame.
        mask_logits: [1, 1, h, w] float32, low-res.
        object_score_logits: [1, 1].
        score: cumulative score of its pathway up to this frame.
    """

    memory: FrameMemory
    mask_logits: Tensor
    object_score_logits: Tensor
    score: float

    def leave_device(self) -> None:
        """Wait for the decision on the host: the exact logits, and the memory without its features.

        The features live on in the pathways that remember the frame; for all others they are computed again
        if they are ever needed.
        """
        self.mask_logits = self.mask_logits.to("cpu", non_blocking=True)
        self.memory = replace(self.memory, features=None)

    def unpin(self) -> None:
        """Once the copy has arrived: a GPU copies to pinned memory, too scarce and slow to allocate for waiting."""
        self.mask_logits = unpinned(self.mask_logits)


class HypothesisModel:
    """Runs SAM 2's tracking step for many pathways at once.

    Args:
        model: the predictor.
        bank: reads the memories of pathways.
    """

    def __init__(self, model: Any, bank: MemoryBank) -> None:
        self._model = model
        self._bank = bank
        self._prompts: dict[int, tuple[Tensor, Tensor]] = {}
        self._image_pe: Tensor | None = None

    def decode(self, frame: FrameFeatures, pathways: Sequence[PathwayMemory]) -> DecodedMasks:
        """The masks each pathway proposes, rows in the order of `pathways`."""
        groups: dict[tuple[int, int, bool], list[int]] = {}
        for row, pathway in enumerate(pathways):
            groups.setdefault(self._bank.lengths(pathway), []).append(row)
        at_once = self._rows_at_once(frame)
        batches = [rows[i : i + at_once] for rows in groups.values() for i in range(0, len(rows), at_once)]
        features = [self._condition(frame, [pathways[row] for row in rows]) for rows in batches]
        order = [row for rows in batches for row in rows]
        pix_feat = features[0] if len(features) == 1 else torch.cat(features, dim=0)
        if order != sorted(order):
            back = torch.tensor(order).argsort().to(pix_feat.device, non_blocking=True)
            pix_feat = pix_feat[back]
        return self._decode(frame, pix_feat)

    def _rows_at_once(self, frame: FrameFeatures) -> int:
        """How many pathways go through memory attention and the memory encoder in one batch."""
        tokens = frame.vision_feats[-1]  # (HW, 1, C)
        compiled = self._model.reuses_buffers  # for a few batch sizes, which pieces would add to
        if tokens.device.type != "cpu" or compiled:
            return sys.maxsize
        return max(1, _TOKENS_AT_ONCE_ON_CPU // tokens.shape[0])

    def _condition(self, frame: FrameFeatures, pathways: Sequence[PathwayMemory]) -> Tensor:
        """The frame's features in the light of each pathway's memory, [B, C, H, W]."""
        num_pathways = len(pathways)
        batch_size = self._model.padded_batch_size(num_pathways)
        padded = [*pathways, *[pathways[-1]] * (batch_size - num_pathways)]
        memory, memory_pos, num_obj_ptr_tokens = self._bank.read(padded)
        pix_feat = self._model.memory_attention(
            curr=[frame.vision_feats[-1].expand(-1, batch_size, -1)],
            curr_pos=[frame.vision_pos[-1].expand(-1, batch_size, -1)],
            memory=memory,
            memory_pos=memory_pos,
            num_obj_ptr_tokens=num_obj_ptr_tokens,
        )
        if self._model.reuses_buffers:
            pix_feat = pix_feat.clone()
        # (HW, B, C) -> (B, C, H, W)
        return pix_feat.permute(1, 2, 0).view(batch_size, -1, *frame.feat_sizes[-1])[:num_pathways]

    def _decode(self, frame: FrameFeatures, pix_feat: Tensor) -> DecodedMasks:
        model, num_pathways = self._model, pix_feat.shape[0]
        batch_size = model.padded_batch_size(num_pathways)
        pix_feat = _padded(pix_feat, batch_size)
        sparse, dense, image_pe = self._empty_prompt(batch_size, pix_feat.device)
        mask_logits, ious, tokens, object_score_logits = model.sam_mask_decoder(
            image_embeddings=pix_feat,
            image_pe=image_pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=False,  # one image per pathway already
            high_res_features=self._high_res_features(frame),
        )
        rows = [output[:num_pathways] for output in (mask_logits, ious, tokens, object_score_logits)]
        if model.reuses_buffers:
            rows = [output.clone() for output in rows]
        mask_logits, ious, tokens, object_score_logits = rows
        if model.pred_obj_scores:
            mask_logits = torch.where((object_score_logits > 0)[:, None, None], mask_logits, NO_OBJ_SCORE)
        return DecodedMasks(mask_logits.float(), ious, tokens, object_score_logits)

    def _high_res_features(self, frame: FrameFeatures) -> list[Tensor] | None:
        """Features for the decoder's upscaling, [1, C, H, W] each: one image serves all pathways by broadcasting."""
        if len(frame.vision_feats) == 1:
            return None
        return [
            feats.permute(1, 2, 0).view(1, feats.shape[2], *size)
            for feats, size in zip(frame.vision_feats[:-1], frame.feat_sizes[:-1], strict=True)
        ]

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

    def encode(
        self,
        frame_idx: int,
        frame: FrameFeatures,
        decoded: DecodedMasks,
        picks: Sequence[Pick],
    ) -> list[Hypothesis]:
        """Encode the memory of the selected masks, and of no others."""
        device = decoded.mask_logits.device
        index = torch.tensor([[pick.row, pick.mask_idx] for pick in picks]).to(device, non_blocking=True)
        rows, mask_idxs = index.unbind(dim=1)
        mask_logits = decoded.mask_logits[rows, mask_idxs].unsqueeze(1)  # (N, 1, h, w)
        object_score_logits = decoded.object_score_logits[rows]  # (N, 1)
        shared_token = decoded.tokens.shape[1] == 1
        tokens = decoded.tokens[rows, torch.zeros_like(mask_idxs) if shared_token else mask_idxs]
        obj_ptrs = self._object_pointers(tokens, object_score_logits)
        features = self._encode_memory(frame, mask_logits, object_score_logits)
        hypotheses = []
        for i, pick in enumerate(picks):
            # Slices are cloned: a view would keep the whole batch alive when its siblings are dropped.
            memory = FrameMemory(
                frame_idx, pick.predicted_iou, pick.occlusion_score, _own(features, i), _own(obj_ptrs, i)
            )
            hypotheses.append(Hypothesis(memory, _own(mask_logits, i), _own(object_score_logits, i), pick.score))
        return hypotheses

    def _object_pointers(self, tokens: Tensor, object_score_logits: Tensor) -> Tensor:
        """Pointers [N, C] of mask tokens, gated by presence as in SAM 2's `_forward_sam_heads`."""
        model = self._model
        obj_ptrs: Tensor = model.obj_ptr_proj(tokens)
        if not model.pred_obj_scores:
            return obj_ptrs
        present = object_score_logits.sigmoid() if model.soft_no_obj_ptr else (object_score_logits > 0).float()
        if model.fixed_no_obj_ptr:
            obj_ptrs = present * obj_ptrs
        return obj_ptrs + (1 - present) * model.no_obj_ptr

    def _encode_memory(self, frame: FrameFeatures, mask_logits: Tensor, object_score_logits: Tensor) -> Tensor:
        """Spatial memories [N, C_mem, H, W] in bfloat16, each from its own mask."""
        model, num_masks = self._model, mask_logits.shape[0]
        # SAM 2 encodes one object at a time, where its non-overlap constraint does nothing; in a batch it
        # would take pathways for competing objects.
        alone = model.non_overlap_masks_for_mem_enc
        size = 1 if alone else min(model.padded_batch_size(num_masks), self._rows_at_once(frame))
        high_res = F.interpolate(
            _padded(mask_logits, size),
            size=(model.image_size, model.image_size),
            mode="bilinear",
            align_corners=False,
        )
        object_score_logits = _padded(object_score_logits, size)
        chunks = [
            model._encode_new_memory(
                current_vision_feats=frame.vision_feats,
                feat_sizes=frame.feat_sizes,
                pred_masks_high_res=masks,
                object_score_logits=scores,
                is_mask_from_pts=False,
            )[0]
            for masks, scores in zip(torch.split(high_res, size), torch.split(object_score_logits, size), strict=True)
        ]
        return torch.cat(chunks, dim=0)[:num_masks].to(torch.bfloat16)


def _padded(rows: Tensor, batch_size: int) -> Tensor:
    """`rows` with its last row repeated, `batch_size` at least."""
    missing = batch_size - rows.shape[0]
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing > 0 else rows


def _own(batch: Tensor, row: int) -> Tensor:
    return batch if batch.shape[0] == 1 else batch[row : row + 1].clone()
