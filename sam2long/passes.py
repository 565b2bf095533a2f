"""Passes over a video as generators: the frames of a `Propagation` in video resolution, whatever ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor
from tqdm import tqdm

from sam2long.inference_state import processing_order
from sam2long.propagation import Propagation
from sam2long.session import SESSION_KEY, OpenPass
from sam2long.suitability import check_model_suits_tree

Frames = Iterator[tuple[int, list[Any], Tensor]]


def start_propagation(
    predictor: Any,
    inference_state: dict[str, Any],
    reverse: bool,
    order: Sequence[int] = (),
    after: Propagation | None = None,
) -> Propagation:
    """A new pass, made the session's; the prompts must be consolidated."""
    session = predictor._session(inference_state)
    session.config = predictor._config(inference_state)
    check_model_suits_tree(predictor, session.config)
    propagation = Propagation(predictor, inference_state, session, reverse=reverse, order=order, after=after)
    session.propagation = propagation
    return propagation


def run_pass(predictor: Any, inference_state: dict[str, Any], propagation: Propagation, open_pass: OpenPass) -> Frames:
    """Track the remaining frames of a pass and yield what is decided, as `propagate_in_video` documents it."""
    session = predictor._session(inference_state)
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
        # A finished pass is forgotten, so that dropping the state frees its tensors at once (no cycle).
        if session.propagation is propagation:
            session.propagation = None
        if session.open_pass is open_pass:
            session.open_pass = None


def run_pass_as_sam2(
    predictor: Any, inference_state: dict[str, Any], start: int | None, count: int | None, reverse: bool
) -> Frames:
    """SAM 2's own pass; all that is added is a note, while it lasts, of how far it is (for `save_state`)."""
    was_known, open_pass = SESSION_KEY in inference_state, None
    session = predictor._session(inference_state)
    try:
        for frame in SAM2VideoPredictor.propagate_in_video(predictor, inference_state, start, count, reverse):
            if open_pass is None:
                order = processing_order(inference_state, frame[0], count, reverse)
                open_pass = OpenPass(order, reverse, frame[1], len(frame[1]))
            session.open_pass = open_pass
            open_pass.remaining = open_pass.remaining[1:]
            yield frame
    finally:
        if session.open_pass is open_pass:
            session.open_pass = None
            if not was_known:  # SAM 2's state is left with SAM 2's keys
                inference_state.pop(SESSION_KEY, None)


def at_video_res(predictor: Any, inference_state: dict[str, Any], propagation: Propagation) -> Frames:
    """The frames decided so far, (frame_idx, obj_ids, logits [N, 1, video_height, video_width])."""
    for frame_idx, obj_ids, pred_masks in propagation.ready():
        _, video_res_masks = predictor._get_orig_video_res_output(inference_state, pred_masks)
        yield frame_idx, obj_ids, video_res_masks
