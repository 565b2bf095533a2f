"""A batched forward pass for all pathways of all objects: three masks proposed each, the selected remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from sam2long.model.evidence import EvidenceOfMasks, evidence_or_none
from sam2long.model.host_copies import ToHost, unpinned
from sam2long.model.image_features import ImageFeatures
from sam2long.model.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.model.modules import DecodedMasks, TrackingModules, own
from sam2long.model.seam import TrackingModel
from sam2long.search.picking import Pick, Proposal
from sam2long.search.policy import Want
from sam2long.search.tree import MemoryNode, MemoryTree, PendingFrame


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


class Proposals:
    """What all pathways propose for a frame: masks on the device, their scores on the way to the host.

    Args:
        decoded: rows in the order of the pathways.
        evidence: of their masks, if a policy wants any.
    """

    def __init__(self, decoded: DecodedMasks, evidence: EvidenceOfMasks | None = None) -> None:
        self.decoded = decoded
        self._evidence = evidence
        self._scores = ToHost(decoded.scores)

    def scores(self) -> list[Proposal]:
        """The scores and the evidence of every row: the frame's one wait for the device."""
        rows: list[list[float]] = self._scores.wait().tolist()
        of_rows = zip(rows, evidence_or_none(self._evidence), strict=False)
        return [Proposal(row, values[:-1], values[-1], evidence) for row, (values, evidence) in enumerate(of_rows)]


class HypothesisModel:
    """Runs SAM 2's tracking step for many pathways at once.

    Args:
        model: the predictor.
        bank: chooses what pathways attend to.
        modules: memory attention, mask decoder and memory encoder.
        wants: evidence about every mask that the policy wants.
    """

    def __init__(
        self, model: TrackingModel, bank: MemoryBank, modules: TrackingModules, wants: frozenset[Want] = frozenset()
    ) -> None:
        self._model = model
        self._bank = bank
        self._modules = modules
        self._wants = wants

    def propose(self, features: ImageFeatures, pathways: Sequence[PathwayMemory]) -> Proposals:
        """The masks each pathway proposes for a frame, rows in the order of `pathways`."""
        groups: dict[tuple[int, int, int, bool], list[int]] = {}
        for row, pathway in enumerate(pathways):
            groups.setdefault(self._bank.lengths(pathway), []).append(row)
        at_once = self._modules.rows_at_once(features)
        rows = [of[i : i + at_once] for of in groups.values() for i in range(0, len(of), at_once)]
        batches = [self._bank.items(self._padded([pathways[row] for row in of])) for of in rows]
        decoded = self._modules.propose(features, batches, rows)
        evidence = EvidenceOfMasks(self._wants, decoded.raw_logits, features) if self._wants else None
        return Proposals(decoded, evidence)

    def _padded(self, pathways: list[PathwayMemory]) -> list[PathwayMemory]:
        return pathways + [pathways[-1]] * (self._model.padded_batch_size(len(pathways)) - len(pathways))

    def finish(self, mask_logits: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """What is committed of decided masks [1, 1, h, w]: logits with their holes filled, and `quantise` of them."""
        batch = mask_logits[0] if len(mask_logits) == 1 else torch.cat(list(mask_logits))
        pred_masks, levels = self._modules.finish(batch)
        return [(own(pred_masks, row), levels[row : row + 1]) for row in range(len(mask_logits))]

    def remember(
        self, frame_idx: int, features: ImageFeatures, proposals: Proposals, picks: Sequence[Pick]
    ) -> list[Hypothesis]:
        """Encode the memory of the selected masks, and of no others."""
        decoded, device = proposals.decoded, proposals.decoded.mask_logits.device
        index = torch.tensor([[pick.row, pick.mask_idx] for pick in picks]).to(device, non_blocking=True)
        rows, mask_idxs = index.unbind(dim=1)
        mask_logits = decoded.mask_logits[rows, mask_idxs].unsqueeze(1)  # (N, 1, h, w)
        object_score_logits = decoded.object_score_logits[rows]  # (N, 1)
        if any(pick.visible is not None for pick in picks):
            raw = decoded.raw_logits[rows, mask_idxs].unsqueeze(1).float()
            mask_logits, object_score_logits = _with_presence(picks, mask_logits, raw, object_score_logits)
        shared_token = decoded.tokens.shape[1] == 1
        tokens = decoded.tokens[rows, torch.zeros_like(mask_idxs) if shared_token else mask_idxs]
        remembered = self._modules.remember(features, mask_logits, object_score_logits, tokens)
        hypotheses = []
        for i, (pick, (memory, obj_ptr)) in enumerate(zip(picks, remembered, strict=True)):
            frame = FrameMemory(frame_idx, pick.predicted_iou, pick.occlusion_score, memory, obj_ptr, pick.note)
            hypotheses.append(Hypothesis(frame, own(mask_logits, i), own(object_score_logits, i), pick.score))
        return hypotheses


def _with_presence(
    picks: Sequence[Pick], mask_logits: Tensor, raw_logits: Tensor, object_score_logits: Tensor
) -> tuple[Tensor, Tensor]:
    """Masks [N, 1, h, w] and occlusion scores [N, 1] where the policy says whether the object shows."""
    device = mask_logits.device
    said = torch.tensor([[pick.visible is not None, pick.visible is True, pick.occlusion_score] for pick in picks])
    changed, shows, scores = said.to(device, non_blocking=True).unbind(dim=1)
    changed, shows = (flag.bool()[:, None, None, None] for flag in (changed, shows))
    said_masks = torch.where(shows, raw_logits, NO_OBJ_SCORE)
    said_scores = torch.where(changed[:, 0, 0], scores[:, None].to(object_score_logits.dtype), object_score_logits)
    return torch.where(changed, said_masks, mask_logits), said_scores
