"""The two policies of the memory tree, as plain functions over plain numbers: researchers replace these.

`select_candidates` chooses the hypotheses that live on (paper, section 3.2); `choose_memory` chooses the
frames a pathway remembers (section 3.3). Pass another function to the predictor as `select=` or
`choose_memory=`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sam2long.config import MemoryTreeConfig

# Keeps the logarithm of a predicted IoU of 0 finite (paper, eq. 1).
EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a mask was followed to, backwards, and what the object's pathway had answered there.

    Attributes:
        frame_idx: the frame it was to be followed to; where `continuity` or `occlusion_score` is too small it was given
            up before, and the rest is about the frame where it was.
        overlap: IoU of what was found there with the pathway's own mask.
        area: of what was found there, in low-res pixels.
        continuity: least IoU of successive masks on the way; 0 where it vanished in between.
        occlusion_score: the least on the way; <= 0 where the decoder saw nothing.
    """

    frame_idx: int
    overlap: float
    area: int
    continuity: float
    occlusion_score: float = math.inf


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a candidate mask beyond its scores; each is None where the policy does not want it.

    Attributes:
        mask: bool [h, w], low-res: the decoder's logits > 0, whatever its occlusion score.
        maskness: mean of sigmoid(logit) over the mask's pixels, in [0.5, 1]; 0 for an empty mask.
        appearance: float32 [C + c], mean image features of the coarsest and the finest level under the mask, channels
            standardised over the frame, each level's part of length 1; zeros for an empty mask.
        colours: float32 [4800], the frame's histogram of hue (60) and saturation (80), the same for all its masks.
        uncertain: whether a policy calls the frame uncertain, whatever the occlusion scores say.
        sighting: where the mask was followed to, if it was (`sam2long.search.policy.Audit`).
    """

    mask: NDArray[np.bool_] | None = None
    maskness: float | None = None
    appearance: NDArray[np.float32] | None = None
    sighting: Sighting | None = None
    colours: NDArray[np.float32] | None = None
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the masks that the pathway in one slot proposes for a frame.

    Attributes:
        slot_idx: the slot of the pathway that proposes it, 0 = best.
        mask_idx: which of the decoder's masks, 0-2.
        score: cumulative score, the parent's plus ln(predicted IoU + EPSILON); <= about 0, higher is better.
        predicted_iou: the decoder's estimate in [0, 1].
        occlusion_score: SAM 2's `object_score_logits`; positive = visible. The same for all masks of a slot.
        evidence: what a policy wants besides (`sam2long.search.policy`).
    """

    slot_idx: int
    mask_idx: int
    score: float
    predicted_iou: float
    occlusion_score: float
    evidence: Evidence = field(default=Evidence(), compare=False)


SelectFunction = Callable[[Sequence[Candidate], MemoryTreeConfig], Sequence[Candidate]]


def cumulative_score(parent_score: float, predicted_iou: float) -> float:
    """Score of a candidate (paper, eq. 1), in double precision.

    An IoU head that does not end in a sigmoid (`iou_prediction_use_sigmoid=false`) may predict less than 0.
    """
    return parent_score + math.log(max(predicted_iou, 0.0) + EPSILON)


def select_candidates(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
    """The candidates that fill the slots for the next frame, in slot order (paper, section 3.2).

    On a certain frame these are the P best. On an uncertain one (no occlusion score beyond the threshold)
    candidates with the same rounded IoU count as the same hypothesis and only the best of them is taken, so
    that the pathways stay diverse; slots that nothing was taken from then add their best candidate.

    Args:
        candidates: all masks of all slots, in slot order, then mask order (that order breaks ties).
        config: the tree's settings.

    Returns:
        `config.num_pathways` candidates (fewer only if fewer were given), best slot first.
    """
    if is_certain(candidates, config):
        return _ranked(candidates)[: config.num_pathways]
    return select_diverse(candidates, config.num_pathways, have_equal_ious)


def is_certain(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> bool:
    """Whether some pathway is sure of presence or absence (paper, section 3.2), and no policy says otherwise."""
    if any(candidate.evidence.uncertain for candidate in candidates):
        return False
    certainty = max((abs(candidate.occlusion_score) for candidate in candidates), default=0.0)
    return certainty > config.uncertainty_threshold


def have_equal_ious(one: Candidate, other: Candidate) -> bool:
    """The paper's sign of one hypothesis: equal rounded predicted IoU, and equal presence."""
    signed = (round(c.predicted_iou, 2) * (1.0 if c.occlusion_score > 0 else -1.0) for c in (one, other))
    return next(signed) == next(signed)


def _ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -candidate.score)  # stable: ties keep slot and mask order


def select_diverse(
    candidates: Sequence[Candidate], num_pathways: int, are_the_same: Callable[[Candidate, Candidate], bool]
) -> list[Candidate]:
    """The best candidates of different hypotheses; then the best of each slot that nothing was taken from."""
    ranked, taken = _ranked(candidates), list[Candidate]()
    for candidate in ranked:
        if len(taken) == num_pathways:
            return taken
        if not any(are_the_same(candidate, other) for other in taken):
            taken.append(candidate)
    represented = {candidate.slot_idx for candidate in taken}
    for slot_idx in sorted({candidate.slot_idx for candidate in ranked} - represented):
        if len(taken) == num_pathways:
            break
        taken.append(next(candidate for candidate in ranked if candidate.slot_idx == slot_idx))
    return taken


def select_one(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
    """A policy that never branches: the best mask fills all slots, which then share one pathway.

    Masks are chosen as SAM 2 chooses them; what is left of the tree is its memory, at SAM 2's cost.
    """
    return [max(candidates, key=lambda candidate: candidate.score)] * config.num_pathways


class RememberedFrame(Protocol):
    """What `choose_memory` may look at; the tensors of the frame travel with it."""

    @property
    def frame_idx(self) -> int: ...
    @property
    def predicted_iou(self) -> float: ...
    @property
    def occlusion_score(self) -> float: ...


FrameT = TypeVar("FrameT", bound=RememberedFrame)


def choose_memory(
    remembered: tuple[FrameT, ...], newest: FrameT, config: MemoryTreeConfig, capacity: int
) -> tuple[FrameT, ...]:
    """The frames a pathway remembers after tracking `newest`: the object-aware memory bank (section 3.3).

    A frame is worth remembering if its mask is trusted and the object is visible. The newest frame is
    remembered for one step in any case: it is the only one that shows the present.

    Args:
        remembered: what the pathway remembered before, oldest first (this function's own last result).
        newest: the frame tracked last.
        config: the tree's settings.
        capacity: how many frames worth remembering are kept, SAM 2's `max_obj_ptrs - 1`.

    Returns:
        At most `capacity + 1` frames, oldest first.
    """
    kept = tuple(
        frame
        for frame in (*remembered, newest)
        if frame.predicted_iou > config.iou_threshold and frame.occlusion_score > 0
    )
    return with_newest(kept, newest, capacity)


def with_newest(kept: tuple[FrameT, ...], newest: FrameT, capacity: int) -> tuple[FrameT, ...]:
    """The last `capacity` of the frames worth remembering, and the newest one also where it is not among them.

    Args:
        kept: the frames worth remembering, oldest first; the newest one, if it is, last.
        newest: the frame tracked last.
        capacity: see `choose_memory`.
    """
    kept = kept[max(len(kept) - capacity, 0) :]
    return kept if kept and kept[-1] is newest else (*kept, newest)


ChooseMemoryFunction = Callable[[tuple[FrameT, ...], FrameT, MemoryTreeConfig, int], tuple[FrameT, ...]]


def modulation_weights(scores: Sequence[float], modulation: tuple[float, float]) -> list[float]:
    """Weights of memories in cross-attention by the rank of their scores (paper, section 3.3, eq. 5).

    Args:
        scores: one per memory, higher = more certain. Ties keep their order.
        modulation: (w_low, w_high).

    Returns:
        One weight per memory, evenly spaced from w_low (lowest score) to w_high; a single memory gets w_low.
    """
    low, high = modulation
    step = (high - low) / max(len(scores) - 1, 1)
    weights = [0.0] * len(scores)
    for rank, idx in enumerate(sorted(range(len(scores)), key=scores.__getitem__)):
        weights[idx] = low + rank * step
    return weights
