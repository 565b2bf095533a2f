"""SAM 2's own pass (`num_pathways=1`), and a note, while it lasts, of how far it is (for `save_state`)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import torch

from sam2long.frame_bar import frame_bar
from sam2long.model.sam2_predictor import SAM2VideoPredictor
from sam2long.state.interactive import Answer, InteractivePredictor
from sam2long.state.session import SESSION_KEY, OpenPass, Session
from sam2long.tracking.course import Course


def run_as_sam2(
    predictor: InteractivePredictor, inference_state: dict[str, Any], course: Course
) -> Generator[Answer, None, range]:
    """The pass; returns the frames that are to follow backwards."""
    predictor.interrupt(inference_state)
    was_known = SESSION_KEY in inference_state
    session = predictor.session(inference_state)
    try:
        if course.is_sam2s:
            yield from _sam2s_own_pass(predictor, inference_state, session, course)
            return range(0)
        predictor.propagate_in_video_preflight(inference_state)
        order, then = course.orders(inference_state)
        obj_ids = inference_state["obj_ids"]
        open_pass = OpenPass(order, course.reverse, obj_ids, len(obj_ids), then)
        yield from frames_as_sam2(predictor, inference_state, session, open_pass, course.progress)
        return then
    finally:
        if session.open_pass is None and not was_known:  # SAM 2's state is left with SAM 2's keys
            inference_state.pop(SESSION_KEY, None)


def _sam2s_own_pass(
    predictor: InteractivePredictor, inference_state: dict[str, Any], session: Session, course: Course
) -> Iterator[Answer]:
    """SAM 2's generator."""
    open_pass = None
    try:
        frames = SAM2VideoPredictor.propagate_in_video(
            predictor, inference_state, course.start, course.count, course.reverse
        )
        for answer in frames:
            if open_pass is None:
                order, _ = course.orders(inference_state, first=answer[0])
                open_pass = OpenPass(order, course.reverse, answer[1], len(answer[1]))
            session.open_pass = open_pass
            open_pass.remaining = open_pass.remaining[1:]
            yield answer
    finally:
        if open_pass is not None:
            session.leave(open_pass)


def frames_as_sam2(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    session: Session,
    open_pass: OpenPass,
    progress: bool,
) -> Iterator[Answer]:
    """What SAM 2's generator does with the remaining frames of a pass, where it cannot be asked for them itself."""
    try:
        with frame_bar(len(open_pass.remaining), "propagate in video", shown=progress) as bar:
            for frame_idx in open_pass.remaining:
                masks = [
                    predictor.track_as_sam2(inference_state, obj_idx, frame_idx, open_pass.reverse)
                    for obj_idx in range(open_pass.num_objects)
                ]
                session.open_pass = open_pass
                open_pass.remaining = open_pass.remaining[1:]
                bar.update()
                yield frame_idx, open_pass.obj_ids, predictor.at_video_res(inference_state, torch.cat(masks, dim=0))
    finally:
        session.leave(open_pass)
