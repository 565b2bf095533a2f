"""Showing objects on frames, and taking it back: the state is always as if only what is shown now had ever been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sam2long.studio.looking import Looking
from sam2long.studio.objects import StudioObject
from sam2long.studio.steps import Box, Click, Drawn, Step, digest, with_step

_MAX_UNDO = 100


@dataclass(frozen=True)
class _Undo:
    """How to take a change back, and what it was called."""

    what: str
    restore: Callable[[], None]


class Showing(Looking):
    """What a person shows, one step after the other. The arguments are `Desk`'s."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._undo: list[_Undo] = []

    def show(self, obj_id: int, frame_idx: int, step: Step) -> None:
        """Show an object on a frame: what was not tracked is to be, what was tracked is corrected.

        Raises:
            ValueError: if the object is not known, or the step lies outside the frame or is of another size.
        """
        of = self.known(obj_id)
        self.check(step)
        before = of.shown.get(frame_idx, ())
        if not isinstance(step, Click) and before:  # nothing of what it replaces has a part in it
            self._clear(obj_id, frame_idx)
        self._show_one(obj_id, frame_idx, step)
        of.shown[frame_idx] = with_step(before, step)
        self._note(f"the last mark on {of.name}", lambda: self._show_again(obj_id, frame_idx, before))

    def clear_frame(self, obj_id: int, frame_idx: int) -> None:
        """Take back all that was shown of an object on a frame; a corrected one is what had been tracked there.

        Raises:
            ValueError: if nothing was.
        """
        of = self.known(obj_id)
        before = of.shown.get(frame_idx, ())
        if not before:
            raise ValueError(f"{of.name} has no marks on frame {frame_idx}.")
        self._show_again(obj_id, frame_idx, ())
        self._note(f"clearing {of.name} on frame {frame_idx}", lambda: self._show_again(obj_id, frame_idx, before))

    def take(self, obj_id: int, frame_idx: int, k: int) -> None:
        """Make an alternative of a doubtful frame the answer there.

        Raises:
            ValueError: if there is no such alternative.
        """
        of = self.known(obj_id)
        alternatives = self.predictor.alternatives(self.state, obj_id, frame_idx)
        self.predictor.choose_alternative(self.state, obj_id, frame_idx, k)
        mask = (alternatives[k].video_res_masks[0, 0] > 0).cpu().numpy()
        before = of.shown.get(frame_idx, ())
        of.shown[frame_idx] = (Drawn(mask),)
        self._note(f"the choice for {of.name}", lambda: self._show_again(obj_id, frame_idx, before))

    def check(self, step: Step) -> None:
        """Raises ValueError for a step that is outside the video, or of another size."""
        height, width = self.size
        if isinstance(step, Drawn):
            if step.mask.shape != (height, width):
                given = f"{step.mask.shape[1]} x {step.mask.shape[0]}"
                raise ValueError(f"The mask has {given} pixels, the video {width} x {height}.")
            return
        points = [(step.x, step.y)] if isinstance(step, Click) else [(step.x0, step.y0), (step.x1, step.y1)]
        if not all(0 <= x <= width and 0 <= y <= height for x, y in points):
            raise ValueError("That is outside the picture.")
        if isinstance(step, Box) and (step.x1 - step.x0 < 1 or step.y1 - step.y0 < 1):
            raise ValueError("The box is empty: its corners lie on one line.")

    def _clear(self, obj_id: int, frame_idx: int) -> None:
        if obj_id in self.state["obj_ids"]:
            self.predictor.clear_all_prompts_in_frame(self.state, frame_idx, obj_id, need_output=False)

    def _show_one(self, obj_id: int, frame_idx: int, step: Step) -> None:
        """SAM 2 corrects a tracked frame by what is remembered of another that was shown: see that there is one."""
        state, obj_idx = self.state, self.state["obj_id_to_idx"].get(obj_id)
        if obj_idx is not None and not state["output_dict_per_obj"][obj_idx]["cond_frame_outputs"]:
            tracked = state["frames_tracked_per_obj"][obj_idx]
            if frame_idx in tracked and state["temp_output_dict_per_obj"][obj_idx]["cond_frame_outputs"]:
                self.predictor.propagate_in_video_preflight(state)
            else:  # this one becomes the first
                tracked.pop(frame_idx, None)
        step.show(self.predictor, state, frame_idx, obj_id)

    def _show_again(self, obj_id: int, frame_idx: int, steps: tuple[Step, ...]) -> None:
        """Show `steps` on a frame, as they were shown one by one, and nothing else."""
        if (of := self.objects.get(obj_id)) is None:
            return
        self._clear(obj_id, frame_idx)
        for step in steps:
            self._show_one(obj_id, frame_idx, step)
        of.shown.pop(frame_idx, None)
        if steps:
            of.shown[frame_idx] = steps
        elif not of.shown:  # SAM 2 tracks nothing while an object is not shown anywhere
            self._drop(obj_id)

    def reshow(self, of: StudioObject, differing_from: dict[int, str] | None = None) -> None:
        """Make the state know what an object was shown, but for frames whose `digest` is the one it knows."""
        known = differing_from or {}
        for frame_idx, steps in list(of.shown.items()):
            if known.get(frame_idx) != digest(steps):
                self._show_again(of.obj_id, frame_idx, steps)
        for frame_idx in known.keys() - of.shown.keys():
            self._clear(of.obj_id, frame_idx)

    def _drop(self, obj_id: int) -> None:
        if obj_id in self.state["obj_ids"]:
            self.predictor.remove_object(self.state, obj_id, need_output=False)

    # -- undo ----------------------------------------------------------------------------------------------------

    def _note(self, what: str, restore: Callable[[], None], *, once: bool = False) -> None:
        """Remember how to take a change back; `once`: several of the same in a row are one."""
        if once and self._undo and self._undo[-1].what == what:
            return
        self._undo = [*self._undo[1 - _MAX_UNDO :], _Undo(what, restore)]

    def undo(self) -> str:
        """Take the last change back; says which it was. Tracking is no change: it is done again.

        Raises:
            ValueError: if there is none.
        """
        if not self._undo:
            raise ValueError("There is nothing to undo.")
        last = self._undo.pop()
        last.restore()
        return last.what

    @property
    def can_undo(self) -> bool:
        return bool(self._undo)
