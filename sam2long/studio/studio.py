"""All that the page can ask for, and nothing of the page: one person's session, whichever browser shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sam2long.studio.desk import Desk
from sam2long.studio.exporting import export_zip
from sam2long.studio.objects import StudioObject
from sam2long.studio.opening import OpenVideo
from sam2long.studio.pictures import Picture, alternative_pictures, frame_picture, with_stroke
from sam2long.studio.steps import Drawn, Step
from sam2long.studio.timeline import ObjectCourse, course_of
from sam2long.studio.tracking import Progress, TrackingRun
from sam2long.views.visualize import Color

if TYPE_CHECKING:
    from sam2long.state.review import DoubtfulFrame

logger = logging.getLogger(__name__)

Way = Literal["forward", "backward", "both"]


class Studio(OpenVideo):
    """A session that any number of pages show, and a thread that tracks. All methods may be called from any thread.

    What a person cannot do is a ValueError whose message is for that person; files that cannot be read or written are
    an OSError. Either changes nothing.

    Args:
        predictor: which tracks.
        root: the folder that sessions are kept in, one a video; made when it is needed.
        read_masks: the objects of a mask image, by their number in it.
        precision: see `computing_in`.
        save_every: seconds between two saves while tracking.

    Attributes:
        version: grows with every change, for pages that ask whether there was one.
    """

    # -- what a person changes -----------------------------------------------------------------------------------

    def add_object(self) -> StudioObject:
        with self._changing() as desk:
            return desk.add_object()

    def remove_object(self, obj_id: int) -> None:
        with self._changing() as desk:
            desk.remove_object(obj_id)

    def rename(self, obj_id: int, name: str) -> None:
        with self._changing(while_tracking=True) as desk:
            desk.rename(obj_id, name)

    def recolor(self, obj_id: int, color: Color) -> None:
        with self._changing(while_tracking=True) as desk:
            desk.recolor(obj_id, color)

    def show(self, obj_id: int | None, frame_idx: int, step: Step) -> int:
        """Show an object on a frame, None a new one; returns its number."""
        with self._changing() as desk:
            desk.check(step)
            obj_id = desk.add_object().obj_id if obj_id is None else obj_id
            desk.show(obj_id, self._checked(desk, frame_idx), step)
            return obj_id

    def show_file(self, obj_id: int | None, frame_idx: int, file: Path) -> list[int]:
        """Show what a mask image holds: one object, or all of a map of numbers; returns their numbers here."""
        if self._read_masks is None:
            raise ValueError("Mask files cannot be read here.")
        masks = list(self._read_masks(file).values())
        with self._changing() as desk:
            frame_idx = self._checked(desk, frame_idx)
            for mask in masks:
                desk.check(Drawn(mask))  # all or none
            given = [desk.known(obj_id).obj_id] if len(masks) == 1 and obj_id is not None else []
            desk.require_room(0 if given else len(masks))
            shown = given or [desk.add_object().obj_id for _ in masks]
            for k, mask in zip(shown, masks, strict=True):
                desk.show(k, frame_idx, Drawn(mask))
            return shown

    def show_stroke(
        self, obj_id: int | None, frame_idx: int, points: Sequence[tuple[float, float]], radius: float, *, erase: bool
    ) -> int:
        """Paint over an object's mask on a frame, or rub some of it out; of None a new one. Returns its number.

        Args:
            points: x, y along the stroke, in pixels of the video.
            radius: of the brush, in pixels of the video.
        """
        with self._changing() as desk:
            frame_idx = self._checked(desk, frame_idx)
            before = desk.masks(frame_idx).get(obj_id) if obj_id is not None else None
            mask = np.zeros(desk.size, dtype=np.bool_) if before is None else before
            painted = Drawn(with_stroke(mask, points, radius, erase=erase))
            obj_id = desk.add_object().obj_id if obj_id is None else obj_id
            desk.show(obj_id, frame_idx, painted)
            return obj_id

    def clear_frame(self, obj_id: int, frame_idx: int) -> None:
        with self._changing() as desk:
            desk.clear_frame(obj_id, self._checked(desk, frame_idx))

    def take(self, obj_id: int, frame_idx: int, k: int) -> None:
        """Make an alternative the answer on a doubtful frame."""
        with self._changing() as desk:
            desk.take(obj_id, self._checked(desk, frame_idx), k)

    def undo(self) -> str:
        """Take the last change back; says which it was."""
        with self._changing() as desk:
            return desk.undo()

    # -- tracking ------------------------------------------------------------------------------------------------

    def track(self, way: Way, frame_idx: int) -> int:
        """Track all objects from a frame, or where nothing is known of it from the first that was shown.

        Returns:
            The frame it begins with.
        """
        with self._changing(saves=False) as desk:
            start = _start(desk, self._checked(desk, frame_idx), way)
            total = {"forward": desk.num_frames - start, "backward": start + 1, "both": desk.num_frames}[way]
            direction = {"forward": "forward", "backward": "reverse", "both": "both"}[way]

            def frames() -> Iterator[Any]:
                options: Any = {"direction": direction, "progress": False}
                return self._predictor.propagate_in_video(desk.state, start, **options)

            self._begin(desk, frames, total)
            return start

    def go_on(self) -> None:
        """Go on with the tracking that was interrupted when the session was last saved."""
        with self._changing(saves=False) as desk:
            session = self._predictor.session(desk.state)
            if not self._unfinished or session.open_pass is None:
                raise ValueError("There is no tracking to go on with: start one.")
            total = len(session.open_pass.remaining) + len(session.open_pass.then)
            self._begin(desk, lambda: self._predictor.resume_propagation(desk.state, progress=False), total)

    def _begin(self, desk: Desk, frames: Callable[[], Iterator[Any]], total: int) -> None:
        def save() -> None:
            self._folder.save(desk, self.video, with_state=True)

        desk.will_track()
        self._run = TrackingRun(
            desk, self._turns, frames, total, precision=self._precision, save=save, save_every=self._save_every
        )
        self._run.start()

    def stop(self) -> None:
        """Stop tracking after the frame it is at; does nothing where nothing runs."""
        if self._run is not None:
            self._run.stop()

    def wait(self, timeout: float | None = None) -> Progress | None:
        """Wait for the tracking to end; for scripts and tests."""
        if self._run is not None:
            self._run.join(timeout)
        return self.progress()

    @property
    def can_go_on(self) -> bool:
        """Whether `go_on` would."""
        return self._unfinished and not self.is_tracking

    # -- what a page shows ---------------------------------------------------------------------------------------

    @property
    def num_frames(self) -> int:
        return 0 if self._desk is None else self._desk.num_frames

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the video; of none (1, 1)."""
        return (1, 1) if self._desk is None else self._desk.size

    def objects(self) -> list[StudioObject]:
        """All objects, copies."""
        desk = self._desk
        return [] if desk is None else desk.copied_objects()

    @property
    def can_undo(self) -> bool:
        return self._desk is not None and self._desk.can_undo

    def picture(self, frame_idx: int, *, masks_on: bool = True) -> Picture:
        """A frame with the masks drawn on; one that cannot be read says so."""
        with self._looking() as desk:
            return frame_picture(desk, self._checked(desk, frame_idx), masks_on=masks_on)

    def courses(self, obj_ids: Sequence[int]) -> list[ObjectCourse]:
        """What is known of objects over time."""
        with self._looking() as desk:
            return [course_of(desk, k) for k in obj_ids if k in desk.objects]

    def doubtful(self, obj_id: int | None) -> list[DoubtfulFrame]:
        """The frames on which the tracking of an object was in doubt, most doubtful first."""
        with self._looking() as desk:
            return [] if obj_id not in desk.objects or obj_id is None else desk.doubtful(obj_id)

    def alternatives(self, obj_id: int | None, frame_idx: int) -> list[Picture]:
        """What an object nearly was on a frame, as pictures, best first."""
        with self._looking() as desk:
            if obj_id is None or obj_id not in desk.objects:
                return []
            return alternative_pictures(desk, obj_id, self._checked(desk, frame_idx))

    def export(self, formats: Sequence[str], told: Callable[[float], None] = lambda share: None) -> Path:
        """Write what is tracked, in some of `sam2long.exports.FORMATS`, to a zip in the session's folder."""
        with self._looking() as desk:
            self._require_idle()
        return export_zip(desk, formats, self._folder.path / "exports", Path(self.video).stem, self._looking, told)


def _start(desk: Desk, frame_idx: int, way: Way) -> int:
    """The frame a pass begins with."""
    shown = sorted({t for of in desk.objects.values() for t in of.shown})
    if not shown:
        raise ValueError("Show an object first: click on it in the picture.")
    if desk.num_frames == 1:
        raise ValueError("There is nothing to track: this is a single picture.")
    if bare := [of.name for of in desk.objects.values() if not of.shown]:
        raise ValueError(f"{bare[0]} is not shown anywhere yet: click on it, or remove it.")
    known = any(frame_idx in desk.frames_known(k) for k in desk.objects)
    start = frame_idx if known else (shown[-1] if way == "backward" else shown[0])
    if way == "backward" and start == 0:
        raise ValueError("There is nothing before the first frame.")
    return start
