"""What the trees of a video nearly answered: kept, packed, of the frames on which they were in doubt."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.model.host_copies import ToHost
from sam2long.model.hypotheses import Hypothesis
from sam2long.model.levels import NUM_LEVELS, quantise
from sam2long.state.packing import PackedMask
from sam2long.state.shelf import Shelf

# Of one object; beyond that the least doubtful frames are forgotten.
MAX_FRAMES = 256
# A lead in cumulative score below which the race counts as close: a predicted IoU of 0.90 against 0.82, once.
_CLOSE = 0.1
# Masks that overlap by less show different things.
_PARTED = 0.7
_REAPPEARED = 0.5


@dataclass(frozen=True, slots=True)
class PackedAlternative:
    """A hypothesis that was alive when its frame was tracked.

    Attributes:
        mask: its low-res logits, packed.
        predicted_iou, occlusion_score, cumulative_score: as in `FrameScores`.
    """

    mask: PackedMask
    predicted_iou: float
    occlusion_score: float
    cumulative_score: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """A frame on which a tree was in doubt.

    Attributes:
        amount: how much, >= 0; the sum over the reasons.
        reasons: of "uncertain" (no occlusion score beyond the threshold), "close" (a small lead), "parted" (hypotheses
            show different things) and "reappeared" (the object was not there on the frame before).
        alternatives: best first when the frame was tracked.
    """

    amount: float
    reasons: tuple[str, ...]
    alternatives: tuple[PackedAlternative, ...]


@dataclass(slots=True)
class _Considered:
    """A frame whose masks are on the way to the host."""

    obj_id: Any
    frame_idx: int
    reasons: dict[str, float]
    scores: list[tuple[float, float, float]]
    levels: ToHost


@dataclass(slots=True)
class Review:
    """The doubts of all objects of a video."""

    doubts: dict[Any, dict[int, Doubt]] = field(default_factory=dict)
    _shelf: Shelf = field(default_factory=Shelf)
    _arriving: list[_Considered] = field(default_factory=list)
    _visible: dict[Any, tuple[int, bool]] = field(default_factory=dict)

    def consider(
        self, obj_id: Any, frame_idx: int, alive: Sequence[Hypothesis], margin: float, config: MemoryTreeConfig
    ) -> None:
        """Look at a frame that was tracked just now.

        Args:
            obj_id, frame_idx: which.
            alive: its distinct hypotheses, best first.
            margin: the best one's lead in cumulative score; inf where it is alone.
            config: the tree's settings.
        """
        # Those of this frame are still on their way: with many objects nobody waits for them before the next frame.
        self._pack_arrived(but=frame_idx)
        self._arriving = [considered for considered in self._arriving if considered.obj_id != obj_id]
        self.doubts.setdefault(obj_id, {}).pop(frame_idx, None)
        scores = [(h.memory.predicted_iou, h.memory.occlusion_score, h.score) for h in alive]
        reasons = self._reasons(obj_id, frame_idx, [occlusion for _, occlusion, _ in scores], margin, config)
        if reasons or len(alive) > 1:
            levels = ToHost(quantise(torch.cat([hypothesis.mask_logits for hypothesis in alive])))
            self._arriving.append(_Considered(obj_id, frame_idx, reasons, scores, levels))

    def _reasons(
        self, obj_id: Any, frame_idx: int, occlusion: list[float], margin: float, config: MemoryTreeConfig
    ) -> dict[str, float]:
        certainty, threshold = max(abs(score) for score in occlusion), config.uncertainty_threshold
        reasons: dict[str, float] = {}
        if certainty <= threshold and threshold > 0:
            reasons["uncertain"] = 1.0 - certainty / threshold
        if margin < _CLOSE:
            reasons["close"] = 1.0 - margin / _CLOSE
        before, was_visible = self._visible.get(obj_id, (frame_idx, True))
        if occlusion[0] > 0 and abs(frame_idx - before) == 1 and not was_visible:
            reasons["reappeared"] = _REAPPEARED
        self._visible[obj_id] = frame_idx, occlusion[0] > 0
        return reasons

    def of(self, obj_id: Any) -> dict[int, Doubt]:
        """The doubts about one object, by frame."""
        self._pack_arrived()
        return self.doubts.get(obj_id, {})

    def keep_only(self, obj_ids: Sequence[Any]) -> None:
        """Drop objects that are not tracked any more."""
        self._pack_arrived()
        for gone in [obj_id for obj_id in self.doubts if obj_id not in obj_ids]:
            del self.doubts[gone]
            self._visible.pop(gone, None)

    def _pack_arrived(self, but: int | None = None) -> None:
        """Pack the masks that have arrived meanwhile, `but` those of a frame."""
        due = [considered for considered in self._arriving if considered.frame_idx != but]
        self._arriving = [considered for considered in self._arriving if considered.frame_idx == but]
        for considered in due:
            self._pack(considered)

    def _pack(self, considered: _Considered) -> None:
        levels: NDArray[np.uint8] = considered.levels.wait().numpy()  # (N, 1, h, w)
        reasons = considered.reasons
        if (parted := _apart(levels >= NUM_LEVELS // 2)) > 1.0 - _PARTED:
            reasons["parted"] = parted
        if not reasons:
            return
        alternatives = tuple(
            PackedAlternative(PackedMask.pack(levels[row : row + 1], self._shelf), *scores)
            for row, scores in enumerate(considered.scores)
        )
        doubts = self.doubts.setdefault(considered.obj_id, {})
        doubts[considered.frame_idx] = Doubt(sum(reasons.values()), tuple(reasons), alternatives)
        if len(doubts) > MAX_FRAMES:
            del doubts[min(doubts, key=lambda t: doubts[t].amount)]

    def __reduce__(self) -> tuple[Any, ...]:
        self._pack_arrived()
        return Review, (self.doubts, Shelf(), [], self._visible)


def _apart(masks: NDArray[np.bool_]) -> float:
    """1 minus the least IoU of the best mask with another, masks [N, 1, h, w]; two empty ones are the same."""
    best, ious = masks[0], [1.0]
    for other in masks[1:]:
        union = int((best | other).sum())
        ious.append(float((best & other).sum()) / union if union else 1.0)
    return 1.0 - min(ious)


# -- saving ----------------------------------------------------------------------------------------------------------


def saved(review: Review) -> list[Any]:
    """A review as plain values: lists, numbers and strings."""
    return [
        [obj_id, frame_idx, doubt.amount, list(doubt.reasons), [_saved_alternative(a) for a in doubt.alternatives]]
        for obj_id in list(review.doubts)
        for frame_idx, doubt in review.of(obj_id).items()
    ]


def _saved_alternative(alternative: PackedAlternative) -> list[Any]:
    mask, scores = alternative.mask, (alternative.predicted_iou, alternative.occlusion_score)
    data = base64.b64encode(mask.data).decode("ascii")
    return [data, mask.bits, list(mask.shape), *scores, alternative.cumulative_score]


def restored(records: Sequence[Any]) -> Review:
    """What `saved` wrote."""
    review = Review()
    for obj_id, frame_idx, amount, reasons, alternatives in records:
        packed = tuple(
            PackedAlternative(PackedMask(base64.b64decode(data), bits, tuple(shape)), *scores)
            for data, bits, shape, *scores in alternatives
        )
        review.doubts.setdefault(obj_id, {})[frame_idx] = Doubt(amount, tuple(reasons), packed)
    return review


@dataclass(frozen=True, slots=True)
class DoubtfulFrame:
    """A tracked frame worth a look.

    Attributes:
        frame_idx: the frame.
        doubt: how much, >= 0.
        reasons: see `Doubt`.
        num_alternatives: how many masks there are to choose from, the answer included.
    """

    frame_idx: int
    doubt: float
    reasons: tuple[str, ...]
    num_alternatives: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """A mask that a frame nearly got, or got.

    Attributes:
        video_res_masks: logits, float32 [1, 1, video_height, video_width]; > 0 is the object (of a long past, to the
            packed mask's precision).
        predicted_iou, occlusion_score, cumulative_score: as in `FrameScores`.
        is_answer: whether the frame was decided for it.
    """

    video_res_masks: Tensor
    predicted_iou: float
    occlusion_score: float
    cumulative_score: float
    is_answer: bool


def is_of(alternative: PackedAlternative, predicted_iou: float, cumulative_score: float) -> bool:
    """Whether it is the hypothesis with these scores."""
    return math.isclose(alternative.predicted_iou, predicted_iou) and math.isclose(
        alternative.cumulative_score, cumulative_score, abs_tol=1e-12
    )
