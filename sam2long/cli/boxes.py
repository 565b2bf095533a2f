"""Track a benchmark of boxes: the first frame's box shows the object, boxes around its masks are the results.

LaSOT, LaSOText, OTB, TNL2K and NfS: OUT/VIDEO.txt, a line `x,y,width,height` a frame, the first the given one, pixels
counted from 0; where the object is not seen its last box. GOT-10k: OUT/GOT-10k/TRACKER/VIDEO/VIDEO_001.txt, and times.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from sam2long.cli.errors import UserError
from sam2long.cli.job_options import (
    add_job_arguments,
    command_line,
    run_and_conclude,
    tracker_settings,
    trees_of,
)

BENCHMARKS = ("lasot", "lasotext", "got10k", "otb", "tnl2k", "nfs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", metavar="BENCHMARK", choices=BENCHMARKS, help=", ".join(BENCHMARKS))
    parser.add_argument("root", metavar="ROOT", type=Path, help="the folder it lies in")
    parser.add_argument("-o", "--out", metavar="OUT", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", help="[got10k] val (default) or test; [nfs] 30 (default) or 240 frames a second")
    parser.add_argument("--tracker", default="sam2long", help="[got10k] the name results go by (default %(default)s)")
    parser.add_argument("--baseline", action="store_true", help="also run SAM 2 itself, into the sibling OUT_sam2")
    add_job_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from sam2long.datasets.boxes import box_videos, unannotated
    from sam2long.runner import Job
    from sam2long.runner.box_task import BoxTask

    if not args.tracker or Path(args.tracker).name != args.tracker:
        raise UserError(f"--tracker {args.tracker!r}: it is the name of a folder")
    settings = tracker_settings(args)
    try:
        videos = box_videos(args.benchmark, args.root, args.split)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    trees = trees_of(args.out, settings.model.memory_tree, baseline=args.baseline)
    tracker = args.tracker if args.benchmark == "got10k" else None
    tasks = [BoxTask(video, folder, tree, tracker) for folder, tree in trees.items() for video in videos]
    about = {"benchmark": args.benchmark, "root": str(args.root.resolve()), "split": args.split, "tracker": tracker}
    of_folders = {folder: {**about, "memory_tree": asdict(tree)} for folder, tree in trees.items()}
    left_out = unannotated(args.benchmark, args.root, args.split)
    shown = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
    remark = f"left out, as they have no annotation: {len(left_out)} folders ({shown})" if left_out else ""
    return run_and_conclude(Job(tasks, settings, of_folders, command_line()), args, str(args.out), remark)
