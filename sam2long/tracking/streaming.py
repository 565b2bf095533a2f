"""Tracking frames as they arrive: the pass of a stream, which stays open between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sam2long.frames import HeldFrames
from sam2long.search.records import OnFrame
from sam2long.state.interactive import Answer, InteractivePredictor
from sam2long.state.session import AsleepPass, Session, TreePass
from sam2long.state.tracked_frames import NUM_RECENT, RecentFrames
from sam2long.tracking.passes import start_propagation


def init_stream(
    predictor: InteractivePredictor, first_frame: NDArray[np.uint8] | Tensor, on_frame: OnFrame | None, **settings: Any
) -> dict[str, Any]:
    """See `SAM2LongVideoPredictor.init_stream`."""
    config, _ = predictor.checked_settings(settings.get("memory_tree"), settings.get("max_pending_frames"))
    if config.num_pathways == 1:
        raise ValueError("num_pathways=1 is SAM 2 itself, which tracks no streams; use 2 or more")
    frames = HeldFrames(predictor.image_size, predictor.device)
    frames.append(first_frame)
    state: dict[str, Any] = predictor.new_state(frames, **settings)
    # The end of a stream is not known: it counts as a video that is at least as long as SAM 2's pointer window.
    state["num_frames"] = predictor.max_obj_ptrs_in_encoder
    session = predictor.session(state)
    session.recent = RecentFrames(compact=False)
    if session.policy.audit is not None:
        frames.num_held = max(frames.num_held, session.policy.audit.reach + 1)
    session.recording.listen(on_frame)
    return state


def track_frame(
    predictor: InteractivePredictor, state: dict[str, Any], frame: NDArray[np.uint8] | Tensor
) -> list[Answer]:
    """See `SAM2LongVideoPredictor.track_frame`."""
    frames = _frames_of(state)
    session = predictor.session(state)
    session.recording.forbid_changes()
    pixels = frames.checked(frame)  # a frame that cannot be taken changes nothing
    _forget(state)
    propagation, decided = _consolidate_prompts(predictor, state)
    session.owed += decided
    frame_idx = frames.append(pixels)
    state["num_frames"] = max(state["num_frames"], frame_idx + 1)
    if propagation is not None:
        propagation.track(frame_idx)
        session.recording.tell()
        session.owed += propagation.ready()
    return _hand_out(session)


def finish_stream(predictor: InteractivePredictor, state: dict[str, Any]) -> list[Answer]:
    """See `SAM2LongVideoPredictor.finish_stream`."""
    _frames_of(state)
    session = predictor.session(state)
    propagation, session.propagation = session.propagation, None
    if propagation is not None:
        propagation.settle()
        session.owed += propagation.ready()
    session.recording.end()
    session.recording.tell()
    return _hand_out(session)


def _hand_out(session: Session) -> list[Answer]:
    answers, session.owed = session.owed, []
    return answers


def wake(predictor: InteractivePredictor, state: dict[str, Any], asleep: AsleepPass) -> None:
    """Go on with the pass of a stream that was copied."""
    start_propagation(predictor, state, reverse=False, obj_ids=asleep.obj_ids).take_up(asleep.unfinished)


def _frames_of(state: dict[str, Any]) -> HeldFrames:
    frames = state["images"]
    if not isinstance(frames, HeldFrames):
        raise ValueError("this inference state is of a video; a stream's comes from init_stream")
    return frames


def _forget(state: dict[str, Any]) -> None:
    """Drop all but the newest tracked frames: no prompt or audit comes back to the others, and a stream has no end."""
    num_kept = max(NUM_RECENT, state["images"].num_held)
    for obj_idx, outputs in state["output_dict_per_obj"].items():
        tracked = outputs["non_cond_frame_outputs"]  # in the order of tracking
        for frame_idx in list(tracked)[:-num_kept]:
            del tracked[frame_idx]
            state["frames_tracked_per_obj"][obj_idx].pop(frame_idx, None)


def _consolidate_prompts(
    predictor: InteractivePredictor, state: dict[str, Any]
) -> tuple[TreePass | None, list[Answer]]:
    """The pass that is open, or a new one if prompts came since the last frame; and what the old one then decided.

    No pass while nothing is tracked: before the first prompt, after the last object is removed.
    """
    session = predictor.session(state)
    before, prompted = session.propagation, _prompted_objects(state)
    new_prompts = any(outputs for kinds in state["temp_output_dict_per_obj"].values() for outputs in kinds.values())
    if before is not None and not new_prompts and before.obj_ids == prompted["obj_ids"]:
        return before, []
    decided: list[Answer] = []
    if before is not None:
        before.settle()
        decided = list(before.ready())
        session.propagation = None
    if not prompted["obj_ids"]:
        return None, decided
    predictor.propagate_in_video_preflight(prompted)
    remembered = before.remembered() if before else None
    return start_propagation(predictor, state, reverse=False, obj_ids=prompted["obj_ids"], before=remembered), decided


def _prompted_objects(state: dict[str, Any]) -> dict[str, Any]:
    """The state as SAM 2 reads it, without objects whose prompts were all cleared: they rest, and stop no other."""
    idxs = [
        obj_idx
        for obj_idx, outputs in state["output_dict_per_obj"].items()
        if outputs["cond_frame_outputs"] or state["temp_output_dict_per_obj"][obj_idx]["cond_frame_outputs"]
    ]
    obj_ids = [state["obj_idx_to_id"][obj_idx] for obj_idx in idxs]
    shown = {
        key: {new_idx: of_obj[obj_idx] for new_idx, obj_idx in enumerate(idxs)}
        for key, of_obj in state.items()
        if key.endswith("_per_obj")
    }
    return {**state, **shown, "obj_ids": obj_ids, "obj_idx_to_id": dict(enumerate(obj_ids))}
