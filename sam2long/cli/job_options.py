"""Options that all commands over many videos share: the model as SAM 2's scripts name it, and the job."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError
from sam2long.cli.job_progress import conclude, observer
from sam2long.cli.model import add_model_arguments, choose_model
from sam2long.cli.speed import add_speed_arguments, check_speed

if TYPE_CHECKING:
    from sam2long.config import MemoryTreeConfig
    from sam2long.runner import Job
    from sam2long.runner.cluster import Cluster
    from sam2long.runner.worker import TrackerSettings


def spelled(name: str) -> tuple[str, str]:
    """An option as SAM 2's scripts spell it, and with dashes."""
    return f"--{name}", f"--{name.replace('_', '-')}"


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    theirs = parser.add_argument_group("the same, as SAM 2's and SAM2Long's scripts call them")
    for name, dest, kind in (
        ("sam2_cfg", "config", str),
        ("sam2_checkpoint", "checkpoint", Path),
        ("num_pathway", "num_pathways", int),
        ("iou_thre", "iou_threshold", float),
        ("uncertainty", "uncertainty_threshold", float),
    ):
        theirs.add_argument(
            *spelled(name),
            dest=dest,
            type=kind,
            default=argparse.SUPPRESS,
            metavar="X",
            help=f"--{dest.replace('_', '-')}",
        )
    _add_tracking(parser.add_argument_group("tracking"))
    job = parser.add_argument_group("the job")
    job.add_argument("--workers", metavar="N", type=int, help="processes (default: one for each visible GPU, or 1)")
    job.add_argument("--ray", action="store_true", help="spread the videos over a Ray cluster (extra `cluster`)")
    job.add_argument("--ray-address", metavar="ADDRESS", help="of the cluster (default: one on this machine)")
    job.add_argument(
        "--gpus-per-worker", metavar="X", type=float, help="[--ray] 0.5: two share a GPU (default 1, or 0)"
    )
    job.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    job.add_argument("--json-progress", action="store_true", help="what happens, as lines of JSON on stdout")


def _add_tracking(how: Any) -> None:
    how.add_argument(
        *spelled("apply_postprocessing"),
        action="store_true",
        help="SAM 2's demo post-processing (off in its evaluation)",
    )
    how.add_argument(
        *spelled("use_vos_optimized_video_predictor"),
        action="store_true",
        dest="vos_optimized",
        help="compile the model",
    )
    add_speed_arguments(how)


def tracker_settings(args: argparse.Namespace) -> TrackerSettings:
    """Read what `add_job_arguments` added.

    Raises:
        UserError: if an option makes no sense, or a file is missing.
    """
    check_speed(args)
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers {args.workers} must be 1 or more")
    if args.capture and args.vos_optimized:
        raise UserError("--capture and --use_vos_optimized_video_predictor exclude each other: give one")
    from sam2long.runner.worker import TrackerSettings

    return TrackerSettings(
        model=choose_model(args),
        image_size=args.image_size,
        apply_postprocessing=args.apply_postprocessing,
        vos_optimized=args.vos_optimized,
        precision=args.precision,
        max_pending=args.max_pending,
    )


def run_and_conclude(job: Job, args: argparse.Namespace, results: str, remark: str = "") -> int:
    """Run a job and say how it went, and what else there is to say of it; returns the exit status.

    Raises:
        UserError: status 2 before any work is done, status 1 where videos failed or nothing can be written.
    """
    from sam2long.runner import run_job
    from sam2long.runner.processes import WorkersFailedError

    if args.checkpoint is None and not args.quiet:
        print(
            "no --sam2_checkpoint: the small embedded model tracks, which knows synthetic clips only", file=sys.stderr
        )
    try:
        watch = observer(quiet=args.quiet, json_lines=args.json_progress)
        outcome = run_job(job, workers=args.workers, observe=watch, cluster=_cluster(args))
    except WorkersFailedError as error:
        raise UserError(str(error), exit_status=1) from error
    except (OSError, ValueError, ImportError) as error:
        raise UserError(str(error)) from error
    return conclude(outcome, results, remark, silent=args.quiet or args.json_progress)


def _cluster(args: argparse.Namespace) -> Cluster | None:
    """Where Ray runs the job; None where it does not."""
    if not args.ray:
        if args.ray_address is not None or args.gpus_per_worker is not None:
            raise UserError("--ray-address and --gpus-per-worker belong to --ray")
        return None
    if args.gpus_per_worker is not None and not 0 <= args.gpus_per_worker <= 64:
        raise UserError(f"--gpus-per-worker {args.gpus_per_worker:g} must be 0 or more")
    import torch

    from sam2long.runner.cluster import Cluster

    on_gpus = torch.cuda.is_available() and args.device in (None, "cuda")
    gpus = args.gpus_per_worker if args.gpus_per_worker is not None else float(on_gpus)
    return Cluster(args.ray_address, gpus)


def trees_of(folder: Path, tree: MemoryTreeConfig, *, baseline: bool) -> dict[Path, MemoryTreeConfig]:
    """What runs, by the folder of its results: with `baseline` SAM 2 too, in the sibling `<folder>_sam2`."""
    if not baseline:
        return {folder: tree}
    if tree.num_pathways == 1:
        raise UserError("--baseline is SAM 2, and so is one pathway: leave one of them out")
    sibling = folder.resolve().with_name(f"{folder.resolve().name}_sam2")
    return {folder: tree, sibling: replace(tree, num_pathways=1)}


def command_line() -> list[str]:
    """What the user typed."""
    return ["sam2long", *sys.argv[1:]]
