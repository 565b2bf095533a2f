"""Looking back: the frames on which the trees were in doubt, and what they nearly answered."""

from __future__ import annotations

from typing import Any

import torch

from sam2long.search.scores import FrameScores
from sam2long.state.inspection import get_scores
from sam2long.state.interactive import Answer
from sam2long.state.review import Alternative, Doubt, DoubtfulFrame, is_of
from sam2long.state.session import SESSION_KEY
from sam2long.tracking.tracker import TrackingPredictor


class ReviewingPredictor(TrackingPredictor):
    """Lists doubtful frames and takes their alternatives for answers (`keep_alternatives=True`)."""

    def doubtful_frames(self, inference_state: dict[str, Any], obj_id: Any) -> list[DoubtfulFrame]:
        """The tracked frames of an object on which its tree was in doubt, most doubtful first.

        At most 256 an object; frames that were prompted since are not among them.

        Args:
            inference_state: from `init_state(keep_alternatives=True)`, tracked.
            obj_id: the object.

        Raises:
            ValueError: if the object is not known, or alternatives were not kept.
        """
        tracked, doubts = get_scores(inference_state, obj_id), self._doubts(inference_state, obj_id)
        frames = [
            DoubtfulFrame(t, doubt.amount, doubt.reasons, len(doubt.alternatives))
            for t, doubt in doubts.items()
            if t in tracked
        ]
        return sorted(frames, key=lambda frame: (-frame.doubt, frame.frame_idx))

    @torch.inference_mode()
    def alternatives(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> list[Alternative]:
        """The masks that were alive on a doubtful frame when it was tracked, best first.

        Raises:
            ValueError: if the object is not known, alternatives were not kept, or the frame is not doubtful.
        """
        doubt, scores = self._doubt(inference_state, obj_id, frame_idx)
        return [
            Alternative(
                self.at_video_res(inference_state, packed.mask.unpack().to(self.device)),
                packed.predicted_iou,
                packed.occlusion_score,
                packed.cumulative_score,
                is_of(packed, scores.predicted_iou, scores.cumulative_score),
            )
            for packed in doubt.alternatives
        ]

    @torch.inference_mode()
    def choose_alternative(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int, k: int) -> Answer:
        """Make an alternative the answer: a correction, as its mask given by `add_new_mask`; later passes keep it.

        Args:
            inference_state, obj_id, frame_idx: of `alternatives`.
            k: which of them, from 0.

        Returns:
            As `add_new_mask`.

        Raises:
            ValueError: as `alternatives`, or if there is no such alternative.
        """
        alternatives = self.alternatives(inference_state, obj_id, frame_idx)
        if not 0 <= k < len(alternatives):
            known = f"0 to {len(alternatives) - 1}"
            raise ValueError(f"k={k}: the alternatives of object {obj_id!r} on frame {frame_idx} are {known}")
        mask = alternatives[k].video_res_masks[0, 0] > 0
        return self.add_new_mask(inference_state, frame_idx, obj_id, mask)

    def _doubts(self, inference_state: dict[str, Any], obj_id: Any) -> dict[int, Doubt]:
        session = inference_state.get(SESSION_KEY)
        if session is None or session.review is None:
            raise ValueError("no alternatives were kept: track with init_state(..., keep_alternatives=True)")
        doubts: dict[int, Doubt] = session.review.of(obj_id)
        return doubts

    def _doubt(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> tuple[Doubt, FrameScores]:
        tracked, doubts = get_scores(inference_state, obj_id), self._doubts(inference_state, obj_id)
        if frame_idx not in doubts or frame_idx not in tracked:
            known = sorted(t for t in doubts if t in tracked)
            raise ValueError(f"frame {frame_idx} of object {obj_id!r} is not doubtful; these are: {known}")
        return doubts[frame_idx], tracked[frame_idx]
