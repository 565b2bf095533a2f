"""SAM 2's interactive API over a state whose newest frames may be pending and whose old frames are packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2long.state.corrections import end_carries
from sam2long.state.prompt_checks import (
    check_frame,
    check_mask,
    check_obj_id,
    check_points_or_box,
    check_values,
    untouched_by_failure,
    warn_of_odd_mask,
    warn_of_odd_prompt,
)
from sam2long.state.restoring import RestoringPredictor
from sam2long.state.session import SESSION_KEY

# (frame_idx, obj_ids, logits [num_objects, 1, video_height, video_width]), as SAM 2 answers prompts and yields frames.
Answer = tuple[int, list[Any], Tensor]
Numbers = Sequence[Any] | NDArray[Any] | Tensor
# Whether a tree tracks the video being prompted; a context variable, since threads may prompt several videos.
_prompts_a_tree: ContextVar[bool | None] = ContextVar("prompts_a_tree", default=None)


class InteractivePredictor(RestoringPredictor):
    """What `SAM2LongVideoPredictor` changes about prompts, corrections and removals.

    Every call that changes the state first ends what an open pass knows beyond it (`Session.interrupt`). Prompts that
    cannot be meant are refused. Where a tree tracks, those that fail leave no trace; with `num_pathways=1` they do what
    SAM 2 does.
    """

    # What the model's config says of corrected frames; None: nothing.
    _corrections_condition: bool | None = None

    @property
    def add_all_frames_to_correct_as_cond(self) -> bool:
        """Whether a corrected frame becomes a conditioning frame, so that every later pass keeps and uses it.

        As the model's config sets it; where it sets nothing, True for videos that a tree tracks and False, SAM 2's
        default, with `num_pathways=1`.
        """
        if self._corrections_condition is not None:
            return self._corrections_condition
        by_tree = _prompts_a_tree.get()
        return self.memory_tree.num_pathways > 1 if by_tree is None else by_tree

    @add_all_frames_to_correct_as_cond.setter
    def add_all_frames_to_correct_as_cond(self, value: bool | None) -> None:
        self._corrections_condition = value

    @torch.inference_mode()
    def add_new_points_or_box(
        self,
        inference_state: dict[str, Any],
        frame_idx: int,
        obj_id: Any,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Numbers | None = None,
    ) -> Answer:
        """Prompt an object on a frame with clicks, a box or both: on a tracked frame, a correction.

        Args:
            inference_state: from `init_state` or `init_stream`.
            frame_idx: the frame, from 0.
            obj_id: the object, any hashable value; a new one is added.
            points: clicks as x, y, [N, 2], in pixels of the video.
            labels: for each click 1 on the object, 0 beside it.
            clear_old_points: False adds to the clicks given on this frame before.
            normalize_coords: False if coordinates are 0 to 1 instead of pixels.
            box: x0, y0, x1, y1, in pixels of the video.

        Returns:
            (frame_idx, obj_ids, logits): the masks of all objects on this frame, float32
            [num_objects, 1, video_height, video_width]; > 0 is the object.

        Raises:
            ValueError: if the prompt makes no sense, or the frame does not exist; nothing is registered then.
        Warns of coordinates that are all outside the frame, or all 0 to 1 where pixels are meant.
        """
        with self._prompting(inference_state, frame_idx, obj_id) as by_tree:
            check_values(points, labels, box)
            if by_tree:
                check_points_or_box(points, labels, box, clear_old_points=clear_old_points)
            answer: Answer = super().add_new_points_or_box(
                inference_state, frame_idx, obj_id, points, labels, clear_old_points, normalize_coords, box
            )
        warn_of_odd_prompt(inference_state, points, labels, box, in_pixels=normalize_coords)
        return answer

    def add_new_points(
        self,
        inference_state: dict[str, Any],
        frame_idx: int,
        obj_id: Any,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
    ) -> Answer:
        """SAM 2's old name of `add_new_points_or_box`."""
        return self.add_new_points_or_box(
            inference_state, frame_idx, obj_id, points, labels, clear_old_points, normalize_coords
        )

    @torch.inference_mode()
    def add_new_mask(
        self, inference_state: dict[str, Any], frame_idx: int, obj_id: Any, mask: Sequence[Any] | NDArray[Any] | Tensor
    ) -> Answer:
        """Prompt an object on a frame with its mask: on a tracked frame, a correction.

        Args:
            inference_state, frame_idx, obj_id: as in `add_new_points_or_box`.
            mask: [height, width], True on the object; an empty one says that it is not there. As SAM 2 takes it, all
                that is not 0 (of a tensor, from 0.5 up) is the object, and another size than the frame's is resized.

        Returns:
            (frame_idx, obj_ids, logits), as `add_new_points_or_box` does.

        Raises:
            ValueError: if the mask has another shape, or the frame does not exist; nothing is registered then.
        Warns of masks that hold more than one value beside 0 (logits, ids, ...), or are not of the frame's size.
        """
        with self._prompting(inference_state, frame_idx, obj_id):
            check_mask(mask)
            answer: Answer = super().add_new_mask(inference_state, frame_idx, obj_id, mask)
        warn_of_odd_mask(inference_state, mask, self.image_size)
        return answer

    @contextmanager
    def _prompting(self, inference_state: dict[str, Any], frame_idx: int, obj_id: Any) -> Iterator[bool]:
        """While a prompt is taken; gives whether a tree tracks the video."""
        by_tree = self.tree_config(inference_state).num_pathways > 1
        if by_tree:
            check_frame(inference_state, frame_idx)
            check_obj_id(obj_id)
        elif isinstance(frame_idx, Integral) and frame_idx < 0:  # SAM 2 takes it from the end, and tracks from it
            raise ValueError(f"frame_idx={frame_idx} is negative: frames count from 0")
        token = _prompts_a_tree.set(by_tree)
        try:
            if not by_tree:
                self.interrupt(inference_state)
                _begin_anew(inference_state, frame_idx, obj_id)
                yield by_tree
                return
            with untouched_by_failure(inference_state, frame_idx, obj_id):
                self.interrupt(inference_state)
                _begin_anew(inference_state, frame_idx, obj_id)
                yield by_tree
        finally:
            _prompts_a_tree.reset(token)

    @torch.inference_mode()
    def propagate_in_video_preflight(self, inference_state: dict[str, Any]) -> None:
        """Consolidate the prompts, as SAM 2 does before it tracks; what corrections replace is kept for taking back.

        Raises:
            RuntimeError: if there is no object, or one without a prompt.
        """
        self.interrupt(inference_state)
        if self.tree_config(inference_state).num_pathways > 1:
            end_carries(inference_state)
            if self._corrections_condition is None:
                self.session(inference_state).corrections.keep(inference_state)
        super().propagate_in_video_preflight(inference_state)

    @torch.inference_mode()
    def clear_all_prompts_in_frame(
        self, inference_state: dict[str, Any], frame_idx: int, obj_id: Any, need_output: bool = True
    ) -> Answer | None:
        """Forget an object's clicks, box or mask on a frame; a corrected frame is again what had been tracked there.

        Args:
            inference_state, frame_idx, obj_id: as in `add_new_points_or_box`.
            need_output: whether the masks on the frame are returned.

        Returns:
            (frame_idx, obj_ids, logits), as `add_new_points_or_box` does, or None.
        """
        self.interrupt(inference_state)
        if SESSION_KEY in inference_state:
            super().clear_all_prompts_in_frame(inference_state, frame_idx, obj_id, need_output=False)
            self.session(inference_state).corrections.take_back(inference_state, frame_idx, obj_id)
        # Clearing a frame that has no prompts changes nothing.
        return super().clear_all_prompts_in_frame(inference_state, frame_idx, obj_id, need_output)

    @torch.inference_mode()
    def remove_object(
        self, inference_state: dict[str, Any], obj_id: Any, strict: bool = False, need_output: bool = True
    ) -> tuple[list[Any], list[tuple[int, Tensor]]]:
        """Stop tracking an object and forget it; removing the last one resets the state.

        Args:
            inference_state: from `init_state` or `init_stream`.
            obj_id: the object.
            strict: whether an unknown object is an error.
            need_output: whether the masks of the others, on the frames it was prompted on, are returned.

        Returns:
            The objects left, and (frame_idx, logits [num_objects, 1, video_height, video_width]) for those frames.

        Raises:
            RuntimeError: if `strict` and the object is not known.
        """
        self.interrupt(inference_state)
        result: tuple[list[Any], list[tuple[int, Tensor]]]
        result = super().remove_object(inference_state, obj_id, strict, need_output)
        if SESSION_KEY in inference_state:
            self.session(inference_state).keep_only(inference_state["obj_ids"])
        return result

    @torch.inference_mode()
    def reset_state(self, inference_state: dict[str, Any]) -> None:
        """Forget all objects, prompts and tracked frames; the video stays open."""
        self.interrupt(inference_state)
        super().reset_state(inference_state)
        if SESSION_KEY in inference_state:
            session = self.session(inference_state)
            session.propagation = session.open_pass = None
            session.keep_only([])


def _begin_anew(inference_state: dict[str, Any], frame_idx: int, obj_id: Any) -> None:
    """A prompt for an object that was tracked, and whose prompts were all cleared since, is a first prompt again.

    On a tracked frame SAM 2 would attend to memories of prompted frames, and ends in an assertion as there are none.
    """
    obj_idx = inference_state["obj_id_to_idx"].get(obj_id)
    if obj_idx is not None and not inference_state["output_dict_per_obj"][obj_idx]["cond_frame_outputs"]:
        inference_state["frames_tracked_per_obj"][obj_idx].pop(frame_idx, None)
