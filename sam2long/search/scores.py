"""What the tree knows about its answer on a frame, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameScores:
    """Scores of the answer for one object on one tracked frame.

    Attributes:
        predicted_iou: the mask decoder's estimate of the mask's IoU with the object, in [0, 1].
        occlusion_score: SAM 2's `object_score_logits`; positive = visible, <= 0 = no object, near 0 = unsure.
        cumulative_score: sum of ln(predicted IoU + 1e-5) along the pathway up to this frame, <= about 0.
        margin: score of slot 0 minus the best slot on another hypothesis when the frame was tracked, >= 0;
            `inf` where all slots shared one hypothesis.
        distinct_pathways: how many different hypotheses the slots held then, 1 to P.
        note: what the policy wrote down of the frame; empty with the paper's.
    """

    predicted_iou: float
    occlusion_score: float
    cumulative_score: float
    margin: float
    distinct_pathways: int
    note: tuple[float, ...] = ()
