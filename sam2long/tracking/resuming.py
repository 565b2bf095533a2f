"""Going on with a pass of `propagate_in_video` that came with `load_state`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from tqdm import tqdm

from sam2long.state.interactive import InteractivePredictor
from sam2long.state.session import SESSION_KEY, OpenPass, Session
from sam2long.tracking.passes import Answer, run_pass


def resume_propagation(predictor: InteractivePredictor, state: dict[str, Any]) -> Iterator[Answer]:
    """See `SAM2LongVideoPredictor.resume_propagation`."""
    session: Session | None = state.get(SESSION_KEY)
    open_pass = session.open_pass if session else None
    if open_pass is None or not open_pass.loaded:
        raise RuntimeError(
            "there is no pass to resume: either none was open when this state was saved, or it is resumed already; "
            "start one with propagate_in_video"
        )
    open_pass.loaded = False
    return _resumed(predictor, state, open_pass)


@torch.inference_mode()
def _resumed(predictor: InteractivePredictor, state: dict[str, Any], open_pass: OpenPass) -> Iterator[Answer]:
    session: Session = state[SESSION_KEY]
    if session.propagation is not None:
        yield from run_pass(predictor, state, session.propagation, open_pass)
        return
    try:
        for frame_idx in tqdm(open_pass.remaining, desc="propagate in video"):
            objects = range(open_pass.num_objects)
            masks = [predictor.track_as_sam2(state, obj_idx, frame_idx, open_pass.reverse) for obj_idx in objects]
            session.open_pass = open_pass
            open_pass.remaining = open_pass.remaining[1:]
            yield frame_idx, open_pass.obj_ids, predictor.at_video_res(state, torch.cat(masks, dim=0))
    finally:
        session.leave(None, open_pass)
