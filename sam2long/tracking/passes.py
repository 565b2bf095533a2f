"""Passes over a video as generators: the frames of a `Propagation` in video resolution, whatever ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor
from tqdm import tqdm

from sam2long.model.memory_bank import FrameMemory
from sam2long.model.suitability import check_model_suits_tree
from sam2long.state.inference_state import processing_order
from sam2long.state.interactive import InteractivePredictor
from sam2long.state.session import SESSION_KEY, OpenPass, TreePass
from sam2long.tracking.propagation import Propagation

# (frame_idx, obj_ids, logits [num_objects, 1, video_height, video_width]), as `propagate_in_video` yields it.
Answer = tuple[int, list[Any], Tensor]


def start_propagation(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    reverse: bool,
    order: Sequence[int] = (),
    obj_ids: Sequence[Any] | None = None,
    before: dict[Any, tuple[FrameMemory, ...]] | None = None,
) -> Propagation:
    """A new pass, made the session's; the prompts must be consolidated. The arguments are `Propagation`'s."""
    session = predictor.session(inference_state)
    session.config = predictor.tree_config(inference_state)
    check_model_suits_tree(predictor, session.config)
    propagation = Propagation(
        predictor, inference_state, session, reverse=reverse, order=order, obj_ids=obj_ids, before=before
    )
    session.propagation = propagation
    return propagation


def run_pass(
    predictor: InteractivePredictor, inference_state: dict[str, Any], propagation: TreePass, open_pass: OpenPass
) -> Iterator[Answer]:
    """Track the remaining frames of a pass and yield what is decided, as `propagate_in_video` documents it."""
    session = predictor.session(inference_state)
    session.enter(propagation, open_pass)
    try:
        yield from at_video_res(predictor, inference_state, propagation)  # of a loaded pass: decided before the save
        for frame_idx in tqdm(open_pass.remaining, desc="propagate in video"):
            session.enter(propagation, open_pass)
            propagation.track(frame_idx)
            open_pass.remaining = open_pass.remaining[1:]
            yield from at_video_res(predictor, inference_state, propagation)
        propagation.settle()
        yield from at_video_res(predictor, inference_state, propagation)
    except Exception:
        # What was tracked before the failure is an answer too; it comes before the error does.
        propagation.settle()
        yield from at_video_res(predictor, inference_state, propagation)
        raise
    finally:
        propagation.settle()
        session.leave(propagation, open_pass)


def run_pass_as_sam2(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    start: int | None,
    count: int | None,
    reverse: bool,
) -> Iterator[Answer]:
    """SAM 2's own pass; all that is added is a note, while it lasts, of how far it is (for `save_state`)."""
    was_known, open_pass = SESSION_KEY in inference_state, None
    session = predictor.session(inference_state)
    try:
        for answer in SAM2VideoPredictor.propagate_in_video(predictor, inference_state, start, count, reverse):
            if open_pass is None:
                order = processing_order(inference_state, answer[0], count, reverse)
                open_pass = OpenPass(order, reverse, answer[1], len(answer[1]))
            session.open_pass = open_pass
            open_pass.remaining = open_pass.remaining[1:]
            yield answer
    finally:
        if session.open_pass is open_pass:
            session.open_pass = None
            if not was_known:  # SAM 2's state is left with SAM 2's keys
                inference_state.pop(SESSION_KEY, None)


def at_video_res(
    predictor: InteractivePredictor, inference_state: dict[str, Any], propagation: TreePass
) -> Iterator[Answer]:
    """The frames decided so far, in video resolution."""
    for frame_idx, obj_ids, pred_masks in propagation.ready():
        yield frame_idx, obj_ids, predictor.at_video_res(inference_state, pred_masks)
