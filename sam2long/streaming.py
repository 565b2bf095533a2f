"""Tracking frames as they arrive: the frames of a stream, and the pass that stays open between them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2long.frames import ModelFrames, open_frames
from sam2long.passes import at_video_res, start_propagation
from sam2long.trunk import NUM_RECENT, RecentFrames

# Frames of a stream that can still be prompted; older ones are gone.
NUM_HELD_FRAMES = 16


class StreamFrames:
    """The newest frames of a stream as the model reads them: what a stream's `inference_state["images"]` holds.

    Args:
        image_size: of the model.
        device: where the tensors go.
    """

    def __init__(self, image_size: int, device: torch.device) -> None:
        self._image_size = image_size
        self._device = device
        self._held: OrderedDict[int, Tensor] = OrderedDict()
        self.num_received = 0
        self.height = self.width = 0

    def append(self, frame: NDArray[np.uint8] | Tensor) -> int:
        """Take the next frame, uint8 [H, W, 3] RGB; returns its index.

        Raises:
            ValueError: if it is no such array, or of another size than the frames before.
        """
        array = frame.cpu().numpy() if isinstance(frame, Tensor) else np.asarray(frame)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 [H, W, 3] RGB, got {array.dtype} {list(array.shape)}")
        if self.num_received and array.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"frame {self.num_received} is {array.shape[1]}x{array.shape[0]}, "
                f"the stream began with {self.width}x{self.height}"
            )
        self.height, self.width = array.shape[:2]
        # The same code resizes and normalises as for a video, so the pixels are the same.
        source = open_frames(array[None])
        self._held[self.num_received] = ModelFrames(source, self._image_size, self._device, prefetch=0)[0]
        if len(self._held) > NUM_HELD_FRAMES:
            self._held.popitem(last=False)
        self.num_received += 1
        return self.num_received - 1

    def __len__(self) -> int:
        return self.num_received

    def __getitem__(self, frame_idx: int) -> Tensor:
        """Frame as float32 [3, image_size, image_size]; ValueError if it is not held any more."""
        if frame_idx not in self._held:
            raise ValueError(
                f"frame {frame_idx} of the stream is not held: only the newest {NUM_HELD_FRAMES} of "
                f"{self.num_received} frames can be prompted (use init_state on a file to come back to any frame)"
            )
        return self._held[frame_idx]


Decided = list[tuple[int, list[Any], Tensor]]


def init_stream(predictor: Any, first_frame: NDArray[np.uint8] | Tensor, **settings: Any) -> dict[str, Any]:
    """See `SAM2LongVideoPredictor.init_stream`."""
    config, _ = predictor._check_settings(settings.get("memory_tree"), settings.get("max_pending_frames"))
    if config.num_pathways == 1:
        raise ValueError("num_pathways=1 is SAM 2 itself, which tracks no streams; use 2 or more")
    frames = StreamFrames(predictor.image_size, predictor.device)
    frames.append(first_frame)
    state: dict[str, Any] = predictor._new_state(frames, **settings)
    # The end of a stream is not known: it counts as a video that is at least as long as SAM 2's pointer window.
    state["num_frames"] = predictor.max_obj_ptrs_in_encoder
    predictor._session(state).recent = RecentFrames(compact=False)
    return state


def track_frame(predictor: Any, state: dict[str, Any], frame: NDArray[np.uint8] | Tensor) -> Decided:
    """See `SAM2LongVideoPredictor.track_frame`."""
    frames = _frames_of(state)
    _forget(state)
    decided = _consolidate_prompts(predictor, state)
    propagation = predictor._session(state).propagation
    frame_idx = frames.append(frame)
    state["num_frames"] = max(state["num_frames"], frame_idx + 1)
    propagation.track(frame_idx)
    return decided + list(at_video_res(predictor, state, propagation))


def finish_stream(predictor: Any, state: dict[str, Any]) -> Decided:
    """See `SAM2LongVideoPredictor.finish_stream`."""
    _frames_of(state)
    session = predictor._session(state)
    propagation, session.propagation = session.propagation, None
    if propagation is None:
        return []
    propagation.settle()
    return list(at_video_res(predictor, state, propagation))


def _frames_of(state: dict[str, Any]) -> StreamFrames:
    frames = state["images"]
    if not isinstance(frames, StreamFrames):
        raise ValueError("this inference state is of a video; a stream's comes from init_stream")
    return frames


def _forget(state: dict[str, Any]) -> None:
    """Drop all but the newest tracked frames: no prompt comes back to the others, and a stream has no end."""
    for obj_idx, outputs in state["output_dict_per_obj"].items():
        tracked = outputs["non_cond_frame_outputs"]  # in the order of tracking
        for frame_idx in list(tracked)[:-NUM_RECENT]:
            del tracked[frame_idx]
            state["frames_tracked_per_obj"][obj_idx].pop(frame_idx, None)


def _consolidate_prompts(predictor: Any, state: dict[str, Any]) -> Decided:
    """Begin a pass if there is none, or anew if prompts came since the last frame; returns what that decided."""
    session = predictor._session(state)
    before = session.propagation
    prompted = any(outputs for kinds in state["temp_output_dict_per_obj"].values() for outputs in kinds.values())
    if before is not None and not prompted and before.obj_ids == state["obj_ids"]:
        return []
    decided: Decided = []
    if before is not None:
        before.settle()
        decided = list(at_video_res(predictor, state, before))
    predictor.propagate_in_video_preflight(state)
    start_propagation(predictor, state, reverse=False, after=before)
    return decided
