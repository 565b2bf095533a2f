"""One object in SAM 2's inference state: what was shown and committed of it, and where its decided frames go."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from torch import Tensor

from sam2long.model.hypotheses import Hypothesis
from sam2long.model.memory_bank import FrameMemory
from sam2long.search.scores import FrameScores
from sam2long.state.memories import CommittedMemories, MemoryOptions, memory_of
from sam2long.state.tracked_frames import RecentFrames, TrackedFrame

# What was made of a frame, and its low-res logits [1, 1, h, w], read when they are asked for.
Sight = tuple[FrameMemory | None, Callable[[], Tensor]]


class PastModel(MemoryOptions, Protocol):
    """What reads and changes the past with SAM 2's own means."""

    clear_non_cond_mem_around_input: bool
    memory_temporal_stride_for_eval: int
    num_maskmem: int

    def restore_features(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> Tensor:
        """Memory features of a committed frame, computed again if they were let go."""

    def clear_memory_around(self, inference_state: dict[str, Any], frame_idx: int, obj_idx: int) -> None:
        """Drop the object's tracked frames around a prompted one."""


class ObjectPast:
    """The trunk a track grows from and commits to, for one pass in one direction.

    Args:
        model: the predictor.
        inference_state: SAM 2's state, which holds the object.
        recent: the video's recent frames.
        obj_id: the object.
        max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`, how far SAM 2's memory reaches.
        reverse: whether time runs backwards.
    """

    def __init__(
        self,
        model: PastModel,
        inference_state: dict[str, Any],
        recent: RecentFrames,
        obj_id: Any,
        *,
        max_obj_ptrs: int,
        reverse: bool,
    ) -> None:
        self.obj_id = obj_id
        self._model = model
        self._state = inference_state
        self._recent = recent
        self._reverse = reverse
        obj_idx = inference_state["obj_id_to_idx"].get(obj_id)
        self._began_with: Any = inference_state["output_dict_per_obj"].get(obj_idx)
        tracked = inference_state["frames_tracked_per_obj"].get(obj_idx, {})
        self.memories = CommittedMemories(
            model, self._began_with, inference_state["num_frames"], max_obj_ptrs, reverse, tracked
        )

    @property
    def is_gone(self) -> bool:
        """Whether the object was removed meanwhile; one removed and added again is another, whatever its id."""
        obj_idx = self._state["obj_id_to_idx"].get(self.obj_id)
        return obj_idx is None or self._state["output_dict_per_obj"][obj_idx] is not self._began_with

    def set_gone(self) -> None:
        """The object was removed while the pass that is taken up was open."""
        self._began_with = None

    def _obj_idx(self) -> int:
        if self.is_gone:
            raise RuntimeError(
                f"object {self.obj_id!r} was removed while it was being tracked; start propagate_in_video again"
            )
        obj_idx: int = self._state["obj_id_to_idx"][self.obj_id]
        return obj_idx

    def _outputs(self) -> dict[str, dict[int, dict[str, Any]]]:
        outputs: dict[str, dict[int, dict[str, Any]]] = self._state["output_dict_per_obj"][self._obj_idx()]
        return outputs

    def is_conditioning(self, frame_idx: int) -> bool:
        """Whether a frame is one of the object's conditioning frames: its mask there is known.

        Raises:
            RuntimeError: if the object was removed.
        """
        return frame_idx in self._outputs()["cond_frame_outputs"]

    def restore(self, memory: FrameMemory) -> None:
        """Compute the features of a committed frame again where they were let go."""
        if memory.features is None and memory.frame_idx in self._outputs()["non_cond_frame_outputs"]:
            memory.features = self._model.restore_features(self._state, self.obj_id, memory.frame_idx)

    def commit(
        self,
        frame_idx: int,
        hypothesis: Hypothesis,
        pred_masks: Tensor,
        levels: Tensor,
        scores: FrameScores,
        carry: Hashable = None,
    ) -> None:
        """Write a decided frame into SAM 2's state, in SAM 2's format plus its scores.

        Args:
            frame_idx: the frame.
            hypothesis: which was decided for.
            pred_masks: its finished low-res logits, [1, 1, h, w].
            levels: `quantise` of them.
            scores: of the frame.
            carry: what its pathway carries on from it.
        """
        frame = TrackedFrame(
            features=hypothesis.memory.features,
            pos_enc=self._state["constants"]["maskmem_pos_enc"],
            pred_masks=pred_masks,
            obj_ptr=hypothesis.memory.obj_ptr,
            object_score_logits=hypothesis.object_score_logits,
            scores=scores,
            storage_device=self._state["storage_device"],
            levels=levels,
            carry=carry,
        )
        self._outputs()["non_cond_frame_outputs"][frame_idx] = frame
        self._recent.add(self.obj_id, frame)
        self._mark_tracked(frame_idx)

    def pass_conditioning_frame(self, frame_idx: int) -> Tensor:
        """Pass a frame whose mask is known, as SAM 2 does; returns its low-res logits."""
        pred_masks: Tensor = self._outputs()["cond_frame_outputs"][frame_idx]["pred_masks"]
        if self._model.clear_non_cond_mem_around_input:
            self._model.clear_memory_around(self._state, frame_idx, self._obj_idx())
        self._mark_tracked(frame_idx)
        return pred_masks

    def committed_masks(self, frame_idx: int) -> Tensor:
        """Low-res logits of a frame that SAM 2's state knows, [1, 1, h, w]."""
        kind = "cond_frame_outputs" if self.is_conditioning(frame_idx) else "non_cond_frame_outputs"
        pred_masks: Tensor = self._outputs()[kind][frame_idx]["pred_masks"]
        return pred_masks

    def seen(self, frame_idx: int) -> Sight | None:
        """What the state has of a frame: its memory (None: a conditioning frame's), and its logits when called."""
        outputs = self._outputs()
        if frame_idx in outputs["cond_frame_outputs"]:
            return None, lambda: self.committed_masks(frame_idx)
        if frame_idx not in outputs["non_cond_frame_outputs"]:
            return None
        return memory_of(frame_idx, outputs["non_cond_frame_outputs"][frame_idx]), lambda: self.committed_masks(
            frame_idx
        )

    def beyond_reach(self, frame_idx: int, remembered: tuple[FrameMemory, ...]) -> tuple[FrameMemory, ...]:
        """Of the frames a pathway remembers, those whose memories are not cleared around a prompted frame."""
        if not self._model.clear_non_cond_mem_around_input:
            return remembered
        reach = self._model.memory_temporal_stride_for_eval * self._model.num_maskmem
        return tuple(memory for memory in remembered if abs(memory.frame_idx - frame_idx) > reach)

    def _mark_tracked(self, frame_idx: int) -> None:
        self._state["frames_tracked_per_obj"][self._obj_idx()][frame_idx] = {"reverse": self._reverse}
