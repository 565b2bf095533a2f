"""A predictor whose videos have settings and passes of their own."""

from __future__ import annotations

import warnings
from typing import Any

from sam2long.config import MemoryTreeConfig, MemoryTreeLike, load_memory_tree
from sam2long.model.captures import Captures, check_device_captures, checked_capture
from sam2long.model.graphs import CudaGraphs
from sam2long.model.memory_bank import FrameMemory
from sam2long.model.overrides import bypassed, overridden_steps
from sam2long.model.stepwise import StepwisePredictor
from sam2long.model.suitability import check_model_suits_tree
from sam2long.policies import PolicyLike, load_policy
from sam2long.search.policy import Policy
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction
from sam2long.state.inference_state import level_of_caller, new_inference_state, with_fork_keys
from sam2long.state.review import Review
from sam2long.state.session import SESSION_KEY, Session, checked_count


class SessionPredictor(StepwisePredictor):
    """Finds, makes and settles the `Session` of an inference state.

    Attributes:
        memory_tree, max_pending_frames, policy, keep_alternatives: settings of videos that have none of their own.
        encode_ahead, select, choose_memory, capture: of every pass; see `SAM2LongVideoPredictor`.
    """

    memory_tree: MemoryTreeConfig
    max_pending_frames: int | None
    encode_ahead: int
    select: SelectFunction
    choose_memory: ChooseMemoryFunction[FrameMemory]
    policy: Policy
    keep_alternatives: bool
    capture: bool
    _named_bypassed: tuple[str, ...] = ()

    def set_up(
        self,
        memory_tree: MemoryTreeLike,
        max_pending_frames: int | None,
        encode_ahead: int,
        select: SelectFunction,
        choose_memory: ChooseMemoryFunction[FrameMemory],
        capture: bool | None,
        policy: PolicyLike = None,
        keep_alternatives: bool = False,
    ) -> None:
        """Check and take the settings.

        Raises:
            FileNotFoundError, ValueError: if one is not allowed, or does not suit the model.
        """
        self.memory_tree = load_memory_tree(memory_tree)
        self.max_pending_frames = checked_count("max_pending_frames", max_pending_frames)
        self.encode_ahead = checked_count("encode_ahead", encode_ahead) or 0
        self.select = select
        self.choose_memory = choose_memory
        self.policy = load_policy(policy)
        self.keep_alternatives = keep_alternatives
        compiled = self.reuses_buffers or self.encoder_is_compiled
        self.capture = checked_capture(capture, compiled=compiled, encode_ahead=self.encode_ahead)
        check_model_suits_tree(self, self.memory_tree)

    def checked_settings(
        self, memory_tree: MemoryTreeLike, max_pending_frames: int | None
    ) -> tuple[MemoryTreeConfig, int | None]:
        """Settings for one video, None being the predictor's.

        Raises:
            FileNotFoundError, ValueError: if one is not allowed, or does not suit the model.
        """
        config = self.memory_tree if memory_tree is None else load_memory_tree(memory_tree)
        check_model_suits_tree(self, config)
        pending = self.max_pending_frames if max_pending_frames is None else max_pending_frames
        return config, checked_count("max_pending_frames", pending)

    def new_state(
        self,
        frames: Any,
        memory_tree: MemoryTreeLike = None,
        max_pending_frames: int | None = None,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        policy: PolicyLike = None,
        keep_alternatives: bool | None = None,
    ) -> dict[str, Any]:
        """An inference state over frames as the model reads them (`ModelFrames`, `HeldFrames`)."""
        config, pending = self.checked_settings(memory_tree, max_pending_frames)
        rule = load_policy(self.policy if policy is None else policy)
        self._begin_to_capture()
        inference_state = new_inference_state(frames, self.device, offload_video_to_cpu, offload_state_to_cpu)
        if any(setting is not None for setting in (memory_tree, max_pending_frames, policy, keep_alternatives)):
            keep = self.keep_alternatives if keep_alternatives is None else keep_alternatives
            inference_state[SESSION_KEY] = Session(config, pending, rule, review=Review() if keep else None)
        # SAM 2 does the same here: the backbone is warm and the frame most likely to be clicked is cached.
        self.image_features(inference_state, frame_idx=0)
        return inference_state

    def _begin_to_capture(self) -> None:
        """Make recordings on the device where the model is now.

        Raises:
            ValueError: if that is no CUDA device.
        """
        if self.capture and (self.captures is None or self.captures.device != self.device):
            check_device_captures(self.device)
            self.use_captures(Captures(CudaGraphs(self.device), self.device))
        if self.captures is not None:
            self.captures.follow(self)

    def name_bypassed_steps(self) -> None:
        """Warn, once, of code for SAM 2's tracking step that a tree does not call."""
        names = overridden_steps(self)
        if names and self._named_bypassed != tuple(names):
            self._named_bypassed = tuple(names)
            warnings.warn(bypassed(names), UserWarning, stacklevel=level_of_caller())

    def session(self, inference_state: dict[str, Any]) -> Session:
        """What belongs to the video; made where it is not there yet."""
        if SESSION_KEY not in inference_state:
            review = Review() if self.keep_alternatives else None
            session = Session(self.memory_tree, self.max_pending_frames, load_policy(self.policy), review=review)
            inference_state[SESSION_KEY] = session
        found: Session = inference_state[SESSION_KEY]
        return found

    def tree_config(self, inference_state: dict[str, Any]) -> MemoryTreeConfig:
        """The settings of the video's trees now, keys of the authors' fork included."""
        session: Session | None = inference_state.get(SESSION_KEY)
        return with_fork_keys(inference_state, session.config if session else self.memory_tree)

    def interrupt(self, inference_state: dict[str, Any]) -> None:
        """Say that something is about to change the state; see `Session.interrupt`."""
        if SESSION_KEY in inference_state:
            self.session(inference_state).interrupt()
