"""Passes over a video as generators, whatever ends them: begun anew, by SAM 2's own code, or resumed from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import torch
from tqdm import tqdm

from sam2long.frame_bar import FrameBar
from sam2long.frames import HeldFrames
from sam2long.model.sam2_predictor import SAM2VideoPredictor
from sam2long.model.suitability import check_model_suits_tree
from sam2long.state.interactive import Answer, InteractivePredictor
from sam2long.state.memories import FrameMemories
from sam2long.state.session import SESSION_KEY, OpenPass, Session, TreePass
from sam2long.tracking.course import Course
from sam2long.tracking.propagation import Propagation


def start_propagation(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    reverse: bool,
    order: Sequence[int] = (),
    obj_ids: Sequence[Any] | None = None,
    before: dict[Any, FrameMemories] | None = None,
) -> Propagation:
    """A new pass, made the session's; the prompts must be consolidated. The arguments are `Propagation`'s."""
    session = predictor.session(inference_state)
    session.config = predictor.tree_config(inference_state)
    check_model_suits_tree(predictor, session.config)
    predictor.name_bypassed_steps()
    propagation = Propagation(
        predictor, inference_state, session, reverse=reverse, order=order, obj_ids=obj_ids, before=before
    )
    session.propagation = propagation
    return propagation


def run_course(predictor: InteractivePredictor, inference_state: dict[str, Any], course: Course) -> Iterator[Answer]:
    """`propagate_in_video`: by SAM 2's own code, or with the trees of the video's objects.

    Raises:
        ValueError: for a stream.
    """
    if isinstance(inference_state["images"], HeldFrames):
        raise ValueError("this inference state is of a stream: give its frames to track_frame, one by one")
    if predictor.tree_config(inference_state).num_pathways == 1:
        yield from _run_as_sam2(predictor, inference_state, course)
        return
    propagation, open_pass = _start_pass(predictor, inference_state, course)
    yield from run_pass(predictor, inference_state, propagation, open_pass, course.progress)
    if open_pass.then:
        yield from run_course(predictor, inference_state, Course.back_over(open_pass.then, course.progress))


def _start_pass(
    predictor: InteractivePredictor, inference_state: dict[str, Any], course: Course
) -> tuple[Propagation, OpenPass]:
    """A pass; it goes on with the trees of the last one where that led here and nothing came between."""
    session = predictor.session(inference_state)
    left = session.left
    session.interrupt()
    predictor.propagate_in_video_preflight(inference_state)
    order, then = course.orders(inference_state)
    propagation = start_propagation(predictor, inference_state, course.reverse, order)
    if left is not None and left.leads_to(order, course.reverse, pass_settings(predictor, session)):
        propagation.take_up(left.unfinished)
        propagation.go_on(left.last)
    obj_ids = propagation.obj_ids
    return propagation, OpenPass(order, course.reverse, obj_ids, len(obj_ids), then)


def pass_settings(predictor: InteractivePredictor, session: Session) -> tuple[Any, ...]:
    """What a pass's answers depend on besides the video and its prompts."""
    return session.config, session.max_pending_frames, session.policy, predictor.select, predictor.choose_memory


def run_pass(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    propagation: TreePass,
    open_pass: OpenPass,
    progress: bool,
) -> Iterator[Answer]:
    """Track the remaining frames of a pass and yield what is decided, as `propagate_in_video` documents it."""
    session = predictor.session(inference_state)
    settings = pass_settings(predictor, session)
    try:
        for answer in _tracked(session, propagation, open_pass, progress):
            open_pass.last = answer[0]
            yield answer
    finally:
        left = session.left_pass() if session.propagation is propagation else None
        session.leave(open_pass, propagation)
        if left is not None and 0 <= left.next_frame < inference_state["num_frames"]:
            session.left = replace(left, settings=settings)


def _tracked(session: Session, propagation: TreePass, open_pass: OpenPass, progress: bool) -> Iterator[Answer]:
    session.enter(propagation, open_pass)
    session.hands_over = False
    # of a loaded pass: decided before the save
    yield from propagation.ready(early=not open_pass.remaining)
    with _progress_bar(open_pass, progress) as bar:
        try:
            while open_pass.remaining:  # an interruption puts frames back that were not yielded
                session.enter(propagation, open_pass)
                propagation.track(open_pass.remaining[0])
                open_pass.remaining = open_pass.remaining[1:]
                bar.update(bar.total - len(open_pass.remaining) - bar.n)
                yield from propagation.ready(early=not open_pass.remaining)
        except Exception:
            # What was tracked before the failure is an answer too; it comes before the error does.
            session.hands_over = True
            if propagation.intact:
                yield from propagation.ready(early=True)
            raise


def _progress_bar(open_pass: OpenPass, progress: bool) -> tqdm[NoReturn]:
    # `disable` is given only where it is meant: it would override the variable TQDM_DISABLE
    shown = {} if progress else {"disable": True}
    return FrameBar(total=len(open_pass.remaining), desc="propagate in video", **shown)


def _run_as_sam2(predictor: InteractivePredictor, inference_state: dict[str, Any], course: Course) -> Iterator[Answer]:
    """SAM 2's pass; all that is added is a note, while it lasts, of how far it is (for `save_state`)."""
    predictor.interrupt(inference_state)
    was_known = SESSION_KEY in inference_state
    session = predictor.session(inference_state)
    try:
        if course.is_sam2s:
            yield from _sam2s_own_pass(predictor, inference_state, session, course)
            return
        predictor.propagate_in_video_preflight(inference_state)
        order, then = course.orders(inference_state)
        obj_ids = inference_state["obj_ids"]
        yield from _frames_as_sam2(
            predictor,
            inference_state,
            session,
            OpenPass(order, course.reverse, obj_ids, len(obj_ids), then),
            course.progress,
        )
    finally:
        if session.open_pass is None and not was_known:  # SAM 2's state is left with SAM 2's keys
            inference_state.pop(SESSION_KEY, None)


def _sam2s_own_pass(
    predictor: InteractivePredictor, inference_state: dict[str, Any], session: Session, course: Course
) -> Iterator[Answer]:
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


def _frames_as_sam2(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    session: Session,
    open_pass: OpenPass,
    progress: bool,
) -> Iterator[Answer]:
    """SAM 2's loop over the remaining frames of a pass, and over those that follow backwards."""
    try:
        with _progress_bar(open_pass, progress) as bar:
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
    if open_pass.then:
        yield from run_course(predictor, inference_state, Course.back_over(open_pass.then, progress))


def resume_pass(
    predictor: InteractivePredictor, inference_state: dict[str, Any], progress: bool = True
) -> Iterator[Answer]:
    """Go on with the pass that came with `load_state`.

    Raises:
        RuntimeError: at once, if there is none.
    """
    session: Session | None = inference_state.get(SESSION_KEY)
    open_pass = session.open_pass if session else None
    if session is None or open_pass is None or not open_pass.loaded:
        raise RuntimeError(
            "there is no pass to resume: either none was open when this state was saved, or it is resumed already; "
            "start one with propagate_in_video"
        )
    open_pass.loaded = False
    return _resumed(predictor, inference_state, session, open_pass, progress)


@torch.inference_mode()
def _resumed(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    session: Session,
    open_pass: OpenPass,
    progress: bool,
) -> Iterator[Answer]:
    if session.propagation is None:
        yield from _frames_as_sam2(predictor, inference_state, session, open_pass, progress)
        return
    yield from run_pass(predictor, inference_state, session.propagation, open_pass, progress)
    if open_pass.then:
        yield from run_course(predictor, inference_state, Course.back_over(open_pass.then, progress))
