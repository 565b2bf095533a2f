"""Going on with a pass of `propagate_in_video` that came with `load_state`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sam2long.passes import run_pass
from sam2long.session import SESSION_KEY, OpenPass, Session

Frames = Iterator[tuple[int, list[Any], Tensor]]


def resume_propagation(predictor: Any, state: dict[str, Any]) -> Frames:
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
def _resumed(predictor: Any, state: dict[str, Any], open_pass: OpenPass) -> Frames:
    session: Session = state[SESSION_KEY]
    if session.propagation is not None:
        yield from run_pass(predictor, state, session.propagation, open_pass)
        return
    try:
        for frame_idx in tqdm(open_pass.remaining, desc="propagate in video"):
            objects = range(open_pass.num_objects)
            masks = [_track_as_sam2(predictor, state, obj_idx, frame_idx, open_pass.reverse) for obj_idx in objects]
            session.open_pass = open_pass
            open_pass.remaining = open_pass.remaining[1:]
            _, video_res_masks = predictor._get_orig_video_res_output(state, torch.cat(masks, dim=0))
            yield frame_idx, open_pass.obj_ids, video_res_masks
    finally:
        if session.open_pass is open_pass:
            session.open_pass = None


def _track_as_sam2(predictor: Any, state: dict[str, Any], obj_idx: int, frame_idx: int, reverse: bool) -> Tensor:
    """One object on one frame as SAM 2 tracks it: its own loop can only be entered where prompts are consolidated."""
    outputs = state["output_dict_per_obj"][obj_idx]
    if frame_idx in outputs["cond_frame_outputs"]:
        pred_masks = outputs["cond_frame_outputs"][frame_idx]["pred_masks"].to(state["device"], non_blocking=True)
        if predictor.clear_non_cond_mem_around_input:
            predictor._clear_obj_non_cond_mem_around_input(state, frame_idx, obj_idx)
    else:
        outputs["non_cond_frame_outputs"][frame_idx], pred_masks = predictor._run_single_frame_inference(
            inference_state=state,
            output_dict=outputs,
            frame_idx=frame_idx,
            batch_size=1,
            is_init_cond_frame=False,
            point_inputs=None,
            mask_inputs=None,
            reverse=reverse,
            run_mem_encoder=True,
        )
    state["frames_tracked_per_obj"][obj_idx][frame_idx] = {"reverse": reverse}
    return pred_masks
