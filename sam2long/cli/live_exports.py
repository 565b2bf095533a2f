"""`sam2long track --export`: results in the formats of other tools, written while tracking."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError, late_step
from sam2long.cli.export_files import begin_exports, check_target, publish
from sam2long.cli.saying import say
from sam2long.cli.track_job import TrackJob

if TYPE_CHECKING:
    from sam2long.exports import Export, TrackedResults, VideoInfo
    from sam2long.frames import FrameSource
    from sam2long.search.scores import FrameScores

_PART = ".track-export-"


class LiveExports:
    """The exports of one run, in `exports/` of its folder; a context that leaves nothing half written.

    They appear when the run is finished, whole: what an earlier run that is gone on with had tracked is read back from
    the folder, as `sam2long export` reads it. A failure of theirs ends them, is told at the end, and ends nothing else.

    Args:
        job: of the run.
        source: the video; None where it is a stream.

    Raises:
        UserError: before anything is written, if they cannot be made.
    """

    def __init__(self, job: TrackJob, source: FrameSource | None = None) -> None:
        self._job, self._source = job, source
        self._names = list(dict.fromkeys(job.exports))
        self._out = job.results.path / "exports"
        self._part: Path | None = None
        self._open: dict[str, Export] = {}
        self._written: set[int] = set()
        self._before: TrackedResults | None = None
        self._error: Exception | None = None
        if self._names:
            self._check()

    def _check(self) -> None:
        from sam2long.exports import FORMATS

        for name in self._names:
            if FORMATS[name].shows_frames and self._source is None:
                raise UserError(f"--export {name} shows the video, and the frames of a stream are gone: save it first")
            check_target(self._out / FORMATS[name].file, overwrite=True)
        with tempfile.TemporaryDirectory() as nowhere:
            begin_exports(self._names, Path(nowhere), self._info(), self._job.fps)

    def write(self, frame_idx: int, obj_ids: Sequence[Any], mask_logits: Any) -> None:
        """Take a frame of the video, as `propagate_in_video` yields it."""
        if not self._names or self._error is not None:
            return
        from sam2long.exports import FrameMasks

        try:
            self._begin()
            masks = FrameMasks.of(frame_idx, obj_ids, mask_logits)
            for each in self._open.values():
                each.write(masks)
            self._written.add(frame_idx)
        except (OSError, ValueError) as error:
            self._error = error

    def finish(self) -> None:
        """The run is finished, its masks and scores are in its folder: write what was tracked before, and publish.

        Raises:
            UserError: if that fails, or a frame did.
        """
        if not self._names:
            return
        with late_step("the exports", f"masks and scores are in {self._job.results.path}"):
            if self._error is not None:
                raise self._error
            self._begin()
            self._add_earlier_frames()
            for each in self._open.values():
                each.finish()
            assert self._part is not None
            publish(self._part, self._out)
        for name, each in self._open.items():
            say(f"{name:<8} {self._out / each.path.name}")

    def _add_earlier_frames(self) -> None:
        from sam2long.exports import FrameMasks

        for frame in self._results().frames(but=self._written):
            masks = FrameMasks.of(*frame)
            for each in self._open.values():
                each.write(masks)

    def _begin(self) -> None:
        if self._part is None:
            self._out.mkdir(exist_ok=True)
            for left in self._out.glob(f"{_PART}*"):  # by a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            self._part = Path(tempfile.mkdtemp(dir=self._out, prefix=_PART))
            self._open = begin_exports(self._names, self._part, self._info(), self._job.fps)

    def _results(self) -> TrackedResults:
        from sam2long.exports import TrackedResults

        if self._before is None:
            self._before = TrackedResults(self._job.results.path, source=self._source)
        return self._before

    def _scores(self, obj_id: Any) -> Mapping[int, FrameScores]:
        return self._results().scores(obj_id)

    def _info(self) -> VideoInfo:
        from sam2long.exports import VideoInfo
        from sam2long.exports.results import image_suffix

        video = self._job.video
        return VideoInfo(
            name=Path(video).stem or "video",
            source=self._source,
            suffix=image_suffix(video),
            scores=self._scores,
        )

    def __enter__(self) -> LiveExports:
        return self

    def __exit__(self, *_: object) -> None:
        if self._part is not None:
            shutil.rmtree(self._part, ignore_errors=True)
            if not any(self._out.iterdir()):
                self._out.rmdir()
