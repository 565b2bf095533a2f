"""A batched forward pass for all pathways of all objects: condition, decode three masks each, encode the selected."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2long.model.image_features import ImageFeatures
from sam2long.model.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.model.seam import StepModel
from sam2long.model.steps import DecodedMasks, TrackingSteps, padded
from sam2long.search.picking import Pick
from sam2long.search.tree import MemoryNode, MemoryTree, PendingFrame

# A CPU gains nothing from a batch whose activations outgrow its caches and are paged in afresh by every operation:
# at 1024 pixels five rows one by one take 5 % less time in memory attention, 30 % less in the memory encoder.
_TOKENS_AT_ONCE_ON_CPU = 4096


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


# The search knows its payload as something opaque; this is what it is.
Node = MemoryNode[FrameMemory, Hypothesis]
Tree = MemoryTree[FrameMemory, Hypothesis]
Pending = PendingFrame[FrameMemory, Hypothesis]


class HypothesisModel:
    """Runs SAM 2's tracking step for many pathways at once.

    Args:
        model: the predictor.
        bank: reads the memories of pathways.
    """

    def __init__(self, model: StepModel, bank: MemoryBank) -> None:
        self._model = model
        self._bank = bank
        self._steps = TrackingSteps(model)

    def decode(self, features: ImageFeatures, pathways: Sequence[PathwayMemory]) -> DecodedMasks:
        """The masks each pathway proposes for a frame, rows in the order of `pathways`."""
        groups: dict[tuple[int, int, bool], list[int]] = {}
        for row, pathway in enumerate(pathways):
            groups.setdefault(self._bank.lengths(pathway), []).append(row)
        at_once = self._rows_at_once(features)
        batches = [rows[i : i + at_once] for rows in groups.values() for i in range(0, len(rows), at_once)]
        conditioned = [self._condition(features, [pathways[row] for row in rows]) for rows in batches]
        order = [row for rows in batches for row in rows]
        pix_feat = conditioned[0] if len(conditioned) == 1 else torch.cat(conditioned, dim=0)
        if order != sorted(order):
            back = torch.tensor(order).argsort().to(pix_feat.device, non_blocking=True)
            pix_feat = pix_feat[back]
        return self._steps.decode(features, pix_feat)

    def _rows_at_once(self, features: ImageFeatures) -> int:
        """How many pathways go through memory attention and the memory encoder in one batch."""
        tokens = features.vision_feats[-1]  # (HW, 1, C)
        compiled = self._model.reuses_buffers  # for a few batch sizes, which pieces would add to
        if tokens.device.type != "cpu" or compiled:
            return sys.maxsize
        return max(1, _TOKENS_AT_ONCE_ON_CPU // tokens.shape[0])

    def _condition(self, features: ImageFeatures, pathways: Sequence[PathwayMemory]) -> Tensor:
        """The frame's features in the light of each pathway's memory, [B, C, H, W]."""
        missing = self._model.padded_batch_size(len(pathways)) - len(pathways)
        memory, memory_pos, num_obj_ptr_tokens = self._bank.read([*pathways, *[pathways[-1]] * missing])
        return self._steps.attend(features, memory, memory_pos, num_obj_ptr_tokens)[: len(pathways)]

    def encode(
        self, frame_idx: int, features: ImageFeatures, decoded: DecodedMasks, picks: Sequence[Pick]
    ) -> list[Hypothesis]:
        """Encode the memory of the selected masks, and of no others."""
        device = decoded.mask_logits.device
        index = torch.tensor([[pick.row, pick.mask_idx] for pick in picks]).to(device, non_blocking=True)
        rows, mask_idxs = index.unbind(dim=1)
        mask_logits = decoded.mask_logits[rows, mask_idxs].unsqueeze(1)  # (N, 1, h, w)
        object_score_logits = decoded.object_score_logits[rows]  # (N, 1)
        shared_token = decoded.tokens.shape[1] == 1
        tokens = decoded.tokens[rows, torch.zeros_like(mask_idxs) if shared_token else mask_idxs]
        obj_ptrs = self._steps.object_pointers(tokens, object_score_logits)
        memories = self._encode_memory(features, mask_logits, object_score_logits)
        hypotheses = []
        for i, pick in enumerate(picks):
            # Slices are cloned: a view would keep the whole batch alive when its siblings are dropped.
            memory = FrameMemory(
                frame_idx, pick.predicted_iou, pick.occlusion_score, _own(memories, i), _own(obj_ptrs, i)
            )
            hypotheses.append(Hypothesis(memory, _own(mask_logits, i), _own(object_score_logits, i), pick.score))
        return hypotheses

    def _encode_memory(self, features: ImageFeatures, mask_logits: Tensor, object_score_logits: Tensor) -> Tensor:
        """Spatial memories [N, C_mem, H, W] in bfloat16, each from its own mask."""
        model, num_masks = self._model, mask_logits.shape[0]
        # SAM 2 encodes one object at a time, where its non-overlap constraint does nothing; in a batch it
        # would take pathways for competing objects.
        alone = model.non_overlap_masks_for_mem_enc
        size = 1 if alone else min(model.padded_batch_size(num_masks), self._rows_at_once(features))
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


def unpinned(tensor: Tensor) -> Tensor:
    """The tensor in ordinary host memory, if it lies in pinned memory; else as it is."""
    return tensor.clone() if tensor.is_pinned() else tensor


def wait_for_host_copies(device: torch.device) -> None:
    """Wait until what was queued has happened, copies to the host among it; at once where nothing is queued."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def _own(batch: Tensor, row: int) -> Tensor:
    return batch if batch.shape[0] == 1 else batch[row : row + 1].clone()
