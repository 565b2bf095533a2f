"""`sam2long track` on a video whose frames can be read in any order."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError, late_step
from sam2long.cli.interrupt import until_interrupted
from sam2long.cli.model import build_model
from sam2long.cli.prompts import add_to_predictor, check_prompts
from sam2long.cli.saying import say
from sam2long.cli.track_job import TrackJob, description, failed, id_map, precision, say_what_is_shown

if TYPE_CHECKING:
    from sam2long.frames import FrameSource


def track_video(job: TrackJob) -> None:
    """Check the job against its video, build the model, track, and write the results.

    Raises:
        UserError: status 2 before any work is done, status 1 for a frame or a file that fails on the way.
        KeyboardInterrupt: after what was tracked is on disk.
    """
    from sam2long.frames import FrameError

    with open_video(job.video) as source:
        check_prompts(job.prompts, num_frames=len(source), height=source.height, width=source.width)
        if job.direction == "backward" and all(prompt.frame_idx == 0 for prompt in job.prompts):
            raise UserError("--direction backward: there is nothing before frame 0; show the object on a later frame")
        say_what_is_shown(job)
        predictor = build_model(job.model)
        job.results.begin(description(job, len(source), source.height, source.width))
        try:
            _track_and_write(job, source, predictor)
        except (FrameError, OSError, RuntimeError, MemoryError) as error:  # a damaged frame, a full disk, a full GPU
            raise failed(job, error) from error
        if job.overlay:
            with late_step("the overlay", f"masks and scores are in {job.results.path}"):
                _write_overlay(job, source)


def open_video(video: str) -> FrameSource:
    """The source of its frames.

    Raises:
        UserError: if it cannot be read.
    """
    from sam2long.frames import open_frames

    try:
        return open_frames(video)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(str(error)) from error


def _track_and_write(job: TrackJob, source: FrameSource, predictor: Any) -> None:
    import torch

    with torch.inference_mode(), precision(predictor.device, job.fp32):
        # Masks of past frames wait in host memory, so that a GPU's does not fill up over a long video.
        state = predictor.init_state(source, offload_state_to_cpu=True, max_pending_frames=job.max_pending)
        for prompt in job.prompts:
            add_to_predictor(predictor, state, prompt)
        tracked: set[int] = set()
        try:
            for start, reverse in _passes(job):
                frames = predictor.propagate_in_video(state, start_frame_idx=start, reverse=reverse)
                for t, obj_ids, mask_logits in until_interrupted(frames):
                    job.results.write_mask(source.name(t), id_map(mask_logits, obj_ids))
                    tracked.add(t)
        finally:
            scores = {k: predictor.get_scores(state, k) for k in sorted(state["obj_ids"])}
            job.results.write_scores(scores, {t: source.name(t) for of in scores.values() for t in of})
            say(f"masks    {job.results.masks} ({len(tracked)} of {len(source)} frames)")
            say(f"scores   {job.results.scores}")


def _write_overlay(job: TrackJob, source: FrameSource) -> None:
    from tqdm import tqdm

    from sam2long.cli.overlay_video import write_overlay

    progress = partial(tqdm, desc="write overlay", file=sys.stderr)
    write_overlay(source, job.results, job.prompts, job.fps, progress)
    say(f"overlay  {job.results.overlay}")


def _passes(job: TrackJob) -> list[tuple[int, bool]]:
    """(start frame, backward?) of each propagation."""
    prompted = [prompt.frame_idx for prompt in job.prompts]
    first, last = min(prompted), max(prompted)
    passes = {"forward": [(first, False)], "backward": [(last, True)], "both": [(first, False), (first, True)]}
    return passes[job.direction]
