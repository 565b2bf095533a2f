"""`sam2long track` on a video whose frames can be read in any order."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError, late_step
from sam2long.cli.frame_choice import among_chosen
from sam2long.cli.interrupt import until_interrupted
from sam2long.cli.live_exports import LiveExports
from sam2long.cli.model import build_model
from sam2long.cli.prompts import Prompt, check_prompts, without
from sam2long.cli.rounds import Round, Rounds
from sam2long.cli.run_record import RunRecord
from sam2long.cli.saying import advise, say
from sam2long.cli.state_saver import StateSaver, require_safetensors
from sam2long.cli.track_job import TrackJob, cannot_begin, failed, id_map, say_what_is_shown
from sam2long.cli.tree_outputs import TreeWatch

if TYPE_CHECKING:
    from sam2long.frames import FrameSource


def track_video(job: TrackJob) -> None:
    """Check the job against its video, build the model, track, and write the results.

    Raises:
        UserError: status 2 before any work is done, status 1 for a frame or a file that fails on the way.
        KeyboardInterrupt: after what was tracked is on disk.
    """
    if job.going != "anew":
        require_safetensors(f"--{job.going}")
    with open_video(job) as video, LiveExports(job, video) as exports:
        record = RunRecord.of(job, len(video), video.height, video.width, video.fingerprint())
        prompts = _checked_prompts(job, video, record)
        chosen = job.frames.of(len(video))
        shown = among_chosen(prompts, chosen)
        say_what_is_shown(job)
        source = _chosen(video, chosen)
        if record.is_finished and job.going == "resume":
            say(f"masks    {job.results.masks} (all were tracked before)")
        else:
            watch = job.watch(chosen.__getitem__)
            _track(job, source, chosen, record, watch, exports)
            watch.write_figures(video, job.results.path)
        exports.finish()
        if not job.exports and job.going != "resume" and (job.results.path / "exports").is_dir():
            advise(f"{job.results.path / 'exports'} shows the run of before: sam2long export writes it anew")
        if job.overlay and not record.has_overlay(job.fps):
            with late_step("the overlay", f"masks and scores are in {job.results.path}"):
                _write_overlay(job, source, shown)
                record.note_overlay(job.fps)


def open_video(job: TrackJob) -> FrameSource:
    """The source of its video's frames.

    Raises:
        UserError: if it cannot be read.
    """
    from sam2long.frames import open_frames
    from sam2long.weights_file import what_stands_there

    try:
        return open_frames(job.video, upright=job.upright)
    except (OSError, ValueError, ImportError) as error:
        trouble = what_stands_there(job.video) if os.path.isfile(job.video) else None
        raise UserError(f"{error}: {trouble}" if trouble else str(error)) from error


def _checked_prompts(job: TrackJob, video: FrameSource, record: RunRecord) -> list[Prompt]:
    """All that is shown of the video, now and before."""
    earlier = record.all_prompts() if record.is_begun else []
    prompts = [*without(earlier, job.prompts), *job.prompts] if job.going == "correct" else earlier or list(job.prompts)
    if job.going != "resume" or not earlier:  # a corrected frame has two, the run's and the correction's
        check_prompts(prompts, num_frames=len(video), height=video.height, width=video.width)
    if job.direction == "backward" and all(prompt.frame_idx == 0 for prompt in job.prompts):
        raise UserError("--direction backward: there is nothing before frame 0; show the object on a later frame")
    last = len(video) - 1
    if job.direction == "forward" and last > 0 and all(prompt.frame_idx == last for prompt in job.prompts):
        advise(f"nothing comes after frame {last}, the last: --direction backward or both tracks the frames before it")
    return prompts


def _chosen(video: FrameSource, chosen: range) -> FrameSource:
    from sam2long.frames import ChosenFrames

    return video if chosen == range(len(video)) else ChosenFrames(video, chosen)


def _track(
    job: TrackJob, source: FrameSource, chosen: range, record: RunRecord, watch: TreeWatch, exports: LiveExports
) -> None:
    import torch

    from sam2long.frames import FrameError
    from sam2long.precision import computing_in

    predictor = build_model(job.settings)
    rounds = Rounds(job, source, chosen, record, predictor, watch)
    with torch.inference_mode(), computing_in(predictor.device, job.precision), watch:
        try:
            current = rounds.begin()
        except (FrameError, OSError, RuntimeError, MemoryError) as error:
            raise cannot_begin(error) from error
        try:
            _write_round(job, source, chosen, record, predictor, current, exports)
        except (FrameError, OSError, RuntimeError, MemoryError) as error:  # a damaged frame, a full disk, a full GPU
            raise failed(job, error) from error


def _write_round(
    job: TrackJob,
    source: FrameSource,
    chosen: range,
    record: RunRecord,
    predictor: Any,
    current: Round,
    exports: LiveExports,
) -> None:
    """Masks as they come, states now and then; scores and how it ended in any case."""
    state, tracked, outcome = current.state, 0, "failed"
    saver = StateSaver(predictor, state, job.results, current.number, job.save_every)
    job.tell("start", videos=1, frames=current.num_frames, skipped=0)
    try:
        for t, obj_ids, mask_logits in until_interrupted(current.frames):
            job.results.write_mask(source.name(t), id_map(mask_logits, obj_ids))
            exports.write(chosen[t], obj_ids, mask_logits)
            tracked += 1
            saver.after_frame()
            job.tell("frames", count=1)
        saver.save()
        outcome = "finished"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        scores = {k: predictor.get_scores(state, k) for k in sorted(state["obj_ids"])}
        _write_scores(job, source, chosen, scores)
        record.end_run(outcome, tracked)
        num_masks = job.results.count_masks(map(source.name, range(len(source))))
        say(f"masks    {job.results.masks} ({num_masks} of {len(source)} frames)")
        say(f"scores   {job.results.scores}")
        job.tell("end", outcome=outcome, frames=tracked, seconds=record.seconds)


def _write_scores(job: TrackJob, source: FrameSource, chosen: range, scores: dict[int, dict[int, Any]]) -> None:
    """With the numbers that frames have in the video."""
    in_video = {k: {chosen[t]: of_frame for t, of_frame in of.items()} for k, of in scores.items()}
    job.results.write_scores(in_video, {chosen[t]: source.name(t) for of in scores.values() for t in of})


def _write_overlay(job: TrackJob, source: FrameSource, prompts: Sequence[Prompt]) -> None:
    from tqdm import tqdm

    from sam2long.cli.overlay_video import write_overlay

    progress = partial(tqdm, desc="write overlay", file=sys.stderr)
    write_overlay(source, job.results, prompts, job.fps, progress)
    say(f"overlay  {job.results.overlay}")
