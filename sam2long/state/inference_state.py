"""The inference state: SAM 2's dictionary, its order of frames, and settings that the authors' fork kept in it."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from typing import Any

import torch

from sam2long.config import MemoryTreeConfig

# Keys that users of the authors' fork set on the state, and what they are called here.
_FORK_KEYS = {
    "num_pathway": "num_pathways",
    "iou_thre": "iou_threshold",
    "uncertainty": "uncertainty_threshold",
}
# Where a state notes which of them were named in a warning.
_NAMED_FORK_KEYS = "sam2long_named_fork_keys"
_NOT_THE_USER = ("sam2long", "sam2", "torch", "tqdm", "contextlib")


def new_inference_state(
    frames: Any, device: torch.device, offload_video_to_cpu: bool, offload_state_to_cpu: bool
) -> dict[str, Any]:
    """A state with the keys that SAM 2's methods expect (a test holds them equal to SAM 2's own)."""
    per_object = (
        "point_inputs_per_obj",
        "mask_inputs_per_obj",
        "output_dict_per_obj",
        "temp_output_dict_per_obj",
        "frames_tracked_per_obj",
    )
    return {
        "images": frames,
        "num_frames": len(frames),
        "offload_video_to_cpu": offload_video_to_cpu,
        "offload_state_to_cpu": offload_state_to_cpu,
        "video_height": frames.height,
        "video_width": frames.width,
        "device": device,
        "storage_device": torch.device("cpu") if offload_state_to_cpu else device,
        "cached_features": {},
        "constants": {},
        "obj_id_to_idx": {},
        "obj_idx_to_id": {},
        "obj_ids": [],
        **{key: {} for key in per_object},
    }


def processing_order(
    inference_state: dict[str, Any], start: int | None, max_frame_num_to_track: int | None, reverse: bool
) -> range:
    """The frames to track, with SAM 2's meaning of the arguments (`max_frame_num_to_track` counts from the next)."""
    num_frames: int = inference_state["num_frames"]
    if start is None:
        outputs = inference_state["output_dict_per_obj"].values()
        start = min(t for output in outputs for t in output["cond_frame_outputs"])
    if max_frame_num_to_track is None:
        max_frame_num_to_track = num_frames
    if not reverse:
        return range(start, min(start + max_frame_num_to_track, num_frames - 1) + 1)
    if start == 0:  # SAM 2 skips reverse tracking from frame 0
        return range(0)
    return range(start, max(start - max_frame_num_to_track, 0) - 1, -1)


def with_fork_keys(inference_state: dict[str, Any], config: MemoryTreeConfig) -> MemoryTreeConfig:
    """`config`, changed by the keys that code written for the authors' fork sets on the state.

    Raises:
        ValueError: naming the key, if its value makes no sense.
    """
    given = {theirs: inference_state[theirs] for theirs in _FORK_KEYS if theirs in inference_state}
    if not given:
        return config
    if inference_state.get(_NAMED_FORK_KEYS) != given:  # once for what was set, not on every frame
        inference_state[_NAMED_FORK_KEYS] = given
        warnings.warn(
            f"inference_state keys {list(given)} are deprecated; pass init_state(..., "
            "memory_tree=MemoryTreeConfig(...)) instead",
            DeprecationWarning,
            stacklevel=level_of_caller(),
        )
    for theirs, value in given.items():
        try:
            config = dataclasses.replace(config, **{_FORK_KEYS[theirs]: value})
        except ValueError as error:
            raise ValueError(f'inference_state["{theirs}"]: {error}') from error
    return config


def level_of_caller() -> int:
    """The `stacklevel` at which a warning of this module's caller names the user's line.

    By default Python shows a DeprecationWarning only where it names a line of the program itself, and between that
    and this module lie layers of ours, of sam2 and of torch, as many as the call has.
    """
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_USER:
        frame, level = frame.f_back, level + 1
    return level
