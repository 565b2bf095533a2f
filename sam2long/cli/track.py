"""Track objects through a video: masks as indexed PNGs, scores as JSON, and an overlay video."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sam2long.cli.errors import UserError
from sam2long.cli.interrupt import until_interrupted
from sam2long.cli.model import ModelChoice, add_model_arguments, choose_model
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompt_file import read_prompt_file
from sam2long.cli.prompts import (
    Prompt,
    add_to_predictor,
    box_option,
    check_prompts,
    point_option,
    prompts_from_options,
)

if TYPE_CHECKING:
    from torch import Tensor

    from sam2long.frames import FrameSource
    from sam2long.visualize import UInt8Array

DIRECTIONS = ("forward", "backward", "both")


@dataclass(frozen=True)
class TrackJob:
    """One run of `sam2long track`, its prompts parsed and its model chosen.

    Attributes:
        video: whatever `sam2long.frames.open_frames` takes as text: a folder, a file, a URL.
        direction: forward from the earliest prompt, backward from the latest, or both from the earliest.
        max_pending: frames a decision may wait for (None: as long as it takes).
        fps: of the overlay; None takes the video's.
    """

    video: str
    prompts: Sequence[Prompt]
    model: ModelChoice
    results: ResultFolder
    direction: str = "forward"
    max_pending: int | None = None
    overlay: bool = True
    fps: Fraction | None = None
    fp32: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "video",
        metavar="VIDEO",
        help="a folder of images, a video file, - for standard input, a URL or a camera (/dev/video0)",
    )
    parser.add_argument("-o", "--out", metavar="OUT", type=Path, required=True, help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in OUT")
    prompts = parser.add_argument_group("prompts", "coordinates are pixels of the video, from the top left")
    prompts.add_argument(
        "--point", metavar="X,Y[,LABEL]", type=point_option, action="append", default=[], dest="points",
        help="a click; label 1 (default) is on the object, 0 is not; may be repeated",
    )  # fmt: skip
    prompts.add_argument("--box", metavar="X0,Y0,X1,Y1", type=box_option, help="a box around the object")
    prompts.add_argument(
        "--mask", metavar="FILE", type=Path,
        help="an image: of a palette PNG all objects (or only --obj-id), else every pixel that is not black",
    )  # fmt: skip
    prompts.add_argument("--frame", metavar="N", type=int, help="the frame shown, from 0 (default 0)")
    prompts.add_argument("--obj-id", metavar="K", type=int, help="the object shown, 1 to 255 (default 1)")
    prompts.add_argument(
        "--prompts", metavar="FILE.json", type=Path, help="many objects and frames (format: INFERENCE.md)"
    )
    add_model_arguments(parser)
    how = parser.add_argument_group("tracking")
    how.add_argument("--direction", choices=DIRECTIONS, default="forward", help="in time (default: forward)")
    how.add_argument(
        "--max-pending", metavar="N", type=int,
        help="let a frame's decision wait for N later ones at most (default: as long as hypotheses compete)",
    )  # fmt: skip
    how.add_argument("--fp32", action="store_true", help="no bfloat16 on CUDA devices")
    how.add_argument("--fps", type=float, help="frames per second of the overlay (default: the video's, or 24)")
    how.add_argument("--no-overlay", dest="overlay", action="store_false", help="write no overlay video")


def run(args: argparse.Namespace) -> int:
    if args.max_pending is not None and args.max_pending < 0:
        raise UserError(f"--max-pending {args.max_pending} must be 0 or more")
    if args.fps is not None and not 0 < args.fps <= 240:
        raise UserError(f"--fps {args.fps:g} must be above 0 and at most 240")
    track(
        TrackJob(
            video=args.video,
            prompts=_prompts(args),
            results=ResultFolder(args.out, overwrite=args.overwrite),
            model=choose_model(args),
            direction=args.direction,
            max_pending=args.max_pending,
            overlay=args.overlay,
            fps=None if args.fps is None else Fraction(args.fps).limit_denominator(1001),
            fp32=args.fp32,
        )
    )
    return 0


def _prompts(args: argparse.Namespace) -> list[Prompt]:
    if args.frame is not None and args.frame < 0:
        raise UserError(f"--frame {args.frame} must be 0 or more")
    if args.obj_id is not None and not 1 <= args.obj_id <= 255:
        raise UserError(f"--obj-id {args.obj_id} is out of range: ids go from 1 to 255")
    shown = prompts_from_options(args.points, args.box, args.mask, args.frame or 0, args.obj_id)
    if args.prompts is None:
        if not shown:
            raise UserError("nothing to track: show an object with --point, --box, --mask or --prompts")
        return shown
    if shown or args.frame is not None or args.obj_id is not None:
        raise UserError("--prompts says what and when: give it without --point, --box, --mask, --frame and --obj-id")
    return read_prompt_file(args.prompts)


def track(job: TrackJob) -> None:
    """Check the job against its video, build the model, track, and write the results.

    Raises:
        UserError: status 2 before any work is done, status 1 for a frame or a file that fails on the way.
        KeyboardInterrupt: after what was tracked is on disk.
    """
    from sam2long.cli.track_stream import is_stream, track_stream
    from sam2long.frames import FrameError

    if job.overlay:
        from sam2long.cli.overlay_video import require_av

        require_av()
    # SAM 2 itself and passes backward need the whole video: a pipe is then read to its end first.
    if is_stream(job.video) and job.direction == "forward" and job.model.memory_tree.num_pathways > 1:
        track_stream(job)
        return
    with _open(job.video) as source:
        check_prompts(job.prompts, num_frames=len(source), height=source.height, width=source.width)
        if job.direction == "backward" and all(prompt.frame_idx == 0 for prompt in job.prompts):
            raise UserError("--direction backward: there is nothing before frame 0; show the object on a later frame")
        predictor = job.model.build()
        job.results.begin(description(job, len(source), source.height, source.width))
        try:
            _track_and_write(job, source, predictor)
        except (FrameError, OSError) as error:  # a damaged frame, a full disk
            raise UserError(f"{error} (what was tracked before is in {job.results.path})", exit_status=1) from error


def _open(video: str) -> FrameSource:
    from sam2long.frames import open_frames

    try:
        return open_frames(video)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(str(error)) from error


def description(job: TrackJob, num_frames: int | None, height: int, width: int) -> dict[str, Any]:
    """What `run.json` says; the number of frames is None for a stream."""
    return {
        "video": job.video,
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "config": job.model.config,
        "checkpoint": str(job.model.checkpoint),
        "memory_tree": asdict(job.model.memory_tree),
        "direction": job.direction,
        "prompts": [
            {
                "frame": prompt.frame_idx,
                "obj_id": prompt.obj_id,
                "points": prompt.points,
                "labels": prompt.labels,
                "box": prompt.box,
                "mask": prompt.mask is not None,
            }
            for prompt in job.prompts
        ],
    }


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
            print(f"masks    {job.results.masks} ({len(tracked)} of {len(source)} frames)")
            print(f"scores   {job.results.scores}")
    if job.overlay:
        from sam2long.cli.overlay_video import frames_per_second, write_overlay

        progress = partial(tqdm, desc="write overlay", file=sys.stderr)
        write_overlay(source, job.results, job.prompts, job.fps or frames_per_second(job.video), progress)
        print(f"overlay  {job.results.overlay}")


def precision(device: Any, fp32: bool) -> AbstractContextManager[Any]:
    """bfloat16 on CUDA devices unless `fp32`."""
    import torch

    if device.type == "cuda" and not fp32:
        return torch.autocast("cuda", dtype=torch.bfloat16)  # as SAM 2's own scripts run
    return nullcontext()


def _passes(job: TrackJob) -> list[tuple[int, bool]]:
    """(start frame, backward?) of each propagation."""
    prompted = [prompt.frame_idx for prompt in job.prompts]
    first, last = min(prompted), max(prompted)
    passes = {"forward": [(first, False)], "backward": [(last, True)], "both": [(first, False), (first, True)]}
    return passes[job.direction]


def id_map(mask_logits: Tensor, obj_ids: Sequence[int]) -> UInt8Array:
    """Object ids per pixel: 0 for background, and where masks overlap the object of the larger logit.

    Args:
        mask_logits: [N, 1, H, W]; positive on the object.
        obj_ids: N ids from 1 to 255.

    Returns:
        uint8 [H, W].
    """
    highest, winner = mask_logits[:, 0].max(dim=0)
    winner[highest <= 0] = len(obj_ids)
    ids = np.array([*obj_ids, 0], dtype=np.uint8)
    return ids[winner.cpu().numpy()]
