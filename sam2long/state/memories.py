"""Memories that lie in SAM 2's state: conditioning frames, and the committed past a tree grows from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from sam2.modeling.sam2_utils import select_closest_cond_frames

from sam2long.model.memory_bank import FrameMemory, PathwayMemory
from sam2long.search.policy import Memory
from sam2long.search.scores import FrameScores
from sam2long.state.tracked_frames import SCORES_KEY

FrameMemories = Memory[FrameMemory]
Remember = Callable[[FrameMemories, FrameMemory], FrameMemories]


class MemoryOptions(Protocol):
    """Which conditioning frames SAM 2 attends to, and how it dates their pointers."""

    max_cond_frames_in_attn: int
    only_obj_ptrs_in_the_past_for_eval: bool
    use_signed_tpos_enc_to_obj_ptrs: bool


class CommittedMemories:
    """Reads one object's memories out of SAM 2's state, for one pass in one direction.

    Args:
        model: the predictor.
        outputs: the object's entry in `output_dict_per_obj`.
        num_frames: of the video (of a stream, which knows no reverse, any number).
        max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`, how far SAM 2's memory reaches.
        reverse: whether time runs backwards.
        tracked: the object's entry in `frames_tracked_per_obj`: in which direction each frame was tracked last.
    """

    def __init__(
        self,
        model: MemoryOptions,
        outputs: dict[str, dict[int, Any]],
        num_frames: int,
        max_obj_ptrs: int,
        reverse: bool,
        tracked: Mapping[int, Mapping[str, bool]],
    ) -> None:
        self._model = model
        self._outputs = outputs
        self._num_frames = num_frames
        self._max_obj_ptrs = max_obj_ptrs
        self._reverse = reverse
        self._tracked = tracked
        self._conditioning: dict[int, FrameMemory] = {}

    def of_pathway(
        self, frame_idx: int, remembered: tuple[FrameMemory, ...], anchors: tuple[FrameMemory, ...] = ()
    ) -> PathwayMemory:
        """All that a pathway attends to on a frame."""
        model, sign = self._model, -1 if self._reverse else 1
        selected, unselected = select_closest_cond_frames(
            frame_idx, self._outputs["cond_frame_outputs"], model.max_cond_frames_in_attn
        )
        pointers = []
        for t in selected:
            if (frame_idx - t) * sign >= 0 or not model.only_obj_ptrs_in_the_past_for_eval:
                pointers.append((self._age(frame_idx, t), self._conditioning_memory(t)))
        behind = [self._conditioning_memory(t) for t in unselected if (frame_idx - t) * sign > 0]
        if behind:
            # SAM 2 treats conditioning frames beyond `max_cond_frames_in_attn` as if they were tracked frames.
            merged = sorted([*remembered, *behind], key=lambda memory: memory.frame_idx, reverse=self._reverse)
            remembered = tuple(merged[-self._max_obj_ptrs :])
        conditioning = [self._conditioning_memory(t) for t in selected]
        # Rule 2: with nothing but conditioning frames in memory the step is SAM 2's own, so not modulated.
        anchored = [(self._age(frame_idx, memory.frame_idx), memory) for memory in anchors]
        return PathwayMemory(
            conditioning, pointers, remembered, modulated=len(remembered) + len(anchors) > 0, anchors=anchored
        )

    def _age(self, frame_idx: int, earlier: int) -> int:
        """Temporal distance of a frame that is not dated by its rank, as SAM 2 has it."""
        distance = frame_idx - earlier if not self._reverse else earlier - frame_idx
        return distance if self._model.use_signed_tpos_enc_to_obj_ptrs else abs(distance)

    def _conditioning_memory(self, frame_idx: int) -> FrameMemory:
        if frame_idx not in self._conditioning:
            output = self._outputs["cond_frame_outputs"][frame_idx]
            self._conditioning[frame_idx] = memory_of(frame_idx, output)
        return self._conditioning[frame_idx]

    def recall(
        self,
        frame_idx: int,
        remember: Remember,
        before: FrameMemories | None = None,
        across: Callable[[Hashable], Hashable] | None = None,
    ) -> tuple[FrameMemories, float, Hashable]:
        """What a pathway would remember before `frame_idx` had it tracked the committed past itself.

        Args:
            frame_idx: the frame to be tracked.
            remember: which frames a pathway remembers.
            before: what is remembered of a past that the state does not hold any more (a stream's).
            across: what of a carry holds where the track breaks off; None: nothing.

        Returns:
            The remembered frames (features may be missing), the cumulative score there, and what was carried on from
            the newest of them: all of it from the frame before, tracked the same way; else what holds `across`; None
            where that frame is long past, or was corrected after.
        """
        step = 1 if self._reverse else -1
        tracked, conditioning = self._outputs["non_cond_frame_outputs"], self._outputs["cond_frame_outputs"]
        history, t, gap, corrected = [], frame_idx + step, 0, False
        # A gap as long as SAM 2's pointer window ends the history: SAM 2 could not see across it either.
        while 0 <= t < self._num_frames and gap < self._max_obj_ptrs:
            if t in tracked:
                history.append(t)
            corrected |= t in conditioning and not history
            gap = 0 if t in tracked or t in conditioning else gap + 1
            t += step
        memory = FrameMemories(*(_older(frames, history) for frames in before or FrameMemories()))
        for t in reversed(history):
            memory = remember(memory, memory_of(t, tracked[t]))
        scores: FrameScores | None = tracked[history[0]].get(SCORES_KEY) if history else None
        # What was carried on from frames that the user has corrected since is not to be relied on.
        carry = getattr(tracked[history[0]], "carry", None) if history and not corrected else None
        if carry is not None and not self._goes_on(history[0], frame_idx + step):
            carry = across(carry) if across else None
        return memory, scores.cumulative_score if scores else 0.0, carry

    def _goes_on(self, newest: int, before: int) -> bool:
        """Whether the track of the newest tracked frame is the one that is to go on: next to it, the same way."""
        return newest == before and self._tracked.get(newest, {}).get("reverse") == self._reverse


def _older(frames: tuple[FrameMemory, ...], history: list[int]) -> tuple[FrameMemory, ...]:
    """Of the frames of a stream, those before its newest ones, which are in the state."""
    return tuple(memory for memory in frames if history and memory.frame_idx < history[-1])


def memory_of(frame_idx: int, output: dict[str, Any]) -> FrameMemory:
    """A frame in SAM 2's state as a memory; one without scores was given by the user or tracked by SAM 2 (IoU 1)."""
    scores: FrameScores | None = output.get(SCORES_KEY)
    return FrameMemory(
        frame_idx,
        predicted_iou=scores.predicted_iou if scores else 1.0,
        occlusion_score=scores.occlusion_score if scores else float(output["object_score_logits"]),
        features=output["maskmem_features"],
        obj_ptr=output["obj_ptr"],
        note=scores.note if scores else (),
    )
