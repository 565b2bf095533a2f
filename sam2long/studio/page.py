"""The page: Gradio's components around a `Studio`. It keeps nothing but which frame and object a browser looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam2long.studio import look, markup
from sam2long.studio.gradio_library import gradio
from sam2long.studio.layout import Layout
from sam2long.studio.objects import checked_color
from sam2long.studio.shown import Shown, Updates
from sam2long.studio.steps import Box, Click, Step
from sam2long.studio.studio import Way
from sam2long.studio.telling import FOR_PEOPLE, say, say_why, told

# In their order, or the clock would put back what a click has just changed.
_ONE_BY_ONE: dict[str, Any] = {"show_progress": "hidden", "concurrency_id": "studio", "concurrency_limit": 1}


class Page(Shown):
    """What happens when something is pressed. Every method gives updates for components of the `Layout`."""

    def build(self) -> Any:
        """The page, a `gradio.Blocks`."""
        gr = gradio()
        with gr.Blocks(title="sam2long studio", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
            self._layout = at = Layout(gr)
            self._connect(blocks, at)
        return blocks

    def _connect(self, blocks: Any, at: Layout) -> None:
        """Which of the methods below answers what."""
        here = [at.frame, at.chosen, at.masks_on]
        for listen, method, inputs in (
            (blocks.load, self._load, here),
            (at.open.click, self._open, [at.path]),
            (at.path.submit, self._open, [at.path]),
            (at.upload.upload, self._upload, [at.upload]),
            (at.earlier.input, self._open, [at.earlier]),
            (at.stage.click, self._stage, here),
            (at.back.click, self._step_back, here),
            (at.next.click, self._step_on, here),
            (at.masks_on.input, self._look, here),
            (at.objects.input, self._look, [at.frame, at.objects, at.masks_on]),
            (at.add.click, self._add, here),
            (at.remove.click, self._remove, here),
            (at.name.submit, self._rename, [*here, at.name]),
            (at.color.input, self._recolor, [*here, at.color]),
            (at.undo.click, self._undo, here),
            (at.clear.click, self._clear, here),
            (at.mask_file.upload, self._mask_file, [*here, at.mask_file]),
            (at.backward.click, self._track_backward, here),
            (at.both.click, self._track_both, here),
            (at.forward.click, self._track_forward, here),
            (at.go_on.click, self._go_on, here),
            (at.stop.click, self._stop, here),
            (at.timeline.click, self._timeline, here),
            (at.review.click, self._review, here),
        ):
            listen(told(method), inputs, at.outputs, **_ONE_BY_ONE)
        at.over.click(told(self._start_over), [at.sure], at.outputs, js=look.SURE_SCRIPT, **_ONE_BY_ONE)
        at.frame.input(told(self._scrub), here, at.outputs, trigger_mode="always_last", **_ONE_BY_ONE)
        at.clock.tick(told(self._tick), [*here, at.follow, at.seen], at.outputs, **_ONE_BY_ONE)
        at.export.click(told(self._export), [at.formats], [at.download])

    # -- 1 open --------------------------------------------------------------------------------------------------

    def _open(self, path: str) -> Updates:
        if self._studio.open(path or ""):
            say("Your earlier work on this video is open again.")
        return self._opened()

    def _upload(self, files: Sequence[str]) -> Updates:
        try:
            self._studio.open_upload([Path(file) for file in files])
            return {**self._opened(), self._at.upload: None}
        except FOR_PEOPLE as error:
            say_why(error)
            return {self._at.upload: None}  # or the next files would be added to these
        finally:
            for file in files:
                Path(file).unlink(missing_ok=True)  # a copy is kept beside the session

    def _start_over(self, sure: bool) -> Updates:
        if not sure:
            return {}
        self._studio.start_over()
        return self._opened()

    def _load(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._opened(frame, chosen, masks_on)

    # -- 2 show --------------------------------------------------------------------------------------------------

    def _stage(self, frame: int, chosen: int | None, masks_on: bool, event: Any) -> Updates:
        """A click, a box that was dragged or a stroke of the brush, in pixels of the video."""
        step: Step
        if stroke := event.stroke:
            points = [(float(x), float(y)) for x, y in stroke]
            obj_id, radius = self._known(chosen), float(event.radius)
            shown = self._studio.show_stroke(obj_id, frame, points, radius, erase=bool(event.negative))
            return self._all(frame, shown, masks_on)
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
        if (obj_id := self._known(chosen)) is None:
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
        say(f"Undone: {self._studio.undo()}.", 3)
        return self._all(frame, chosen, masks_on)

    def _clear(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        self._studio.clear_frame(self._needed(chosen), frame)
        return self._all(frame, chosen, masks_on)

    def _mask_file(self, frame: int, chosen: int | None, masks_on: bool, file: str) -> Updates:
        say("Reading the mask file; with many objects that takes a while.", 4)
        shown = self._studio.show_file(self._known(chosen), frame, Path(file))
        return self._all(frame, shown[-1], masks_on)

    # -- 3 track -------------------------------------------------------------------------------------------------

    def _track_forward(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._track("forward", frame, chosen, masks_on)

    def _track_backward(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._track("backward", frame, chosen, masks_on)

    def _track_both(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return self._track("both", frame, chosen, masks_on)

    def _track(self, way: Way, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return {**self._all(self._studio.track(way, frame), chosen, masks_on), self._at.follow: True}

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
            ended = progress is not None and progress.outcome != "running" and seen.endswith("running")
            last = progress.newest if progress is not None and ended and follow else None
            return self._all(frame if last is None else last, chosen, masks_on)
        if progress is None or progress.outcome != "running":
            return {}
        updates: Updates = {at.progress: markup.progress_html(progress)}
        if follow and progress.newest is not None and progress.newest != frame:
            updates |= {at.frame: progress.newest, at.stage: self._stage_html(progress.newest, masks_on)}
        obj_id = self._known(chosen)
        return updates | {at.timeline: self._timeline_html(obj_id), at.review: self._review_html(obj_id, frame)}

    # -- 4 review ------------------------------------------------------------------------------------------------

    def _scrub(self, frame: int, chosen: int | None, masks_on: bool) -> Updates:
        return {
            self._at.stage: self._stage_html(frame, masks_on),
            self._at.review: self._review_html(self._known(chosen), frame),
            self._at.follow: gradio().skip() if not self._studio.is_tracking else False,  # who looks around stays there
        }

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
        updates = self._all(frame if to is None else int(to), chosen if obj_id is None else int(obj_id), masks_on)
        return updates | ({self._at.follow: False} if self._studio.is_tracking else {})

    def _review(self, frame: int, chosen: int | None, masks_on: bool, event: Any) -> Updates:
        if (choice := event.choice) is not None:
            self._studio.take(self._needed(chosen), frame, int(choice))
            say("Taken. Now track again from here: forward, backward or both.", 6)
            return self._all(frame, chosen, masks_on)
        return self._to(int(event.frame), chosen, masks_on) if event.frame is not None else {}

    # -- 5 export ------------------------------------------------------------------------------------------------

    def _export(self, formats: Sequence[str], progress: Any) -> Any:
        written = self._studio.export(formats, lambda share: progress(share, desc="Writing"))
        return gradio().update(value=str(written), label=f"Download {written.name}", visible=True)
