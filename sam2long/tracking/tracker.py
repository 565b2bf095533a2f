"""The predictor's passes over a video: in one go, frame by frame as they arrive, or resumed from a file."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2long.config import MemoryTreeLike
from sam2long.policies import PolicyLike
from sam2long.search.records import OnFrame
from sam2long.state.interactive import InteractivePredictor
from sam2long.state.session import Session
from sam2long.tracking import saving, streaming
from sam2long.tracking.course import Course, Direction
from sam2long.tracking.passes import resume_pass, run_course


class TrackingPredictor(InteractivePredictor):
    """What `SAM2LongVideoPredictor` changes about tracking, and what it adds to it."""

    def session(self, inference_state: dict[str, Any]) -> Session:
        """What belongs to the video; the pass of a stream that was copied is awake then."""
        session = super().session(inference_state)
        asleep, session.asleep = session.asleep, None
        if asleep is not None:
            streaming.wake(self, inference_state, asleep)
        return session

    @torch.inference_mode()
    def propagate_in_video(
        self,
        inference_state: dict[str, Any],
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
        *,
        direction: Direction | None = None,
        progress: bool = True,
        on_frame: OnFrame | None = None,
    ) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Track all objects through the video: SAM 2's generator, with a memory tree per object.

        Frames come in processing order, each as soon as its masks are decided for every object, so they lag
        behind the frame being tracked while hypotheses compete. A frame is part of the state once it is yielded:
        a generator that is closed early leaves the state as if the pass had ended with the last frame it yielded,
        and a pass that begins there goes on with the same pathways. If a frame cannot be read, the pending ones before
        it are decided for the best pathway so far and yielded, then the error is raised.

        Args:
            inference_state: from `init_state`, with prompts added.
            start_frame_idx: None starts at the earliest prompted frame.
            max_frame_num_to_track: None tracks to the end of the video; with "both" it counts in each direction.
            reverse: track towards frame 0.
            direction: "forward", "reverse", or "both": forward to the end, then from the start towards frame 0, every
                frame once. None goes by `reverse`.
            progress: False shows no progress bar.
            on_frame: called with a `TreeRecord` of each object on every frame that is tracked (docs/events.md); what
                it raises ends the pass as a frame does that cannot be read. Not with `num_pathways=1`.

        Yields:
            (frame_idx, obj_ids, video_res_masks): logits, float32 [num_objects, 1, video_height, video_width].

        Raises:
            ValueError: for a direction that does not exist or contradicts `reverse`; for `on_frame` without trees.
            RuntimeError: if nothing is prompted.
        """
        course = Course.asked_for(start_frame_idx, max_frame_num_to_track, reverse, direction, progress, on_frame)
        yield from run_course(self, inference_state, course)

    # -- streams -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def init_stream(
        self,
        first_frame: NDArray[np.uint8] | Tensor,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        policy: PolicyLike = None,
        on_frame: OnFrame | None = None,
    ) -> dict[str, Any]:
        """Start an inference state for frames that arrive one by one.

        Args:
            first_frame: frame 0, uint8 [H, W, 3] RGB; prompt it as usual before the next frame.
            memory_tree, max_pending_frames, policy: as in `init_state`; `max_pending_frames=0` answers every frame at
                once.
            on_frame: as in `propagate_in_video`, for all frames of the stream; a copy of the state tells nobody.

        Raises:
            ValueError: if the frame or a setting is not allowed, or `num_pathways` is 1.
        """
        settings = {"memory_tree": memory_tree, "max_pending_frames": max_pending_frames, "policy": policy}
        return streaming.init_stream(self, first_frame, on_frame, **settings)

    @torch.inference_mode()
    def track_frame(
        self, inference_state: dict[str, Any], frame: NDArray[np.uint8] | Tensor
    ) -> list[tuple[int, list[Any], Tensor]]:
        """Track the next frame of a stream.

        Objects and prompts may be added between two calls, on any of the newest 16
        (`held_frames.NUM_HELD_FRAMES`; where a policy follows masks backwards, on any it can reach).
        Scores (`get_scores`) can be read until the next call, and of the newest 32 frames after it.

        Args:
            inference_state: from `init_stream`, prompted.
            frame: uint8 [H, W, 3] RGB, of the size of the first.

        Returns:
            What this frame decided, as `propagate_in_video` yields it: none, one or more frames, in order.
            (Frame 0 is not among them: its masks are what prompting it returned.)

        Raises:
            ValueError: if the frame or the state is not a stream's. RuntimeError: if nothing was prompted.
        """
        return streaming.track_frame(self, inference_state, frame)

    @torch.inference_mode()
    def finish_stream(self, inference_state: dict[str, Any]) -> list[tuple[int, list[Any], Tensor]]:
        """The frames of a stream that were still pending, decided for the best pathway."""
        return streaming.finish_stream(self, inference_state)

    # -- saving --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def save_state(self, inference_state: dict[str, Any], path: str | PathLike[str]) -> None:
        """Write all that was prompted and tracked to one file, also in the middle of `propagate_in_video`.

        An open pass is saved with its pending hypotheses and is not disturbed. See `saving.save_state`.

        Args:
            inference_state: from `init_state` or `load_state`.
            path: the file, in safetensors format; it is replaced only once the new one is complete.

        Raises:
            ImportError: without safetensors (extra `state`). ValueError: for a stream's state. OSError: if the
            file cannot be written; a file that was there before is then as it was.
        """
        saving.save_state(self, inference_state, path)

    @torch.inference_mode()
    def load_state(
        self,
        path: str | PathLike[str],
        video: Any,
        *,
        offload_video_to_cpu: bool | None = None,
        offload_state_to_cpu: bool | None = None,
        preload: bool = False,
        policy: PolicyLike = None,
    ) -> dict[str, Any]:
        """The inference state that `save_state` wrote, on this predictor's device.

        Args:
            path: the file.
            video: the same video, in whatever form `init_state` takes: its first, middle and last frame are compared.
            offload_video_to_cpu, offload_state_to_cpu: as in `init_state`; None as it was saved.
            preload: as in `init_state`.
            policy: None takes the one it was saved with: a listed one, or the predictor's own if it has that name.
                Another one begins anew after the last frame that was yielded: frames that were pending are tracked
                again, and what the other noted of frames and carried on is left behind.

        Returns:
            A state as `init_state` returns it. `resume_propagation` goes on with a pass that was open.

        Raises:
            ImportError: without safetensors (extra `state`). FileNotFoundError: if file or video is not there.
            ValueError: if the file is no complete save, or of another video, model or version.
        Warns of a policy that has the name of the one it was saved with, and other functions, parts or numbers.
        """
        return saving.load_state(self, path, video, offload_video_to_cpu, offload_state_to_cpu, preload, policy)

    def resume_propagation(
        self, inference_state: dict[str, Any], *, progress: bool = True, on_frame: OnFrame | None = None
    ) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Go on with the `propagate_in_video` that was open when a loaded state was saved.

        Every frame that had not been yielded comes once, with the masks it would have had. The frame in whose
        loop body `save_state` was called had been yielded: it does not come again.

        Args:
            inference_state: from `load_state`.
            progress, on_frame: as in `propagate_in_video`.

        Returns:
            A generator as `propagate_in_video` returns it.

        Raises:
            RuntimeError: if no pass was open, or it is resumed already; then call `propagate_in_video`.
        """
        return resume_pass(self, inference_state, progress, on_frame)
