"""SAM2LongVideoPredictor: SAM 2's video predictor with a memory tree, for everything else unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS
from torch import Tensor

from sam2long import inspection, resuming, saving, streaming
from sam2long.config import MemoryTreeConfig, load_memory_tree
from sam2long.frames import ModelFrames, open_frames
from sam2long.inference_state import new_inference_state, processing_order
from sam2long.inspection import FrameHypothesis
from sam2long.interactive import InteractivePredictor
from sam2long.memory_bank import FrameMemory
from sam2long.passes import run_pass, run_pass_as_sam2, start_propagation
from sam2long.scores import FrameScores
from sam2long.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates
from sam2long.session import SESSION_KEY, OpenPass, Session, checked_count
from sam2long.streaming import StreamFrames
from sam2long.suitability import check_model_suits_tree

MemoryTreeLike = MemoryTreeConfig | str | PathLike[str] | None


class SAM2LongVideoPredictor(InteractivePredictor):
    """`SAM2VideoPredictor` that tracks with a constrained memory tree (SAM2Long, arXiv 2410.16268).

    The API, the model and its checkpoints are SAM 2's. `propagate_in_video` keeps P hypotheses per object and
    yields a frame as soon as no later frame can change its mask. With `num_pathways=1` it is SAM 2 itself.

    Args:
        memory_tree: settings of the tree: a `MemoryTreeConfig`, the name of a file in `configs/memory_tree/`,
            a path to a YAML, or None for the paper's. `init_state(memory_tree=...)` overrides it per video.
        max_pending_frames: a frame that waits longer for its decision is decided for the best pathway so far;
            None (default) waits as long as it takes, 0 answers at once.
        encode_ahead: how many frames the image encoder runs ahead of the tracking, in one batch, on a GPU on a
            stream of its own. 0 (default) keeps SAM 2's order; on a host that launches
            kernels slower than its GPU runs them, running ahead was slower (bench/README.md).
        select: which candidates live on, see `sam2long.selection.select_candidates`.
        choose_memory: which frames a pathway remembers, see `sam2long.selection.choose_memory`.
        **kwargs: the arguments of `SAM2VideoPredictor`.

    Raises:
        ValueError: if an argument, or the combination with the model's own options, makes no sense.
    """

    # Whether a component's outputs are overwritten by its next call (CUDA graphs of the compiled predictor).
    reuses_buffers = False

    def __init__(
        self,
        *args: Any,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        encode_ahead: int = 0,
        select: SelectFunction = select_candidates,
        choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._set_up_tree(memory_tree, max_pending_frames, encode_ahead, select, choose_memory)

    def _set_up_tree(
        self,
        memory_tree: MemoryTreeLike,
        max_pending_frames: int | None,
        encode_ahead: int = 0,
        select: SelectFunction = select_candidates,
        choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory,
    ) -> None:
        self.memory_tree = load_memory_tree(memory_tree)
        self.max_pending_frames = checked_count("max_pending_frames", max_pending_frames)
        self.encode_ahead = checked_count("encode_ahead", encode_ahead) or 0
        self.select = select
        self.choose_memory = choose_memory
        check_model_suits_tree(self, self.memory_tree)

    @classmethod
    def from_sam2(
        cls,
        predictor: SAM2VideoPredictor,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        encode_ahead: int = 0,
        select: SelectFunction = select_candidates,
        choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory,
    ) -> SAM2LongVideoPredictor:
        """Our predictor around a predictor that exists already: its modules are shared, no weight is copied.

        Args:
            predictor: a `SAM2VideoPredictor`; it stays usable.
            memory_tree, max_pending_frames, encode_ahead, select, choose_memory: as in the constructor.
        """
        if not isinstance(predictor, SAM2VideoPredictor):
            raise ValueError(f"from_sam2 takes a SAM2VideoPredictor, got {type(predictor).__name__}")
        if isinstance(predictor, SAM2VideoPredictorVOS) and not issubclass(cls, SAM2VideoPredictorVOS):
            from sam2long.compiled import SAM2LongVideoPredictorVOS

            cls = SAM2LongVideoPredictorVOS
        ours: SAM2LongVideoPredictor = cls.__new__(cls)
        for name, value in vars(predictor).items():
            # nn.Module keeps parameters and modules in dicts: a new dict, the same modules
            ours.__dict__[name] = value.copy() if isinstance(value, dict) else value
        ours._set_up_tree(memory_tree, max_pending_frames, encode_ahead, select, choose_memory)
        return ours

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2LongVideoPredictor:
        """Load one of the official checkpoints from the Hugging Face hub (extra `hub`).

        Args:
            model_id: for example "facebook/sam2.1-hiera-large".
            **kwargs: passed to `build_sam2long_video_predictor`.

        Raises:
            ValueError: if the id is not one of the eight official ones.
        """
        from sam2long.build import build_sam2long_video_predictor_hf

        return build_sam2long_video_predictor_hf(model_id, **kwargs)

    @torch.inference_mode()
    def init_state(
        self,
        video_path: Any,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
        *,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
    ) -> dict[str, Any]:
        """Start an inference state for a video.

        Args:
            video_path: a folder of images, a video file (extra `video`), an array [T, H, W, 3] uint8, a list of
                image paths, an iterator of frames: whatever `sam2long.frames.open_frames` takes.
            offload_video_to_cpu: keep decoded frames in host memory until they are used.
            offload_state_to_cpu: keep committed masks and memories in host memory.
            async_loading_frames: accepted for SAM 2's sake; frames are always decoded lazily and ahead.
            memory_tree, max_pending_frames: settings for this video; None takes the predictor's.

        Returns:
            A dict with SAM 2's keys.

        Raises:
            FileNotFoundError, ValueError: if the video cannot be read or a setting is not allowed.
        """
        self._check_settings(memory_tree, max_pending_frames)  # before anything is opened
        source = open_frames(video_path)
        frames = ModelFrames(source, self.image_size, self.device, offload_to_cpu=offload_video_to_cpu)
        return self._new_state(frames, memory_tree, max_pending_frames, offload_video_to_cpu, offload_state_to_cpu)

    def _new_state(
        self,
        frames: ModelFrames | StreamFrames,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
    ) -> dict[str, Any]:
        config, pending = self._check_settings(memory_tree, max_pending_frames)
        inference_state = new_inference_state(frames, self.device, offload_video_to_cpu, offload_state_to_cpu)
        if memory_tree is not None or max_pending_frames is not None:
            inference_state[SESSION_KEY] = Session(config, pending)
        # SAM 2 does the same here: the backbone is warm and the frame most likely to be clicked is cached.
        self._get_image_feature(inference_state, frame_idx=0, batch_size=1)
        return inference_state

    def _check_settings(
        self, memory_tree: MemoryTreeLike, max_pending_frames: int | None
    ) -> tuple[MemoryTreeConfig, int | None]:
        config = self.memory_tree if memory_tree is None else load_memory_tree(memory_tree)
        check_model_suits_tree(self, config)
        pending = self.max_pending_frames if max_pending_frames is None else max_pending_frames
        return config, checked_count("max_pending_frames", pending)

    @torch.inference_mode()
    def propagate_in_video(
        self,
        inference_state: dict[str, Any],
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Track all objects through the video: SAM 2's generator, with a memory tree per object.

        Frames come in processing order, each as soon as its masks are decided for every object, so they lag
        behind the frame being tracked while hypotheses compete. If the generator is closed early, or a frame
        cannot be read, pending frames are decided for the best pathway so far.

        Args:
            inference_state: from `init_state`, with prompts added.
            start_frame_idx: None starts at the earliest prompted frame.
            max_frame_num_to_track: None tracks to the end of the video.
            reverse: track towards frame 0.

        Yields:
            (frame_idx, obj_ids, video_res_masks): logits, float32 [num_objects, 1, video_height, video_width].
        """
        self._settle(inference_state)
        if self._config(inference_state).num_pathways == 1:
            yield from run_pass_as_sam2(self, inference_state, start_frame_idx, max_frame_num_to_track, reverse)
            return
        self.propagate_in_video_preflight(inference_state)
        order = processing_order(inference_state, start_frame_idx, max_frame_num_to_track, reverse)
        propagation = start_propagation(self, inference_state, reverse, order)
        obj_ids = propagation.obj_ids
        yield from run_pass(self, inference_state, propagation, OpenPass(order, reverse, obj_ids, len(obj_ids)))

    def padded_batch_size(self, batch_size: int) -> int:
        """How many rows a batch of `batch_size` pathways is run with; the compiled predictor pads."""
        return batch_size

    # -- streams -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def init_stream(
        self,
        first_frame: NDArray[np.uint8] | Tensor,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
    ) -> dict[str, Any]:
        """Start an inference state for frames that arrive one by one.

        Args:
            first_frame: frame 0, uint8 [H, W, 3] RGB; prompt it as usual before the next frame.
            memory_tree, max_pending_frames: as in `init_state`; `max_pending_frames=0` answers every frame at once.

        Raises:
            ValueError: if the frame or a setting is not allowed, or `num_pathways` is 1.
        """
        return streaming.init_stream(self, first_frame, memory_tree=memory_tree, max_pending_frames=max_pending_frames)

    @torch.inference_mode()
    def track_frame(
        self, inference_state: dict[str, Any], frame: NDArray[np.uint8] | Tensor
    ) -> list[tuple[int, list[Any], Tensor]]:
        """Track the next frame of a stream.

        Objects and prompts may be added between two calls, on any of the newest `streaming.NUM_HELD_FRAMES`. Scores
        (`get_scores`) can be read until the next call, and of the newest `trunk.NUM_RECENT` frames after it.

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
    ) -> dict[str, Any]:
        """The inference state that `save_state` wrote, on this predictor's device.

        Args:
            path: the file.
            video: the same video, in whatever form `init_state` takes.
            offload_video_to_cpu, offload_state_to_cpu: as in `init_state`; None as it was saved.

        Returns:
            A state as `init_state` returns it. `resume_propagation` goes on with a pass that was open.

        Raises:
            ImportError: without safetensors (extra `state`). FileNotFoundError: if file or video is not there.
            ValueError: if the file is no complete save, or of another video, model or version.
        """
        return saving.load_state(self, path, video, offload_video_to_cpu, offload_state_to_cpu)

    def resume_propagation(self, inference_state: dict[str, Any]) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Go on with the `propagate_in_video` that was open when a loaded state was saved.

        Every frame that had not been yielded comes once, with the masks it would have had. The frame in whose
        loop body `save_state` was called had been yielded: it does not come again.

        Args:
            inference_state: from `load_state`.

        Returns:
            A generator as `propagate_in_video` returns it.

        Raises:
            RuntimeError: if no pass was open, or it is resumed already; then call `propagate_in_video`.
        """
        return resuming.resume_propagation(self, inference_state)

    # -- scores --------------------------------------------------------------------------------------------------

    def get_scores(self, inference_state: dict[str, Any], obj_id: Any) -> dict[int, FrameScores]:
        """Scores of the committed frames of an object, by frame index; see `inspection.get_scores`."""
        return inspection.get_scores(inference_state, obj_id)

    @torch.inference_mode()
    def get_hypotheses(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> list[FrameHypothesis]:
        """The alternatives alive on a tracked frame, best first; see `inspection.get_hypotheses`."""
        return inspection.get_hypotheses(self, inference_state, obj_id, frame_idx)
