"""Track the objects of a dataset: one model, all its videos, masks as its evaluator wants them (docs/datasets.md).

The options are those of SAM 2's script for datasets; --dataset NAME ROOT fills them in. A finished video is not tracked
again, and one that fails stops no other.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli import made_dataset
from sam2long.cli.errors import UserError
from sam2long.cli.job_options import (
    add_job_arguments,
    command_line,
    run_and_conclude,
    spelled,
    tracker_settings,
    trees_of,
)

if TYPE_CHECKING:
    from sam2long.datasets import DatasetLayout
    from sam2long.runner import Job
    from sam2long.runner.worker import TrackerSettings

DATASETS = (
    "davis2016", "davis2017", "youtube-vos-2018", "youtube-vos-2019", "mose", "mosev2", "lvos", "lvosv2", "sav", "vost",
    "pumavos", "custom",
)  # fmt: skip
SYNTHETIC = "synthetic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("dataset")
    data.add_argument(
        "--dataset", nargs=2, metavar=("NAME", "ROOT"),
        help=f"{', '.join(DATASETS)}: the folder it lies in; {SYNTHETIC}: make a dataset in that folder",
    )  # fmt: skip
    data.add_argument("--split", help="of the dataset (default: the one usually reported)")
    data.add_argument(*spelled("base_video_dir"), type=Path, metavar="DIR", help="a folder of images a video")
    data.add_argument(*spelled("input_mask_dir"), type=Path, metavar="DIR", help="a folder of PNG masks a video")
    data.add_argument(*spelled("video_list_file"), type=Path, metavar="FILE", help="names of the videos, one a line")
    data.add_argument(
        *spelled("output_mask_dir"),
        "-o",
        type=Path,
        metavar="DIR",
        help="the results: DIR/VIDEO/*.png and DIR/run.json",
    )
    _add_rules(parser.add_argument_group("rules"))
    add_job_arguments(parser)
    made_dataset.add_arguments(parser.add_argument_group(f"--dataset {SYNTHETIC}"))


def _add_rules(rules: Any) -> None:
    rules.add_argument(
        *spelled("score_thresh"), type=float, default=0.0, help="what a mask's logit must exceed (default 0)"
    )
    rules.add_argument(
        *spelled("use_all_masks"), action="store_true", help="show every mask there is, not only an object's first"
    )
    rules.add_argument(
        *spelled("per_obj_png_file"), action="store_true", help="masks are one folder an object, in and out (SA-V)"
    )
    rules.add_argument(
        *spelled("track_object_appearing_later_in_video"), action="store_true", dest="later",
        help="objects may appear after the first frame (LVOS, YouTube-VOS)",
    )  # fmt: skip
    rules.add_argument("--no-void", action="store_true", help="the label 255 is an object like others")
    rules.add_argument(
        "--baseline", action="store_true", help="also run SAM 2 itself, into the sibling folder DIR_sam2"
    )


def run(args: argparse.Namespace) -> int:
    if args.dataset is not None and args.dataset[0] == SYNTHETIC:
        made = made_dataset.make(args, Path(args.dataset[1]))
        if args.output_mask_dir is None:
            return made
        args.dataset = ["davis2017", str(Path(args.dataset[1]) / "davis")]
    if args.output_mask_dir is None:
        raise UserError("where shall the masks go? give --output_mask_dir")
    if not math.isfinite(args.score_thresh):
        raise UserError(f"--score_thresh {args.score_thresh} must be a number")
    layout = _layout(args)
    settings = tracker_settings(args)
    return run_and_conclude(_job(args, layout, settings), args, str(args.output_mask_dir))


def _layout(args: argparse.Namespace) -> DatasetLayout:
    """The dataset by name or by its folders; single options win over what the name says."""
    from sam2long.datasets import DatasetLayout, preset

    given = (args.base_video_dir, args.input_mask_dir)
    try:
        if args.dataset is not None:
            if any(given):
                raise UserError(
                    "--dataset says where videos and masks lie: give it, or --base_video_dir and --input_mask_dir"
                )
            name, root = args.dataset
            layout = preset(name, root, args.split)
        elif None in given:
            raise UserError("which videos? give --dataset NAME ROOT, or --base_video_dir and --input_mask_dir")
        else:
            layout = DatasetLayout(*given)
        return _with_options(layout, args)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _with_options(layout: DatasetLayout, args: argparse.Namespace) -> DatasetLayout:
    from sam2long.evaluation.masks import read_list

    changes: dict[str, Any] = {}
    if args.video_list_file is not None:
        changes["videos"] = tuple(read_list(args.video_list_file, "the list of videos, one a line"))
    for option, name in (("per_obj_png_file", "per_object"), ("later", "later"), ("use_all_masks", "all_masks")):
        changes |= {name: True} if getattr(args, option) else {}
    if args.no_void:
        changes["void"] = None
    return replace(layout, **changes)


def _job(args: argparse.Namespace, layout: DatasetLayout, settings: TrackerSettings) -> Job:
    from sam2long.runner import Job
    from sam2long.runner.tasks import VosTask

    try:
        items = layout.items()
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    trees = trees_of(args.output_mask_dir, settings.model.memory_tree, baseline=args.baseline)
    tasks = [VosTask(item, folder, tree, args.score_thresh) for folder, tree in trees.items() for item in items]
    rules = {name: value for name, value in asdict(layout).items() if name not in ("frames", "masks", "videos")}
    about = {
        "base_video_dir": str(layout.frames.resolve()),
        "input_mask_dir": str(layout.masks.resolve()),
        "score_thresh": args.score_thresh,
        "rules": rules,
    }
    return Job(
        tasks, settings, {of: {**about, "memory_tree": asdict(tree)} for of, tree in trees.items()}, command_line()
    )
