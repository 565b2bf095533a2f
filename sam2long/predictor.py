"""SAM2LongVideoPredictor: SAM 2's video predictor with a memory tree, for everything else unchanged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS
from torch import Tensor
from tqdm import tqdm

from sam2long import inspection, resuming, saving, streaming
from sam2long.config import MemoryTreeConfig, load_memory_tree
from sam2long.frames import ModelFrames, open_frames
from sam2long.holes import fill_holes, has_sam2_kernel
from sam2long.inference_state import new_inference_state, processing_order, with_fork_keys
from sam2long.inspection import FrameHypothesis
from sam2long.memory_bank import FrameMemory
from sam2long.propagation import Propagation
from sam2long.scores import FrameScores
from sam2long.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates
from sam2long.session import SESSION_KEY, OpenPass, Session, checked_count
from sam2long.streaming import StreamFrames
from sam2long.trunk import TrackedFrame

MemoryTreeLike = MemoryTreeConfig | str | PathLike[str] | None


class SAM2LongVideoPredictor(SAM2VideoPredictor):
    """`SAM2VideoPredictor` that tracks with a constrained memory tree (SAM2Long, arXiv 2410.16268).

    The API, the model and its checkpoints are SAM 2's. `propagate_in_video` keeps P hypotheses per object and
    yields a frame as soon as no later frame can change its mask. With `num_pathways=1` it is SAM 2 itself.

    Args:
        memory_tree: settings of the tree: a `MemoryTreeConfig`, the name of a file in `configs/memory_tree/`,
            a path to a YAML, or None for the paper's. `init_state(memory_tree=...)` overrides it per video.
        max_pending_frames: a frame that waits longer for its decision is decided for the best pathway so far;
            None (default) waits as long as it takes, 0 answers at once.
        encode_ahead: how many frames the image encoder runs ahead of the tracking, in one batch, on a GPU on a
            stream of its own. 0 (default) keeps SAM 2's order; it pays to try 1 where the GPU, not the host, is busy.
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
        if self.memory_tree.num_pathways > 1:
            self._check_model_suits_tree()

    def _check_model_suits_tree(self) -> None:
        """The options of SAM 2 that leave a tree nothing to choose from are refused."""
        if self.num_maskmem == 0:
            raise ValueError("num_maskmem=0 switches memory off; a memory tree needs it (or num_pathways=1)")
        if not self._use_multimask(is_init_cond_frame=False, point_inputs=None):
            raise ValueError(
                "the memory tree needs three masks per tracked frame: set multimask_output_in_sam=true, "
                "multimask_output_for_tracking=true and multimask_min_pt_num=0 in the model (or num_pathways=1)"
            )
        if self.memory_temporal_stride_for_eval != 1:
            raise ValueError(
                f"memory_temporal_stride_for_eval={self.memory_temporal_stride_for_eval} has no meaning with a "
                "memory tree, which chooses its memories by their scores: set it to 1 (or num_pathways=1)"
            )
        # With these SAM 2 itself fails, or computes NaN, once a video is under way.
        if self.max_cond_frames_in_attn in (0, 1):
            raise ValueError(
                f"max_cond_frames_in_attn={self.max_cond_frames_in_attn} cannot be met: SAM 2 attends to the closest "
                "conditioning frames on both sides; set it to 2 or more, or to -1 for all of them"
            )
        if self.use_obj_ptrs_in_encoder and self.max_obj_ptrs_in_encoder < 2:
            raise ValueError(
                f"max_obj_ptrs_in_encoder={self.max_obj_ptrs_in_encoder} leaves no past to point to: set it to 2 or "
                "more, or use_obj_ptrs_in_encoder=false"
            )

    @classmethod
    def from_sam2(
        cls,
        predictor: SAM2VideoPredictor,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
    ) -> SAM2LongVideoPredictor:
        """Our predictor around a predictor that exists already: its modules are shared, no weight is copied.

        Args:
            predictor: a `SAM2VideoPredictor`; it stays usable.
            memory_tree, max_pending_frames: as in the constructor.
        """
        if not isinstance(predictor, SAM2VideoPredictor):
            raise ValueError(f"from_sam2 takes a SAM2VideoPredictor, got {type(predictor).__name__}")
        if isinstance(predictor, SAM2VideoPredictorVOS) and not issubclass(cls, SAM2VideoPredictorVOS):
            from sam2long.compiled import SAM2LongVideoPredictorVOS

            return SAM2LongVideoPredictorVOS.from_sam2(predictor, memory_tree, max_pending_frames)
        ours: SAM2LongVideoPredictor = cls.__new__(cls)
        for name, value in vars(predictor).items():
            # nn.Module keeps parameters and modules in dicts: a new dict, the same modules
            ours.__dict__[name] = value.copy() if isinstance(value, dict) else value
        ours._set_up_tree(memory_tree, max_pending_frames)
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
        if config.num_pathways > 1:
            self._check_model_suits_tree()
        pending = self.max_pending_frames if max_pending_frames is None else max_pending_frames
        return config, checked_count("max_pending_frames", pending)

    def _session(self, inference_state: dict[str, Any]) -> Session:
        if SESSION_KEY not in inference_state:
            inference_state[SESSION_KEY] = Session(self.memory_tree, self.max_pending_frames)
        session: Session = inference_state[SESSION_KEY]
        return session

    def _config(self, inference_state: dict[str, Any]) -> MemoryTreeConfig:
        session: Session | None = inference_state.get(SESSION_KEY)
        return with_fork_keys(inference_state, session.config if session else self.memory_tree)

    def _settle(self, inference_state: dict[str, Any]) -> None:
        """Commit what an unfinished pass left pending, before something else reads or changes the state."""
        session: Session | None = inference_state.get(SESSION_KEY)
        if session is not None:
            session.settle()

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
            yield from self._propagate_as_sam2(inference_state, start_frame_idx, max_frame_num_to_track, reverse)
            return
        self.propagate_in_video_preflight(inference_state)
        order = processing_order(inference_state, start_frame_idx, max_frame_num_to_track, reverse)
        propagation = self._start_propagation(inference_state, reverse, order)
        obj_ids = propagation.obj_ids
        yield from self._run_pass(inference_state, propagation, OpenPass(order, reverse, obj_ids, len(obj_ids)))

    def _run_pass(
        self, inference_state: dict[str, Any], propagation: Propagation, open_pass: OpenPass
    ) -> Iterator[tuple[int, list[Any], Tensor]]:
        session = self._session(inference_state)
        session.enter(propagation, open_pass)
        try:
            yield from self._at_video_res(inference_state, propagation)  # of a loaded pass: decided before the save
            for frame_idx in tqdm(open_pass.remaining, desc="propagate in video"):
                session.enter(propagation, open_pass)
                propagation.track(frame_idx)
                open_pass.remaining = open_pass.remaining[1:]
                yield from self._at_video_res(inference_state, propagation)
            propagation.settle()
            yield from self._at_video_res(inference_state, propagation)
        except Exception:
            # What was tracked before the failure is an answer too; it comes before the error does.
            propagation.settle()
            yield from self._at_video_res(inference_state, propagation)
            raise
        finally:
            propagation.settle()
            # A finished pass is forgotten, so that dropping the state frees its tensors at once (no cycle).
            if session.propagation is propagation:
                session.propagation = None
            if session.open_pass is open_pass:
                session.open_pass = None

    def _propagate_as_sam2(
        self, inference_state: dict[str, Any], start_frame_idx: int | None, count: int | None, reverse: bool
    ) -> Iterator[tuple[int, list[Any], Tensor]]:
        """SAM 2's own pass; all that is added is a note of how far it is, for `save_state`."""
        session, open_pass = self._session(inference_state), None
        try:
            for frame in super().propagate_in_video(inference_state, start_frame_idx, count, reverse):
                if open_pass is None:
                    order = processing_order(inference_state, frame[0], count, reverse)
                    open_pass = OpenPass(order, reverse, frame[1], len(frame[1]))
                session.open_pass = open_pass
                open_pass.remaining = open_pass.remaining[1:]
                yield frame
        finally:
            if session.open_pass is open_pass:
                session.open_pass = None

    def _start_propagation(
        self,
        inference_state: dict[str, Any],
        reverse: bool,
        order: Sequence[int] = (),
        after: Propagation | None = None,
    ) -> Propagation:
        session = self._session(inference_state)
        session.config = self._config(inference_state)
        session.propagation = Propagation(self, inference_state, session, reverse=reverse, order=order, after=after)
        return session.propagation

    def _at_video_res(
        self, inference_state: dict[str, Any], propagation: Propagation
    ) -> Iterator[tuple[int, list[Any], Tensor]]:
        for frame_idx, obj_ids, pred_masks in propagation.ready():
            _, video_res_masks = self._get_orig_video_res_output(inference_state, pred_masks)
            yield frame_idx, obj_ids, video_res_masks

    # -- SAM 2's interactive API: a change of the state first commits what is pending -----------------------------

    @torch.inference_mode()
    def add_new_points_or_box(self, inference_state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As in SAM 2; frames that an open `propagate_in_video` has pending are committed first."""
        self._settle(inference_state)
        return super().add_new_points_or_box(inference_state, *args, **kwargs)

    @torch.inference_mode()
    def add_new_mask(self, inference_state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As in SAM 2; frames that an open `propagate_in_video` has pending are committed first."""
        self._settle(inference_state)
        return super().add_new_mask(inference_state, *args, **kwargs)

    @torch.inference_mode()
    def clear_all_prompts_in_frame(self, inference_state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As in SAM 2; frames that an open `propagate_in_video` has pending are committed first."""
        self._settle(inference_state)
        return super().clear_all_prompts_in_frame(inference_state, *args, **kwargs)

    @torch.inference_mode()
    def remove_object(self, inference_state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As in SAM 2; frames that an open `propagate_in_video` has pending are committed first."""
        self._settle(inference_state)
        result = super().remove_object(inference_state, *args, **kwargs)
        if SESSION_KEY in inference_state:
            self._session(inference_state).recent.keep_only(inference_state["obj_ids"])
        return result

    @torch.inference_mode()
    def reset_state(self, inference_state: dict[str, Any]) -> None:
        """As in SAM 2; frames that an open `propagate_in_video` has pending are committed, then dropped too."""
        self._settle(inference_state)
        super().reset_state(inference_state)
        if SESSION_KEY in inference_state:
            session = self._session(inference_state)
            session.open_pass = None
            session.recent.keep_only([])

    def _clear_obj_non_cond_mem_around_input(
        self, inference_state: dict[str, Any], frame_idx: int, obj_idx: int
    ) -> None:
        """Drop an object's tracked frames around a prompted one; sam2 1.1.0 calls this and never defines it."""
        reach = self.memory_temporal_stride_for_eval * self.num_maskmem
        tracked = inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"]
        for t in range(frame_idx - reach, frame_idx + reach + 1):
            tracked.pop(t, None)

    def _run_single_frame_inference(
        self, inference_state: dict[str, Any], output_dict: dict[str, Any], frame_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], Tensor]:
        """SAM 2's step for prompts, its memories whole again and its holes filled even without sam2's kernel.

        With `num_pathways=1` nothing is added: that is sam2's result on this machine, bit for bit.
        """
        step = super()._run_single_frame_inference
        self._restore_around(inference_state, output_dict, frame_idx)
        if self._config(inference_state).num_pathways == 1:
            return step(inference_state, output_dict, frame_idx, *args, **kwargs)
        # In float32 SAM 2 fails where all it attends to is bfloat16: before an object's first prompt there is no
        # pointer. One float32 memory makes all of them so, as a pointer would.
        conditioning = {
            t: {**output, "maskmem_features": output["maskmem_features"].float()}
            for t, output in output_dict["cond_frame_outputs"].items()
        }
        output_dict = {**output_dict, "cond_frame_outputs": conditioning}
        if has_sam2_kernel() or self.fill_hole_area <= 0:
            return step(inference_state, output_dict, frame_idx, *args, **kwargs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*Skipping the post-processing step")
            output, pred_masks = step(inference_state, output_dict, frame_idx, *args, **kwargs)
        pred_masks = fill_holes(pred_masks, self.fill_hole_area)
        output["pred_masks"] = pred_masks.to(inference_state["storage_device"], non_blocking=True)
        return output, pred_masks

    def _restore_around(self, inference_state: dict[str, Any], output_dict: dict[str, Any], frame_idx: int) -> None:
        """Make the tracked frames that SAM 2's memory attention may read around a frame whole again."""
        objects = inference_state["output_dict_per_obj"].items()
        obj_idx = next(obj_idx for obj_idx, outputs in objects if outputs is output_dict)
        reach = self.memory_temporal_stride_for_eval * self.num_maskmem
        for t in range(frame_idx - reach, frame_idx + reach + 1):
            if isinstance(output_dict["non_cond_frame_outputs"].get(t), TrackedFrame):
                self.restore_features(inference_state, inference_state["obj_idx_to_id"][obj_idx], t)

    def restore_features(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> Tensor:
        """Memory features of a tracked frame, [1, C_mem, H, W]; computed again from its mask if they were let go."""
        obj_idx = inference_state["obj_id_to_idx"][obj_id]
        output = inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"][frame_idx]
        if output["maskmem_features"] is None:
            pred_masks = output["pred_masks"].to(inference_state["device"])
            size = (self.image_size, self.image_size)
            output["maskmem_features"], _ = self._run_memory_encoder(
                inference_state,
                frame_idx,
                batch_size=1,
                high_res_masks=F.interpolate(pred_masks, size=size, mode="bilinear", align_corners=False),
                object_score_logits=output["object_score_logits"],
                is_mask_from_pts=False,
            )
            if isinstance(output, TrackedFrame):
                self._session(inference_state).recent.add(obj_id, output)
        features: Tensor = output["maskmem_features"]
        return features

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

        Objects and prompts may be added between two calls, on any of the newest `streaming.NUM_HELD_FRAMES`.

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
