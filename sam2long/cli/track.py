"""Track objects through a video: masks as indexed PNGs, scores as JSON, and an overlay video."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from sam2long.cli.errors import UserError
from sam2long.cli.model import add_model_arguments, choose_model
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompt_file import read_prompt_file
from sam2long.cli.prompts import Prompt, box_option, point_option, prompts_from_options
from sam2long.cli.saying import add_saying_arguments
from sam2long.cli.track_job import DIRECTIONS, TrackJob
from sam2long.resources import resource_dir

_ADVICE = (
    "the embedded model tracks, which knows synthetic sprites and nothing else: for real video fetch SAM 2's weights, "
    f"bash {resource_dir('checkpoints') / 'download_ckpts.sh'} sam2.1_hiera_large, and give them with --checkpoint"
)


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
        help="an image: a map of ids (all objects, or only --obj-id), or one object, white on black (docs/masks.md)",
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
    how.add_argument("--preview", action="store_true", help="write preview.png, the prompted masks, and stop")
    how.add_argument("--no-overlay", dest="overlay", action="store_false", help="write no overlay video")
    add_saying_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.max_pending is not None and args.max_pending < 0:
        raise UserError(f"--max-pending {args.max_pending} must be 0 or more")
    if args.fps is not None and not 0 < args.fps <= 240:
        raise UserError(f"--fps {args.fps:g} must be above 0 and at most 240")
    job = TrackJob(
        video=args.video,
        prompts=_prompts(args),
        results=ResultFolder(args.out, overwrite=args.overwrite or args.preview),  # which replaces nothing
        model=choose_model(args),
        direction=args.direction,
        max_pending=args.max_pending,
        overlay=args.overlay,
        fps=None if args.fps is None else Fraction(args.fps).limit_denominator(1001),
        fp32=args.fp32,
        advice=_ADVICE if args.checkpoint is None else "",
    )
    if args.preview:
        from sam2long.cli.preview import write_preview

        write_preview(job)
    else:
        track(job)
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
    # SAM 2 itself and passes backward need the whole video: a pipe is then read to its end first.
    if is_stream(job.video) and job.direction == "forward" and job.model.memory_tree.num_pathways > 1:
        track_stream(job)
    else:
        track_video(job)
