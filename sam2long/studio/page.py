"""The page: Gradio's components around a `Studio`. It keeps nothing but which frame and object a browser looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sam2long.studio import look, markup
from sam2long.studio.gradio_library import gradio
from sam2long.studio.layout import Layout
from sam2long.studio.objects import StudioObject, checked_color, hex_of
from sam2long.studio.steps import Box, Click, Step
from sam2long.studio.studio import Studio, Way
from sam2long.studio.telling import told
from sam2long.studio.timeline import timeline_html

_MOST_ROWS = 12  # of the timeline; of more objects the chosen one is among them
Updates = dict[Any, Any]


class Page:
    """What happens when something is pressed. Every method gives updates for components of the `Layout`.

    Args:
        studio: whose session the page shows.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def build(self) -> Any:
        """The page, a `gradio.Blocks`."""
        gr = gradio()
        with gr.Blocks(title="sam2long studio", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
            self._at = at = Layout(gr)
            self._connect(blocks, at)
        return blocks

    def _connect(self, blocks: Any, at: Layout) -> None:
        """Which of the methods below answers what."""
        here = [at.frame, at.objects, at.masks_on]
        for listen, method, inputs in (
            (blocks.load, self._load, here),
            (at.open.click, self._open, [at.path]),
            (at.path.submit, self._open, [at.path]),
            (at.upload.upload, self._upload, [at.upload]),
            (at.earlier.input, self._open, [at.earlier]),
            (at.over.click, self._start_over, []),
            (at.stage.click, self._stage, here),
            (at.back.click, self._step_back, here),
            (at.next.click, self._step_on, here),
            (at.masks_on.input, self._look, here),
            (at.objects.input, self._look, here),
            (at.add.click, self._add, here),
            (at.remove.click, self._remove, here),
            (at.name.submit, self._rename, [*here, at.name]),
            (at.name.blur, self._rename, [*here, at.name]),
            (at.color.change, self._recolor, [*here, at.color]),
            (at.undo.click, self._undo, here),
            (at.clear.click, self._clear, here),
            (at.mask_file.upload, self._mask_file, [*here, at.mask_file]),
            (at.paint_begin.click, self._paint_begin, here),
            (at.paint_use.click, self._paint_use, [*here, at.paint]),
            (at.backward.click, self._track_backward, here),
            (at.both.click, self._track_both, here),
            (at.forward.click, self._track_forward, here),
            (at.go_on.click, self._go_on, here),
            (at.stop.click, self._stop, here),
            (at.timeline.click, self._timeline, here),
            (at.review.click, self._review, here),
        ):
            listen(told(method), inputs, at.outputs, show_progress="hidden")
        at.frame.input(told(self._scrub), here, at.outputs, show_progress="hidden", trigger_mode="always_last")
        at.export.click(told(self._export), [at.formats], [at.download])
        at.clock.tick(told(self._tick), [*here, at.follow, at.seen], at.outputs, show_progress="hidden")

    # -- 1 open --------------------------------------------------------------------------------------------------

    def _open(self, path: str) -> Updates:
        went_on = self._studio.open(path or "")
        if went_on:
            gradio().Info("Your earlier work on this video is open again.")
        return self._all(0, None, True)

    def _upload(self, files: Sequence[str]) -> Updates:
        try:
            self._studio.open_upload([Path(file) for file in files])
            return {**self._all(0, None, True), self._at.upload: None}
        finally:
            for file in files:
                Path(file).unlink(missing_ok=True)  # a copy is kept beside the session

    def _start_over(self) -> Updates:
        self._studio.start_over()
        return self._all(0, None, True)

    def _load(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._all(frame, chosen, masks_on)

    # -- 2 show --------------------------------------------------------------------------------------------------

    def _stage(self, frame: int, chosen: int | None, masks_on: bool, event: Any) -> Updates:
        """A click, or a box that was dragged, in pixels of the video."""
        step: Step
        if box := event.box:
            x0, y0, x1, y1 = map(float, box)
            step = Box.between((x0, y0), (x1, y1))
        elif point := event.point:
            step = Click(float(point[0]), float(point[1]), not event.negative)
        else:
            return {}
        return self._all(frame, self._studio.show(self._known(chosen), frame, step), masks_on)

    def _add(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._all(frame, self._studio.add_object().obj_id, masks_on)

    def _remove(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        self._studio.remove_object(self._needed(chosen))
        return self._all(frame, None, masks_on)

    def _rename(self, frame: int, chosen: int | None, masks_on: bool, name: str) -> Updates:
        obj_id = self._known(chosen)
        if obj_id is None or name == self._of(obj_id).name:  # a click elsewhere leaves the field too
            return {}
        self._studio.rename(obj_id, name)
        return self._all(frame, obj_id, masks_on)

    def _recolor(self, frame: int, chosen: int | None, masks_on: bool, text: str) -> Updates:
        obj_id = self._known(chosen)
        if obj_id is None or not text or checked_color(text) == self._of(obj_id).color:
            return {}
        self._studio.recolor(obj_id, checked_color(text))
        return self._all(frame, obj_id, masks_on)

    def _undo(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        gradio().Info(f"Undone: {self._studio.undo()}.", duration=3)
        return self._all(frame, chosen, masks_on)

    def _clear(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        self._studio.clear_frame(self._needed(chosen), frame)
        return self._all(frame, chosen, masks_on)

    def _mask_file(self, frame: int, chosen: int | None, masks_on: bool, file: str) -> Updates:
        shown = self._studio.show_file(self._known(chosen), frame, Path(file))
        return self._all(frame, shown[-1], masks_on)

    def _paint_begin(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return {self._at.paint: {"background": self._studio.bare_frame(frame), "layers": [], "composite": None}}

    def _paint_use(self, frame: int, chosen: int | None, masks_on: bool, painted: Any) -> Updates:
        layers = [np.asarray(layer) for layer in (painted or {}).get("layers", ()) if layer is not None]
        shown = self._studio.show_painted(self._known(chosen), frame, layers)
        return self._all(frame, shown, masks_on)

    # -- 3 track -------------------------------------------------------------------------------------------------

    def _track_forward(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._track("forward", frame, chosen, masks_on)

    def _track_backward(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._track("backward", frame, chosen, masks_on)

    def _track_both(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._track("both", frame, chosen, masks_on)

    def _track(self, way: Way, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._all(self._studio.track(way, frame), chosen, masks_on)

    def _go_on(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        self._studio.go_on()
        return self._all(frame, chosen, masks_on)

    def _stop(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        self._studio.stop()
        return {}

    def _tick(self, frame: int, chosen: int | None, masks_on: bool, follow: bool, seen: str) -> Updates:
        """Twice a second: what changed by tracking, or in another window."""
        at, progress = self._at, self._studio.progress()
        if self._stamp() != seen:
            return self._all(frame, chosen, masks_on)
        if progress is None or progress.outcome != "running":
            return {}
        updates: Updates = {at.progress: markup.progress_html(progress)}
        if follow and progress.newest is not None and progress.newest != frame:
            updates |= {at.frame: progress.newest, at.stage: self._stage_html(progress.newest, masks_on)}
        updates[at.timeline] = self._timeline_html(self._known(chosen))
        return updates

    # -- 4 review ------------------------------------------------------------------------------------------------

    def _scrub(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        at, obj_id = self._at, self._known(chosen)
        return {at.stage: self._stage_html(frame, masks_on), at.review: self._review_html(obj_id, frame)}

    def _step_on(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._to(min(frame + 1, max(self._studio.num_frames - 1, 0)), chosen, masks_on)

    def _step_back(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._to(max(frame - 1, 0), chosen, masks_on)

    def _to(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return {self._at.frame: frame, **self._scrub(frame, chosen, masks_on)}

    def _look(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._all(frame, chosen, masks_on)

    def _timeline(self, frame: int, chosen: int | None, masks_on: bool, event: Any) -> Updates:
        to, obj_id = event.frame, event.chosen
        return self._all(frame if to is None else int(to), chosen if obj_id is None else int(obj_id), masks_on)

    def _review(self, frame: int, chosen: int | None, masks_on: bool, event: Any) -> Updates:
        if (choice := event.choice) is not None:
            self._studio.take(self._needed(chosen), frame, int(choice))
            gradio().Info("Taken. Now track again from here: forward, backward or both.", duration=6)
            return self._all(frame, chosen, masks_on)
        return self._to(int(event.frame), chosen, masks_on) if event.frame is not None else {}

    # -- 5 export ------------------------------------------------------------------------------------------------

    def _export(self, formats: Sequence[str], progress: Any) -> str:
        return str(self._studio.export(formats, lambda share: progress(share, desc="Writing")))

    # -- what is shown -------------------------------------------------------------------------------------------

    def _all(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        """Everything as it is now."""
        gr, at, studio = gradio(), self._at, self._studio
        objects, obj_id, last = studio.objects(), self._known(chosen), max(studio.num_frames - 1, 0)
        frame = min(int(frame), last)
        choices = [(of.name, of.obj_id) for of in objects]
        is_open, is_busy = studio.num_frames > 0, studio.is_tracking
        of = None if obj_id is None else self._of(obj_id)
        updates = {
            at.video: markup.video_html(studio.video, studio.num_frames, studio.size),
            at.earlier: gr.update(choices=[(Path(s.video).name, s.video) for s in studio.sessions()], value=None),
            at.stage: self._stage_html(frame, masks_on) if is_open else markup.WELCOME,
            at.frame: gr.update(value=frame, maximum=max(last, 1), interactive=last > 0),
            at.objects: gr.update(choices=choices, value=obj_id),
            at.swatches: markup.objects_style(objects),
            at.name: gr.update(value=of.name if of else "", interactive=of is not None),
            at.color: gr.update(value=hex_of(of.color) if of else "#888888", interactive=of is not None),
            at.progress: markup.progress_html(studio.progress(), can_go_on=studio.can_go_on),
            at.timeline: self._timeline_html(obj_id) if objects else "",
            at.legend: look.LEGEND if objects else "",
            at.review: self._review_html(obj_id, frame) if objects else "",
            at.undo: gr.update(interactive=studio.can_undo and not is_busy),
            at.go_on: gr.update(visible=studio.can_go_on),
            at.stop: gr.update(interactive=is_busy),
            at.seen: self._stamp(),
        }
        for button in at.of_objects:
            updates[button] = gr.update(interactive=bool(objects) and not is_busy)
        return updates

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
