"""SAM2LongVideoPredictor: SAM 2's video predictor with a memory tree, for everything else unchanged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor
from tqdm import tqdm

from sam2long.config import MemoryTreeConfig, load_memory_tree
from sam2long.frames import ModelFrames, open_frames
from sam2long.holes import fill_holes, has_sam2_kernel
from sam2long.memory_bank import FrameMemory
from sam2long.propagation import SCORES_KEY, Propagation
from sam2long.scores import FrameScores
from sam2long.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates

MemoryTreeLike = MemoryTreeConfig | str | PathLike[str] | None
# Where a video's own settings and running pass lie in `inference_state` (absent while neither exists).
SESSION_KEY = "sam2long"


@dataclass(slots=True)
class _Session:
    """What belongs to one video: its settings, and the pass whose frames may still be pending."""

    config: MemoryTreeConfig
    max_pending_frames: int | None
    propagation: Propagation | None = None

    def settle(self) -> None:
        if self.propagation is not None:
            self.propagation.settle()


class SAM2LongVideoPredictor(SAM2VideoPredictor):
    """`SAM2VideoPredictor` that tracks with a constrained memory tree (SAM2Long, arXiv 2410.16268).

    The API, the model and its checkpoints are SAM 2's. `propagate_in_video` keeps P hypotheses per object and
    yields a frame as soon as no later frame can change its mask. With `num_pathways=1` it is SAM 2 itself.

    Args:
        memory_tree: settings of the tree: a `MemoryTreeConfig`, the name of a file in `configs/memory_tree/`,
            a path to a YAML, or None for the paper's. `init_state(memory_tree=...)` overrides it per video.
        max_pending_frames: a frame that waits longer for its decision is decided for the best pathway so far;
            None (default) waits as long as it takes, 0 answers at once.
        select: which candidates live on, see `sam2long.selection.select_candidates`.
        choose_memory: which frames a pathway remembers, see `sam2long.selection.choose_memory`.
        **kwargs: the arguments of `SAM2VideoPredictor`.

    Raises:
        ValueError: if an argument, or the combination with the model's own options, makes no sense.
    """

    def __init__(
        self,
        *args: Any,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        select: SelectFunction = select_candidates,
        choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._set_up_tree(memory_tree, max_pending_frames, select, choose_memory)

    def _set_up_tree(
        self,
        memory_tree: MemoryTreeLike,
        max_pending_frames: int | None,
        select: SelectFunction = select_candidates,
        choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory,
    ) -> None:
        self.memory_tree = load_memory_tree(memory_tree)
        self.max_pending_frames = _checked_max_pending_frames(max_pending_frames)
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
        config = self.memory_tree if memory_tree is None else load_memory_tree(memory_tree)
        if config.num_pathways > 1:
            self._check_model_suits_tree()
        pending = self.max_pending_frames if max_pending_frames is None else max_pending_frames
        pending = _checked_max_pending_frames(pending)
        device = self.device
        frames = ModelFrames(open_frames(video_path), self.image_size, device, offload_to_cpu=offload_video_to_cpu)
        inference_state = _new_inference_state(frames, device, offload_video_to_cpu, offload_state_to_cpu)
        if memory_tree is not None or max_pending_frames is not None:
            inference_state[SESSION_KEY] = _Session(config, pending)
        # SAM 2 does the same here: the backbone is warm and the frame most likely to be clicked is cached.
        self._get_image_feature(inference_state, frame_idx=0, batch_size=1)
        return inference_state

    def _session(self, inference_state: dict[str, Any]) -> _Session:
        if SESSION_KEY not in inference_state:
            inference_state[SESSION_KEY] = _Session(self.memory_tree, self.max_pending_frames)
        return inference_state[SESSION_KEY]

    def _config(self, inference_state: dict[str, Any]) -> MemoryTreeConfig:
        session: _Session | None = inference_state.get(SESSION_KEY)
        return session.config if session else self.memory_tree

    def _settle(self, inference_state: dict[str, Any]) -> None:
        """Commit what an unfinished pass left pending, before something else reads or changes the state."""
        session: _Session | None = inference_state.get(SESSION_KEY)
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
            yield from super().propagate_in_video(inference_state, start_frame_idx, max_frame_num_to_track, reverse)
            return
        self.propagate_in_video_preflight(inference_state)
        order = _processing_order(inference_state, start_frame_idx, max_frame_num_to_track, reverse)
        propagation = self._start_propagation(inference_state, reverse)
        try:
            for frame_idx in tqdm(order, desc="propagate in video"):
                propagation.track(frame_idx)
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

    def _start_propagation(self, inference_state: dict[str, Any], reverse: bool) -> Propagation:
        session = self._session(inference_state)
        session.propagation = Propagation(
            self,
            inference_state,
            session.config,
            select=self.select,
            choose_memory=self.choose_memory,
            max_pending_frames=session.max_pending_frames,
            reverse=reverse,
        )
        return session.propagation

    def _at_video_res(
        self, inference_state: dict[str, Any], propagation: Propagation
    ) -> Iterator[tuple[int, list[Any], Tensor]]:
        for frame_idx, obj_ids, pred_masks in propagation.ready():
            _, video_res_masks = self._get_orig_video_res_output(inference_state, pred_masks)
            yield frame_idx, obj_ids, video_res_masks

    def _run_single_frame_inference(
        self, inference_state: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], Tensor]:
        """SAM 2's step for prompts, with its holes filled even where sam2 lacks the kernel for it.

        With `num_pathways=1` nothing is added: that is sam2's result on this machine, bit for bit.
        """
        if has_sam2_kernel() or self.fill_hole_area <= 0 or self._config(inference_state).num_pathways == 1:
            return super()._run_single_frame_inference(inference_state, *args, **kwargs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*Skipping the post-processing step")
            output, pred_masks = super()._run_single_frame_inference(inference_state, *args, **kwargs)
        pred_masks = fill_holes(pred_masks, self.fill_hole_area)
        output["pred_masks"] = pred_masks.to(inference_state["storage_device"], non_blocking=True)
        return output, pred_masks

    def get_scores(self, inference_state: dict[str, Any], obj_id: Any) -> dict[int, FrameScores]:
        """Scores of the committed frames of an object, by frame index.

        Frames that the user prompted have none (their mask was given, not predicted), nor has anything tracked
        with `num_pathways=1`, where SAM 2's own code runs and keeps no predicted IoU.

        Raises:
            ValueError: if the object is not known.
        """
        obj_idx = inference_state["obj_id_to_idx"].get(obj_id)
        if obj_idx is None:
            raise ValueError(f"unknown object id {obj_id!r}; known: {list(inference_state['obj_ids'])}")
        outputs = inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"]
        return {t: outputs[t][SCORES_KEY] for t in sorted(outputs) if SCORES_KEY in outputs[t]}


def _checked_max_pending_frames(value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"max_pending_frames must be None or an integer >= 0, got {value!r}")
    return value


def _new_inference_state(
    frames: ModelFrames, device: torch.device, offload_video_to_cpu: bool, offload_state_to_cpu: bool
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


def _processing_order(
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
