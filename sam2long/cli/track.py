"""Track objects through a video: masks as indexed PNGs, scores as JSON, and an overlay video."""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from sam2long.cli.errors import UserError
from sam2long.cli.export_files import FORMAT_NAMES
from sam2long.cli.frame_choice import FrameChoice, add_upright_argument, every_option, frames_option
from sam2long.cli.job_progress import JsonLines
from sam2long.cli.model import add_model_arguments, choose_model
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompt_file import read_prompt_file
from sam2long.cli.prompts import MAX_OBJ_ID, Prompt, box_option, point_option, prompts_from_options
from sam2long.cli.run_record import saved_prompts
from sam2long.cli.saying import add_saying_arguments, advise
from sam2long.cli.speed import add_speed_arguments, check_speed
from sam2long.cli.state_saver import can_save
from sam2long.cli.track_job import DIRECTIONS, Going, TrackJob
from sam2long.cli.tree_outputs import TreeFiles

_ADVICE = (
    "the embedded model tracks, which knows synthetic sprites and nothing else: for real video fetch SAM 2's weights, "
    "sam2long download sam2.1_hiera_large, and give them with --checkpoint"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "video",
        metavar="VIDEO",
        help="a folder of images, a video file, - for standard input, a URL or a camera (/dev/video0)",
    )
    parser.add_argument("-o", "--out", metavar="OUT", type=Path, required=True, help="folder for the results")
    going = parser.add_mutually_exclusive_group()
    going.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in OUT")
    going.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was interrupted or killed; prompts may be left out",
    )
    going.add_argument(
        "--correct", action="store_true", help="add prompts to the run in OUT, and track again from there on"
    )
    prompts = parser.add_argument_group("prompts", "coordinates are pixels of the video, from the top left")
    prompts.add_argument(
        "--point", metavar="X,Y[,LABEL]", type=point_option, action="append", default=[], dest="points",
        help="a click; label 1 (default) is on the object, 0 is not; may be repeated",
    )  # fmt: skip
    prompts.add_argument("--box", metavar="X0,Y0,X1,Y1", type=box_option, help="a box around the object")
    prompts.add_argument(
        "--mask", metavar="FILE", type=Path,
        help="an image: a map of ids (all objects, or only --obj-id), or one object, white on black (docs/masks.md)",
    )  # fmt: skip
    prompts.add_argument("--frame", metavar="N", type=int, help="the frame shown, from 0 (default 0)")
    prompts.add_argument("--obj-id", metavar="K", type=int, help="the object shown, 1 to 65535 (default 1)")
    prompts.add_argument(
        "--prompts", metavar="FILE.json", type=Path, help="many objects and frames (format: INFERENCE.md)"
    )
    add_model_arguments(parser)
    _add_tracking(parser.add_argument_group("tracking"))
    add_saying_arguments(parser, json_progress=True)


def _add_tracking(how: Any) -> None:
    how.add_argument("--direction", choices=DIRECTIONS, default="forward", help="in time (default: forward)")
    how.add_argument(
        "--frames", metavar="A:B", type=frames_option, default=(0, None), help="only frames A to B - 1 of the video"
    )
    how.add_argument("--every", metavar="N", type=every_option, default=1, help="only every N-th of them")
    add_upright_argument(how)
    how.add_argument("--no-postprocessing", action="store_true", help="no holes filled: as SAM 2's own evaluation")
    add_speed_arguments(how)
    how.add_argument("--fp32", action="store_const", dest="precision", const="fp32", help="--precision fp32")
    how.add_argument(
        "--save-every", metavar="SECONDS", type=float, default=60,
        help="save what --resume and --correct go on from (default 60; 0: never)",
    )  # fmt: skip
    how.add_argument(
        "--export", metavar="FORMAT", action="append", default=[], choices=FORMAT_NAMES, dest="exports",
        help=f"write OUT/exports too, as `sam2long export` does; may be repeated: {', '.join(FORMAT_NAMES)}",
    )  # fmt: skip
    how.add_argument(
        "--events", metavar="FILE.jsonl", type=Path,
        help="what the memory trees do, a line of JSON for each frame and object (docs/events.md)",
    )  # fmt: skip
    how.add_argument(
        "--tree-figure", metavar="FILE", type=Path, help="draw the memory tree: a PNG, PDF or SVG (extra viz)"
    )
    how.add_argument("--fps", type=float, help="frames per second of the overlay (default: the video's, or 24)")
    how.add_argument("--preview", action="store_true", help="write preview.png, the prompted masks, and stop")
    how.add_argument("--no-overlay", dest="overlay", action="store_false", help="write no overlay video")


def run(args: argparse.Namespace) -> int:
    check_speed(args)
    if args.fps is not None and not 0 < args.fps <= 240:
        raise UserError(f"--fps {args.fps:g} must be above 0 and at most 240")
    if not 0 <= args.save_every < 1e9:
        raise UserError(f"--save-every {args.save_every:g} must be 0 or more seconds")
    job = _job(args)
    job.tree_files.check(
        args.out,
        [args.video, *filter(None, [args.prompts, *(prompt.mask_file for prompt in job.prompts)])],
        num_pathways=job.model.memory_tree.num_pathways,
        goes_on=job.going != "anew" or args.preview,
        overwrite=args.overwrite,
    )
    if args.preview:
        from sam2long.cli.preview import write_preview

        write_preview(job)
    else:
        track(job)
    return 0


def _job(args: argparse.Namespace) -> TrackJob:
    going: Going = "resume" if args.resume else "correct" if args.correct else "anew"
    # A preview replaces nothing, and a folder with a run in it is what is gone on with.
    holds_run = going != "anew" and (args.out / "run.json").is_file()
    results = ResultFolder(args.out, overwrite=args.overwrite or args.preview or holds_run)
    return TrackJob(
        video=args.video,
        prompts=_prompts(args, results),
        results=results,
        model=choose_model(args),
        direction=args.direction,
        max_pending=args.max_pending,
        overlay=args.overlay,
        fps=None if args.fps is None else Fraction(args.fps).limit_denominator(1001),
        advice=_ADVICE if args.checkpoint is None else "",
        image_size=args.image_size,
        postprocessing=not args.no_postprocessing,
        precision=args.precision,
        frames=FrameChoice(args.frames[0], args.frames[1], args.every),
        upright=args.upright,
        going=going,
        save_every=args.save_every,
        observe=JsonLines() if args.json_progress else None,
        tree_files=TreeFiles(args.events, args.tree_figure),
        exports=args.exports,
    )


def _prompts(args: argparse.Namespace, results: ResultFolder) -> list[Prompt]:
    if args.frame is not None and args.frame < 0:
        raise UserError(f"--frame {args.frame} must be 0 or more")
    if args.obj_id is not None and not 1 <= args.obj_id <= MAX_OBJ_ID:
        raise UserError(f"--obj-id {args.obj_id} is out of range: ids go from 1 to {MAX_OBJ_ID}")
    shown = prompts_from_options(args.points, args.box, args.mask, args.frame or 0, args.obj_id)
    if args.prompts is None:
        if not shown and args.resume:
            shown = saved_prompts(results.run)
        if not shown:
            raise UserError("nothing to track: show an object with --point, --box, --mask or --prompts")
        return shown
    if shown or args.frame is not None or args.obj_id is not None:
        raise UserError("--prompts says what and when: give it without --point, --box, --mask, --frame and --obj-id")
    return read_prompt_file(args.prompts)


def track(job: TrackJob) -> None:
    """Run the job.

    Raises:
        UserError: status 2 before any work is done, status 1 for a frame or a file that fails on the way.
        KeyboardInterrupt: after what was tracked is on disk.
    """
    from sam2long.cli.track_stream import is_stream, track_stream
    from sam2long.cli.track_video import track_video

    if job.overlay:
        from sam2long.cli.overlay_video import require_av

        require_av()
    if job.save_every and not can_save():
        advise("no --resume and --correct without safetensors: pip install safetensors (extra sam2long[state])")
        job = replace(job, save_every=0)
    if job.going != "anew" and is_stream(job.video):
        raise UserError(f"--{job.going}: the frames of a stream are gone; save {job.video} as a file and track that")
    # SAM 2 itself and passes backward need the whole video: a pipe is then read to its end first.
    if is_stream(job.video) and job.direction == "forward" and job.model.memory_tree.num_pathways > 1:
        track_stream(job)
    else:
        track_video(job)
