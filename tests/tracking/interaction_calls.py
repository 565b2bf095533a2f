"""SAM 2's interactive API in a few calls: a prompted state, its pass, and what a pass changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor

Clip = tuple[np.ndarray, np.ndarray]
State = dict[str, Any]
NUM_FRAMES = 14
# Every frame counts as uncertain, so the tree branches from the first modulated frame on.
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)
SAM2 = MemoryTreeConfig(num_pathways=1)


def start(predictor: SAM2LongVideoPredictor, clip: Clip, **kwargs: Any) -> State:
    """A state with the first disk's mask given on frame 0, as object 1."""
    state = predictor.init_state(clip[0], **{"memory_tree": BRANCHING, **kwargs})
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    return state


def track(predictor: SAM2VideoPredictor, state: State, **kwargs: Any) -> dict[int, torch.Tensor]:
    """Masks [N, 1, H, W] by frame, in the order in which they came."""
    masks = {}
    for frame_idx, _, video_res_masks in predictor.propagate_in_video(state, **kwargs):
        assert frame_idx not in masks, "a frame comes once"
        masks[frame_idx] = video_res_masks.clone()
    return masks


def committed(state: State, obj_idx: int = 0) -> dict[int, torch.Tensor]:
    outputs = state["output_dict_per_obj"][obj_idx]
    return {
        t: output["pred_masks"].clone()
        for kind in ("cond_frame_outputs", "non_cond_frame_outputs")
        for t, output in outputs[kind].items()
    }


def changed(before: dict[int, torch.Tensor], after: dict[int, torch.Tensor]) -> set[int]:
    return {t for t in before.keys() & after.keys() if not torch.equal(before[t], after[t])}


def disk_centre(clip: Clip, k: int, frame_idx: int) -> list[float]:
    ys, xs = np.nonzero(clip[1][k, frame_idx])
    return [float(xs.mean()), float(ys.mean())]
