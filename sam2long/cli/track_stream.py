"""`sam2long track` on frames that arrive one by one: pipes, cameras, network streams. Nothing is stored on the way."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from sam2long.cli.errors import UserError, late_step
from sam2long.cli.frame_choice import among_chosen
from sam2long.cli.interrupt import until_interrupted
from sam2long.cli.live_exports import LiveExports
from sam2long.cli.model import build_model
from sam2long.cli.prompts import Prompt, add_to_predictor, check_prompts
from sam2long.cli.run_record import RunRecord
from sam2long.cli.saying import say
from sam2long.cli.track_job import TrackJob, failed, id_map, say_what_is_shown

if TYPE_CHECKING:
    from sam2long.cli.overlay_video import GrowingOverlay
    from sam2long.frames.source import Frame
    from sam2long.search.scores import FrameScores

Result = tuple[int, Sequence[int], Any]


def is_stream(video: str) -> bool:
    """Whether a video comes once, frame by frame: standard input, a pipe, a camera, a live URL."""
    from sam2long.frames.streaming import is_live

    if video == "-" or video.startswith("pipe:") or is_live(video):
        return True
    return os.path.exists(video) and stat.S_ISFIFO(os.stat(video).st_mode)


def track_stream(job: TrackJob) -> None:
    """Track forward from the earliest prompt to the stream's end or Ctrl-C; every mask is written when it is decided.

    Raises:
        UserError: status 2 before any work is done, status 1 for a frame or a file that fails on the way.
        KeyboardInterrupt: after what was tracked is on disk.
    """
    from sam2long.frames import FrameError, stream_frames

    exports = LiveExports(job)
    try:
        frames: Iterator[Frame] = stream_frames(job.video)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(str(error)) from error
    chosen = job.frames.of(None)
    prompts = among_chosen(job.prompts, chosen)
    start = min(prompt.frame_idx for prompt in prompts)
    try:
        numbered = enumerate(islice(frames, chosen.start, None if job.frames.end is None else chosen.stop, chosen.step))
        first = next((frame for t, frame in numbered if t == start), None)
        if first is None:
            raise UserError(f"{job.video} ended before frame {chosen[start]}, where the first prompt is")
        height, width = first.shape[:2]
        check_prompts(job.prompts, num_frames=sys.maxsize, height=height, width=width)
        say_what_is_shown(job)
        predictor = build_model(job.settings)
        record = RunRecord.of(job, None, height, width)
        record.begin_run(job)
        job.results.begin(record.content)
        with exports:
            _StreamRun(replace(job, prompts=prompts), predictor, first, start, record, exports).write(numbered)
    except (FrameError, OSError, RuntimeError, MemoryError) as error:
        raise failed(job, error) from error


class _StreamRun:
    """One run over a stream; its frame 0 is frame `start` of those chosen of the video.

    The prompts of `job` count the chosen frames.
    """

    def __init__(
        self, job: TrackJob, predictor: Any, first: Frame, start: int, record: RunRecord, exports: LiveExports
    ) -> None:
        self._job = job
        self._predictor = predictor
        self._first = first
        self._start = start
        self._record = record
        self._exports = exports
        self._chosen = job.frames.of(None)
        self._pictures: dict[int, Frame] = {}  # of frames that wait for their masks, for the overlay
        self._scores: dict[int, dict[int, FrameScores]] = {}

    def write(self, numbered: Iterator[tuple[int, Frame]]) -> None:
        """Write masks and overlay as they come, scores at the end."""
        import torch

        from sam2long.precision import computing_in

        job, num_tracked, outcome = self._job, 0, "failed"
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(computing_in(self._predictor.device, job.precision))
            overlay = self._open_overlay()
            watch = stack.enter_context(job.watch(lambda t: self._chosen[self._start + t]))
            listener, pending = watch.listener(self._predictor, lambda: self._state), job.max_pending
            self._state = self._predictor.init_stream(self._first, max_pending_frames=pending, on_frame=listener)
            job.tell("start", videos=1, frames=None, skipped=0)
            try:
                for t, obj_ids, mask_logits in until_interrupted(self._results(numbered)):
                    ids = id_map(mask_logits, obj_ids)
                    job.results.write_mask(self._name(t), ids)
                    self._exports.write(self._chosen[t], obj_ids, mask_logits)
                    self._note_scores(t)
                    if overlay:
                        overlay.write(self._painted(t, ids))
                    num_tracked += 1
                    job.tell("frames", count=1)
                outcome = "finished"
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            finally:
                self._conclude(outcome, num_tracked)
                if overlay:
                    overlay.close()
                    say(f"overlay  {job.results.overlay}" if overlay.error is None else "overlay  none")
        watch.write_figures(None, job.results.path)
        self._exports.finish()
        if overlay and overlay.error is not None:
            with late_step("the overlay", f"masks and scores are in {job.results.path}"):
                raise overlay.error

    def _name(self, t: int) -> str:
        return f"{self._chosen[t]:05d}"

    def _conclude(self, outcome: str, num_tracked: int) -> None:
        scores = {k: {self._chosen[t]: of for t, of in frames.items()} for k, frames in self._scores.items()}
        names = {self._chosen[t]: self._name(t) for of in self._scores.values() for t in of}
        self._job.results.write_scores(scores, names)
        self._record.end_run(outcome, num_tracked)
        say(f"masks    {self._job.results.masks} ({num_tracked} frames)")
        say(f"scores   {self._job.results.scores}")
        self._job.tell("end", outcome=outcome, frames=num_tracked, seconds=self._record.seconds)

    def _results(self, numbered: Iterator[tuple[int, Frame]]) -> Generator[Result, None, None]:
        """(frame of the video, object ids, mask logits), in order; a prompted frame has the masks its prompts gave."""
        predictor, state, shown = self._predictor, self._state, {}
        self._pictures[self._start] = self._first
        yield self._start, *self._show(self._start)
        try:
            for t, frame in numbered:
                if self._job.overlay:
                    self._pictures[t] = frame
                decided = predictor.track_frame(state, frame)
                if any(prompt.frame_idx == t for prompt in self._job.prompts):
                    shown[t] = self._show(t)
                yield from self._in_video(decided, shown)
        except Exception:  # what was tracked before is an answer too
            yield from self._in_video(predictor.finish_stream(state), shown)
            raise
        yield from self._in_video(predictor.finish_stream(state), shown)

    def _in_video(self, decided: list[Result], shown: dict[int, tuple[Sequence[int], Any]]) -> Iterator[Result]:
        for frame_idx, obj_ids, mask_logits in decided:
            t = self._start + frame_idx
            yield t, *shown.pop(t, (list(obj_ids), mask_logits))

    def _show(self, t: int) -> tuple[Sequence[int], Any]:
        """Give the prompts on a frame; returns (object ids, mask logits) there."""
        prompts = [prompt for prompt in self._job.prompts if prompt.frame_idx == t]
        for prompt in prompts:
            answer = add_to_predictor(self._predictor, self._state, prompt, frame_idx=t - self._start)
        return list(answer[1]), answer[2]

    def _note_scores(self, t: int) -> None:
        for obj_id in self._state["obj_ids"]:
            of_object = self._predictor.get_scores(self._state, obj_id)
            if t - self._start in of_object:
                self._scores.setdefault(obj_id, {})[t] = of_object[t - self._start]

    def _open_overlay(self) -> GrowingOverlay | None:
        if not self._job.overlay:
            return None
        from sam2long.cli.overlay_video import DEFAULT_FPS, GrowingOverlay

        size = self._first.shape[0], self._first.shape[1]
        return GrowingOverlay(self._job.results.overlay, self._job.fps or DEFAULT_FPS, size)

    def _painted(self, t: int, ids: Any) -> Any:
        from sam2long.cli.overlay_video import painted

        prompts: list[Prompt] = [prompt for prompt in self._job.prompts if prompt.frame_idx == t]
        return painted(self._pictures.pop(t), np.asarray(ids), prompts)
