"""The work of a person on one video: objects, what is shown of them, corrections, and undoing it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from sam2long.frames import FrameSource
from sam2long.state.session import SESSION_KEY
from sam2long.studio.objects import MAX_OBJECTS, StudioObject, checked_name
from sam2long.studio.steps import Box, Click, Drawn, Step, digest, with_step
from sam2long.views.visualize import BoolArray, Color

if TYPE_CHECKING:
    from sam2long.predictor import SAM2LongVideoPredictor
    from sam2long.state.review import Alternative, DoubtfulFrame

_MAX_UNDO = 100


@dataclass(frozen=True)
class _Undo:
    """How to take a change back, and what it was called."""

    what: str
    restore: Callable[[], None]


class Desk:
    """One video, its objects, and SAM 2's state of them. Not for several threads at once: see `Turns`.

    Args:
        predictor: which tracks.
        source: the video.
        state: of `predictor`, made with `keep_alternatives`; it knows what `objects` were shown.
        objects: of an earlier session.
        next_id: the number of the next object.
    """

    def __init__(
        self,
        predictor: SAM2LongVideoPredictor,
        source: FrameSource,
        state: dict[str, Any],
        objects: dict[int, StudioObject] | None = None,
        next_id: int = 1,
    ) -> None:
        self.predictor, self.source, self.state = predictor, source, state
        self.objects = objects or {}
        self.next_id = next_id
        self._undo: list[_Undo] = []
        self._before_removal: dict[str, Any] | None = None

    @property
    def num_frames(self) -> int:
        return len(self.source)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the video."""
        return self.source.height, self.source.width

    # -- objects -------------------------------------------------------------------------------------------------

    def add_object(self) -> StudioObject:
        """A new object, which is yet to be shown.

        Raises:
            ValueError: if there are as many as there can be.
        """
        if len(self.objects) >= MAX_OBJECTS or self.next_id > MAX_OBJECTS:
            raise ValueError(f"There are {len(self.objects)} objects; a session holds {MAX_OBJECTS} at most.")
        added = StudioObject.new(self.next_id)
        self.objects[added.obj_id] = added
        self.next_id += 1
        self._note(f"adding {added.name}", lambda: self._forget(added.obj_id))
        return added

    def remove_object(self, obj_id: int) -> None:
        """Forget an object and what was tracked of it."""
        removed, objects = self.known(obj_id), dict(self.objects)
        before = self._before_removal = copy.deepcopy(self.state)  # of one removal: a state may be large
        self._forget(obj_id)
        after = self._stamp()

        def restore() -> None:
            self.objects = objects
            if self._before_removal is before and self._stamp() == after:
                self.state = before
            else:  # masks of the others are newer: this one is to be tracked again
                self.reshow(removed)
            self._before_removal = None

        self._note(f"removing {removed.name}", restore)

    def rename(self, obj_id: int, name: str) -> None:
        of, before = self.known(obj_id), self.known(obj_id).name
        if (named := checked_name(name)) == before:
            return
        if any(other.name == named for other in self.objects.values()):
            raise ValueError(f"Another object is called {named}.")
        of.name = named
        self._note(f"renaming {before}", lambda: setattr(of, "name", before))

    def recolor(self, obj_id: int, color: Color) -> None:
        of, before = self.known(obj_id), self.known(obj_id).color
        if color != before:
            of.color = color
            self._note(f"the colour of {of.name}", lambda: setattr(of, "color", before))

    def known(self, obj_id: int) -> StudioObject:
        """The object.

        Raises:
            ValueError: if there is none of that number.
        """
        if obj_id not in self.objects:
            raise ValueError("Add an object first." if not self.objects else f"There is no object {obj_id} any more.")
        return self.objects[obj_id]

    def _forget(self, obj_id: int) -> None:
        self.objects = {k: of for k, of in self.objects.items() if k != obj_id}
        self._drop(obj_id)

    def _drop(self, obj_id: int) -> None:
        if obj_id in self.state["obj_ids"]:
            self.predictor.remove_object(self.state, obj_id, need_output=False)

    # -- showing -------------------------------------------------------------------------------------------------

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
        step.show(self.predictor, self.state, frame_idx, obj_id)
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

    def _show_again(self, obj_id: int, frame_idx: int, steps: tuple[Step, ...]) -> None:
        """Show `steps` on a frame, as they were shown one by one, and nothing else."""
        if (of := self.objects.get(obj_id)) is None:
            return
        self._clear(obj_id, frame_idx)
        for step in steps:
            step.show(self.predictor, self.state, frame_idx, obj_id)
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

    # -- undo ----------------------------------------------------------------------------------------------------

    def _note(self, what: str, restore: Callable[[], None]) -> None:
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

    def _stamp(self) -> tuple[int, int]:
        """Another one once something was tracked."""
        return id(self.state), sum(map(len, self.state["frames_tracked_per_obj"].values()))

    def will_track(self) -> None:
        """What was removed before is not put back as it was."""
        self._before_removal = None

    # -- looking -------------------------------------------------------------------------------------------------

    def masks(self, frame_idx: int, size: tuple[int, int] | None = None) -> dict[int, BoolArray]:
        """The masks known on a frame, by object, bool [H, W], in the video's size or another."""
        outputs = {k: found for k in self.state["obj_ids"] if (found := self._output(k, frame_idx)) is not None}
        if not outputs:
            return {}
        logits = torch.cat([output["pred_masks"].to(self.predictor.device) for output in outputs.values()])
        if size is None:
            shown = self.predictor.at_video_res(self.state, logits)
        else:
            shown = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
        return dict(zip(outputs, (shown[:, 0] > 0).cpu().numpy(), strict=True))

    def _output(self, obj_id: int, frame_idx: int) -> Any:
        """SAM 2's entry for an object on a frame: what was shown last, else what was tracked."""
        obj_idx = self.state["obj_id_to_idx"][obj_id]
        shown, tracked = (self.state[key][obj_idx] for key in ("temp_output_dict_per_obj", "output_dict_per_obj"))
        for outputs in (shown["cond_frame_outputs"], shown["non_cond_frame_outputs"], tracked["cond_frame_outputs"]):
            if frame_idx in outputs:
                return outputs[frame_idx]
        # What was shown and is not any more stays there as if it were tracked.
        is_tracked = frame_idx in self.state["frames_tracked_per_obj"][obj_idx]
        return tracked["non_cond_frame_outputs"].get(frame_idx) if is_tracked else None

    def frames_known(self, obj_id: int) -> set[int]:
        """The frames on which an object was shown or tracked."""
        obj_idx = self.state["obj_id_to_idx"].get(obj_id)
        tracked = set() if obj_idx is None else set(self.state["frames_tracked_per_obj"][obj_idx])
        return tracked | self.known(obj_id).shown.keys()

    def doubtful(self, obj_id: int) -> list[DoubtfulFrame]:
        """The frames on which the tracking of an object was in doubt, most doubtful first."""
        session = self.state.get(SESSION_KEY)
        if obj_id not in self.state["obj_ids"] or session is None or session.review is None:
            return []
        return self.predictor.doubtful_frames(self.state, obj_id)

    def alternatives(self, obj_id: int, frame_idx: int) -> list[Alternative]:
        """What an object nearly was on a frame, best first; none where there was no doubt."""
        if frame_idx not in [frame.frame_idx for frame in self.doubtful(obj_id)]:
            return []
        return self.predictor.alternatives(self.state, obj_id, frame_idx)

    def copied_objects(self) -> list[StudioObject]:
        """The objects as they are now, for a thread that writes them."""
        return [replace(of, shown=dict(of.shown)) for of in self.objects.values()]
