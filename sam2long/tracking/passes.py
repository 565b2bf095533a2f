"""Passes over a video as generators, whatever ends them: begun anew, gone on with, or resumed from a file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from sam2long.frame_bar import frame_bar
from sam2long.frames import HeldFrames
from sam2long.search.records import OnFrame
from sam2long.state.inference_state import level_of_caller
from sam2long.state.interactive import Answer, InteractivePredictor
from sam2long.state.memories import FrameMemories
from sam2long.state.session import SESSION_KEY, OpenPass, Session, TreePass
from sam2long.tracking.course import Course
from sam2long.tracking.propagation import Propagation
from sam2long.tracking.sam2_passes import frames_as_sam2, run_as_sam2


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
    predictor.name_bypassed_steps()
    propagation = Propagation(
        predictor, inference_state, session, reverse=reverse, order=order, obj_ids=obj_ids, before=before
    )
    session.propagation = propagation
    return propagation


def run_course(predictor: InteractivePredictor, inference_state: dict[str, Any], course: Course) -> Iterator[Answer]:
    """`propagate_in_video`: by SAM 2's own code, or with the trees of the video's objects.

    Raises:
        ValueError: for a stream, and for `on_frame` where no tree grows.
    """
    if isinstance(inference_state["images"], HeldFrames):
        raise ValueError("this inference state is of a stream: give its frames to track_frame, one by one")
    num_frames = inference_state["num_frames"]
    if course.start is not None and course.start >= num_frames and not course.reverse:
        message = (
            f"start_frame_idx={course.start} is beyond the video, which has frames 0 to {num_frames - 1}: none come"
        )
        warnings.warn(message, UserWarning, stacklevel=level_of_caller())
    if predictor.tree_config(inference_state).num_pathways == 1:
        _require_tree(course.on_frame)
        then = yield from run_as_sam2(predictor, inference_state, course)
    else:
        propagation, open_pass = _start_pass(predictor, inference_state, course)
        yield from run_pass(predictor, inference_state, propagation, open_pass, course.progress, course.on_frame)
        then = open_pass.then
    if then:
        yield from run_course(predictor, inference_state, Course.back_over(then, course.progress, course.on_frame))


def _require_tree(on_frame: OnFrame | None) -> None:
    if on_frame is not None:
        raise ValueError(
            "on_frame= is told what memory trees do; num_pathways=1 is SAM 2 itself and has none: leave it"
        )


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
    on_frame: OnFrame | None = None,
) -> Iterator[Answer]:
    """Track the remaining frames of a pass and yield what is decided, as `propagate_in_video` documents it."""
    session = predictor.session(inference_state)
    settings = pass_settings(predictor, session)
    try:
        for answer in _tracked(session, propagation, open_pass, progress, on_frame):
            open_pass.last = answer[0]
            yield answer
    finally:
        session.recording.listen(None)
        left = session.left_pass() if session.propagation is propagation else None
        session.leave(open_pass, propagation)
        if left is not None and 0 <= left.next_frame < inference_state["num_frames"]:
            session.left = replace(left, settings=settings)


def _tracked(
    session: Session, propagation: TreePass, open_pass: OpenPass, progress: bool, on_frame: OnFrame | None
) -> Iterator[Answer]:
    session.enter(propagation, open_pass)
    session.hands_over = False
    # of a loaded pass: decided before the save
    yield from propagation.ready(early=not open_pass.remaining)
    with frame_bar(len(open_pass.remaining), "propagate in video", shown=progress) as bar:
        try:
            while open_pass.remaining:  # an interruption puts frames back that were not yielded
                session.enter(propagation, open_pass)
                session.recording.listen(on_frame)
                propagation.track(open_pass.remaining[0])
                open_pass.remaining = open_pass.remaining[1:]
                bar.update(bar.total - len(open_pass.remaining) - bar.n)
                session.recording.tell()
                yield from propagation.ready(early=not open_pass.remaining)
                if not open_pass.remaining:
                    session.recording.end()
                    session.recording.tell()
        except Exception:
            # What was tracked before the failure is an answer too; it comes before the error does.
            session.hands_over = True
            if propagation.intact:
                yield from propagation.ready(early=True)
            raise


def resume_pass(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    progress: bool = True,
    on_frame: OnFrame | None = None,
) -> Iterator[Answer]:
    """Go on with the pass that came with `load_state`.

    Raises:
        RuntimeError: at once, if there is none. ValueError: at once, for `on_frame` where no tree grows.
    """
    session: Session | None = inference_state.get(SESSION_KEY)
    open_pass = session.open_pass if session else None
    if session is None or open_pass is None or not open_pass.loaded:
        raise RuntimeError(
            "there is no pass to resume: either none was open when this state was saved, or it is resumed already; "
            "start one with propagate_in_video"
        )
    if session.propagation is None:
        _require_tree(on_frame)
    open_pass.loaded = False
    return _resumed(predictor, inference_state, session, open_pass, progress, on_frame)


@torch.inference_mode()
def _resumed(
    predictor: InteractivePredictor,
    inference_state: dict[str, Any],
    session: Session,
    open_pass: OpenPass,
    progress: bool,
    on_frame: OnFrame | None,
) -> Iterator[Answer]:
    if session.propagation is None:
        yield from frames_as_sam2(predictor, inference_state, session, open_pass, progress)
    else:
        yield from run_pass(predictor, inference_state, session.propagation, open_pass, progress, on_frame)
    if open_pass.then:
        yield from run_course(predictor, inference_state, Course.back_over(open_pass.then, progress, on_frame))
