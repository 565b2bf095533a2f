"""What researchers and annotation tools look at: scores of the answer, and the hypotheses still alive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sam2long.search.scores import FrameScores
from sam2long.state.session import SESSION_KEY
from sam2long.state.settings import SessionPredictor
from sam2long.state.tracked_frames import SCORES_KEY


@dataclass(frozen=True, slots=True)
class FrameHypothesis:
    """One of the masks a frame may get.

    Attributes:
        video_res_masks: logits, float32 [1, 1, video_height, video_width]; > 0 is the object.
        predicted_iou, occlusion_score, cumulative_score: as in `FrameScores`.
        slots: the tree's present slots whose pathway goes through this mask, in order; slot 0 is the best.
    """

    video_res_masks: Tensor
    predicted_iou: float
    occlusion_score: float
    cumulative_score: float
    slots: tuple[int, ...]


def _outputs_of(inference_state: dict[str, Any], obj_id: Any) -> dict[str, dict[int, Any]]:
    obj_idx = inference_state["obj_id_to_idx"].get(obj_id)
    if obj_idx is None:
        raise ValueError(f"unknown object id {obj_id!r}; known: {list(inference_state['obj_ids'])}")
    outputs: dict[str, dict[int, Any]] = inference_state["output_dict_per_obj"][obj_idx]
    return outputs


def get_scores(inference_state: dict[str, Any], obj_id: Any) -> dict[int, FrameScores]:
    """Scores of the committed frames of an object, by frame index in ascending order.

    Frames that the user prompted have none (their mask was given, not predicted), nor has anything tracked
    with `num_pathways=1`, where SAM 2's own code runs and keeps no predicted IoU.

    Raises:
        ValueError: if the object is not known.
    """
    outputs = _outputs_of(inference_state, obj_id)["non_cond_frame_outputs"]
    return {t: outputs[t][SCORES_KEY] for t in sorted(outputs) if SCORES_KEY in outputs[t]}


def get_hypotheses(
    predictor: SessionPredictor, inference_state: dict[str, Any], obj_id: Any, frame_idx: int
) -> list[FrameHypothesis]:
    """The alternatives alive on a tracked frame, best first.

    A pending frame (while `propagate_in_video` is suspended, or between the frames of a stream) has one per
    distinct hypothesis that a slot still descends from; a committed frame has one, its answer.

    Raises:
        ValueError: if the object is not known or the frame is neither pending nor committed by a tree.
    """
    outputs = _outputs_of(inference_state, obj_id)["non_cond_frame_outputs"]
    propagation = predictor.session(inference_state).propagation if SESSION_KEY in inference_state else None
    if propagation is not None and frame_idx in propagation.pending(obj_id):
        alive = propagation.pending_hypotheses(obj_id, frame_idx)
        return [
            FrameHypothesis(
                predictor.at_video_res(inference_state, hypothesis.mask_logits),
                hypothesis.memory.predicted_iou,
                hypothesis.memory.occlusion_score,
                hypothesis.score,
                slots,
            )
            for slots, hypothesis in alive
        ]
    output = outputs.get(frame_idx, {})
    if SCORES_KEY not in output:
        tracked = sorted(get_scores(inference_state, obj_id))
        span = f"{tracked[0]} to {tracked[-1]}" if tracked else "none"
        raise ValueError(f"no tree has tracked frame {frame_idx} of object {obj_id!r} (committed: {span})")
    scores: FrameScores = output[SCORES_KEY]
    masks = predictor.at_video_res(inference_state, output["pred_masks"])
    every_slot = tuple(range(predictor.tree_config(inference_state).num_pathways))
    return [FrameHypothesis(masks, scores.predicted_iou, scores.occlusion_score, scores.cumulative_score, every_slot)]
