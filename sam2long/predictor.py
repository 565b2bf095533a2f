"""SAM2LongVideoPredictor: SAM 2's video predictor with a memory tree, for everything else unchanged."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from sam2long.config import MemoryTreeLike
from sam2long.frames import ModelFrames, open_frames
from sam2long.frames.images import ImageFiles
from sam2long.model.captures import check_device_captures
from sam2long.model.memory_bank import FrameMemory
from sam2long.model.overrides import own_methods
from sam2long.model.sam2_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS
from sam2long.policies import PolicyLike, load_policy
from sam2long.precision import computes_in_its_precision
from sam2long.search.scores import FrameScores
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates
from sam2long.state import inspection
from sam2long.state.inspection import FrameHypothesis
from sam2long.tracking.reviewing import ReviewingPredictor


@computes_in_its_precision
class SAM2LongVideoPredictor(ReviewingPredictor):
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
        select: which candidates live on, see `sam2long.search.selection.select_candidates`.
        choose_memory: which frames a pathway remembers, see `sam2long.search.selection.choose_memory`.
        policy: a rule beyond the paper, by name ("recommended"; `sam2long.policies.POLICIES`) or a
            `sam2long.search.policy.Policy`; None is the paper's. `init_state(policy=...)` overrides it per video;
            `select` and `choose_memory` override those parts of it.
        keep_alternatives: keep what the trees nearly answered on doubtful frames, packed (a few kilobytes a frame, at
            most 256 frames an object), for `doubtful_frames`, `alternatives` and `choose_alternative`.
        capture: True records what a frame launches as CUDA graphs and replays it: the same kernels and results, a
            handful of launches. Prompts and `num_pathways=1` stay eager. None (default): everything is launched anew.
        **kwargs: the arguments of `SAM2VideoPredictor`.

    Attributes:
        precision: one of `sam2long.precision.PRECISIONS`, in which all methods compute, as in a `torch.autocast` of the
            caller's; None (default) leaves it to the caller.

    Raises:
        ValueError: if an argument, or the combination with the model's own options, makes no sense.
    """

    precision: str | None = None

    def __init__(
        self,
        *args: Any,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        encode_ahead: int = 0,
        select: SelectFunction = select_candidates,
        choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory,
        capture: bool | None = None,
        policy: PolicyLike = None,
        keep_alternatives: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if len(args) < 4 and "add_all_frames_to_correct_as_cond" not in kwargs:  # the fourth of SAM 2's arguments
            self.add_all_frames_to_correct_as_cond = None
        self.set_up(
            memory_tree, max_pending_frames, encode_ahead, select, choose_memory, capture, policy, keep_alternatives
        )

    @classmethod
    def from_sam2(
        cls,
        predictor: SAM2VideoPredictor,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        encode_ahead: int = 0,
        select: SelectFunction = select_candidates,
        choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory,
        capture: bool | None = None,
        policy: PolicyLike = None,
        keep_alternatives: bool = False,
    ) -> SAM2LongVideoPredictor:
        """Our predictor around a predictor that exists already: its modules are shared, no weight is copied.

        Args:
            predictor: a `SAM2VideoPredictor`; it stays usable, and eager. What a subclass of it changes is left
                behind, with a warning that names it.
            memory_tree ... keep_alternatives: as in the constructor.
        """
        if not isinstance(predictor, SAM2VideoPredictor):
            raise ValueError(f"from_sam2 takes a SAM2VideoPredictor, got {type(predictor).__name__}")
        if isinstance(predictor, SAM2VideoPredictorVOS) and not issubclass(cls, SAM2VideoPredictorVOS):
            cls = SAM2LongVideoPredictorVOS
        if not issubclass(cls, type(predictor)) and (lost := own_methods(type(predictor))):
            message = f"from_sam2 shares the weights of this {type(predictor).__name__} and leaves its own code behind"
            warnings.warn(f"{message}: {', '.join(lost)}", UserWarning, stacklevel=2)
        ours: SAM2LongVideoPredictor = cls.__new__(cls)
        for name, value in vars(predictor).items():
            # nn.Module keeps parameters and modules in dicts: a new dict, the same modules
            ours.__dict__[name] = value.copy() if isinstance(value, dict) else value
        if not isinstance(predictor, SAM2LongVideoPredictor):
            # SAM 2 keeps no note of who set it: True is the config's, False may be its default.
            ours.add_all_frames_to_correct_as_cond = vars(ours).pop("add_all_frames_to_correct_as_cond") or None
        ours.use_captures(None)  # another predictor of ours keeps its own
        ours.set_up(
            memory_tree, max_pending_frames, encode_ahead, select, choose_memory, capture, policy, keep_alternatives
        )
        if ours.capture:
            check_device_captures(ours.device)
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
        policy: PolicyLike = None,
        preload: bool = False,
        keep_alternatives: bool | None = None,
    ) -> dict[str, Any]:
        """Start an inference state for a video.

        Args:
            video_path: a folder of images, a video file (extra `video`), an array [T, H, W, 3] uint8, a list of
                image paths, an iterator of frames: whatever `sam2long.frames.open_frames` takes.
            offload_video_to_cpu: keep decoded frames in host memory until they are used.
            offload_state_to_cpu: keep committed masks and memories in host memory.
            async_loading_frames: frames are decoded lazily and ahead in any case. With images, True gives what sam2's
                asynchronous loader makes of them: normalised in float64, which differs in the last bits.
            memory_tree, max_pending_frames, policy, keep_alternatives: settings for this video; None takes the
                predictor's.
            preload: read all frames now and keep them in host memory, resized, as uint8: 3 MB a frame at 1024 pixels
                (SAM 2 keeps 12). What held the video may vanish afterwards. Otherwise frames are read when they are
                needed, and one whose file vanished or was changed meanwhile is a `FrameError`.

        Returns:
            A dict with SAM 2's keys.

        Raises:
            FileNotFoundError, ValueError: if the video cannot be read or a setting is not allowed; with `preload`
                also a `FrameError` (a ValueError) for the first frame that cannot be read.
        """
        self.checked_settings(memory_tree, max_pending_frames)  # before anything is opened
        load_policy(policy)
        source = open_frames(video_path)
        frames = ModelFrames(
            source,
            self.image_size,
            self.device,
            offload_to_cpu=offload_video_to_cpu,
            preload=preload,
            as_async_loader=async_loading_frames and isinstance(source, ImageFiles),  # sam2's reads nothing else
        )
        return self.new_state(
            frames,
            memory_tree,
            max_pending_frames,
            offload_video_to_cpu,
            offload_state_to_cpu,
            policy,
            keep_alternatives,
        )

    # -- scores --------------------------------------------------------------------------------------------------

    def get_scores(self, inference_state: dict[str, Any], obj_id: Any) -> dict[int, FrameScores]:
        """Scores of the committed frames of an object, by frame index; see `inspection.get_scores`."""
        return inspection.get_scores(inference_state, obj_id)

    @torch.inference_mode()
    def get_hypotheses(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> list[FrameHypothesis]:
        """The alternatives alive on a tracked frame, best first; see `inspection.get_hypotheses`."""
        return inspection.get_hypotheses(self, inference_state, obj_id, frame_idx)


class SAM2LongVideoPredictorVOS(SAM2LongVideoPredictor, SAM2VideoPredictorVOS):
    """`SAM2LongVideoPredictor` with all components compiled, as `SAM2VideoPredictorVOS` compiles them.

    The first frames of every new batch size are slow. With CUDA graphs the outputs of a component live in
    buffers that the next call of any writes again; what outlives a call is cloned, here and in SAM 2's class.
    """

    reuses_buffers = True

    def _prepare_memory_conditioned_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """SAM 2's, cloned: its class hands it on beyond a call of the prompt encoder, which PyTorch 2.11 refuses."""
        features: Tensor = super()._prepare_memory_conditioned_features(*args, **kwargs)
        return features.clone()
