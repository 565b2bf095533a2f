"""What the page shows of a `Studio`, as updates for the components of the `Layout`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam2long.studio import look, markup
from sam2long.studio.gradio_library import gradio
from sam2long.studio.layout import Layout
from sam2long.studio.objects import StudioObject, hex_of
from sam2long.studio.studio import Studio
from sam2long.studio.timeline import timeline_html

_MOST_ROWS = 12  # of the timeline; of more objects the chosen one is among them
Updates = dict[Any, Any]


class Shown:
    """Reads the studio; changes nothing.

    Args:
        studio: whose session the page shows.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._layout: Layout | None = None

    @property
    def _at(self) -> Layout:
        assert self._layout is not None, "the page is built first"
        return self._layout

    def _all(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        """Everything as it is now."""
        gr, at, studio = gradio(), self._at, self._studio
        objects, obj_id, last = studio.objects(), self._known(chosen), max(studio.num_frames - 1, 0)
        frame = min(int(frame), last)
        choices = [(of.name, of.obj_id) for of in objects]
        is_open, is_busy = studio.num_frames > 0, studio.is_tracking
        of = None if obj_id is None else self._of(obj_id)
        progress = studio.progress() if objects or is_busy else None  # nothing is left of what was tracked
        updates = {
            at.video: markup.video_html(studio.video, studio.num_frames, studio.size),
            at.stage: self._stage_html(frame, masks_on) if is_open else markup.WELCOME,
            at.frame: gr.update(value=frame, maximum=max(last, 1), interactive=last > 0),
            at.objects: gr.update(choices=choices, value=obj_id),
            at.chosen: obj_id,
            at.swatches: markup.objects_style(objects),
            at.name: gr.update(value=of.name if of else "", interactive=of is not None),
            at.color: gr.update(value=hex_of(of.color) if of else "#888888", interactive=of is not None),
            at.progress: markup.progress_html(progress, can_go_on=studio.can_go_on),
            at.timeline: self._timeline_html(obj_id) if objects else "",
            at.legend: look.LEGEND if objects else "",
            at.review: self._review_html(obj_id, frame) if objects else "",
            at.undo: gr.update(interactive=studio.can_undo and not is_busy),
            at.go_on: gr.update(visible=studio.can_go_on),
            at.stop: gr.update(interactive=is_busy),
            at.seen: self._stamp(),
        }
        for buttons, usable in (
            (at.always, not is_busy),
            (at.of_video, is_open and not is_busy),
            (at.of_objects, bool(objects) and not is_busy),
            (at.of_frames, last > 0),
        ):
            updates |= {button: gr.update(interactive=usable) for button in buttons}
        return updates

    def _opened(self, frame: int = 0, chosen: int | None = None, masks_on: bool = True) -> Updates:
        """Everything, and what could be opened in its place."""
        sessions = [(Path(info.video).name, info.video) for info in self._studio.sessions()]
        earlier = gradio().update(choices=sessions, value=None)
        of_another = gradio().update(value=None, visible=False)
        return {**self._all(frame, chosen, masks_on), self._at.earlier: earlier, self._at.download: of_another}

    def _stamp(self) -> str:
        progress = self._studio.progress()
        return f"{self._studio.version} {progress.outcome if progress else ''}"

    def _stage_html(self, frame: int, masks_on: bool) -> str:
        picture = self._studio.picture(frame, masks_on=masks_on)
        return markup.stage_html(picture, self._studio.objects(), self._studio.num_frames)

    def _timeline_html(self, obj_id: int | None) -> str:
        obj_ids = [of.obj_id for of in self._studio.objects()]
        rows = obj_ids[:_MOST_ROWS]
        if obj_id is not None and obj_id not in rows:
            rows = [*rows[:-1], obj_id]
        return timeline_html(self._studio.courses(rows), obj_id, self._studio.num_frames)

    def _review_html(self, obj_id: int | None, frame: int) -> str:
        if obj_id is None:
            return ""
        doubts, pictures = self._studio.doubtful(obj_id), self._studio.alternatives(obj_id, frame)
        return markup.review_html(self._of(obj_id).name, doubts, frame, pictures)

    def _known(self, chosen: int | None) -> int | None:
        """The object that is chosen, or the last one where that is gone; None where there is none."""
        obj_ids = [of.obj_id for of in self._studio.objects()]
        return chosen if chosen in obj_ids else (obj_ids[-1] if obj_ids else None)

    def _needed(self, chosen: int | None) -> int:
        obj_id = self._known(chosen)
        if obj_id is None:
            raise ValueError("Show an object first: click on it in the picture.")
        return obj_id

    def _of(self, obj_id: int) -> StudioObject:
        return next(of for of in self._studio.objects() if of.obj_id == obj_id)
