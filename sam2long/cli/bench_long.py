"""Time and memory over a long video, frame by frame: SAM 2, the memory tree, and the tree in its worst case.

The frames are drawn as they are read and never stored. SAM 2 holds a whole video as float tensors, so it is
given as many frames as fit into --sam2-memory. Each contestant runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.bench.environment import describe, require_matplotlib
from sam2long.bench.long_plot import plot
from sam2long.cli.errors import UserError
from sam2long.cli.model import add_model_arguments, build_model, choose_model
from sam2long.files import replacing
from sam2long.model_choice import ModelChoice

# What brings torch is imported when it is used: `--help` does without.
if TYPE_CHECKING:
    from sam2long.bench.long_run import Contestant

_MIN_FRAMES = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, help="write the figures to OUT.json and the plot to OUT.png")
    parser.add_argument("--frames", type=int, default=10_000, help=f"at least {_MIN_FRAMES} (default 10000)")
    parser.add_argument("--objects", type=int, default=1, help="how many are tracked (default 1)")
    parser.add_argument("--max-pending", type=int, default=100, help="of the worst case (default 100)")
    parser.add_argument("--sam2-memory", type=float, default=4.0, help="GB for SAM 2's frames (default 4; 0: no SAM 2)")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.frames < _MIN_FRAMES or args.objects < 1 or args.max_pending < 0:
        raise UserError(f"--frames must be at least {_MIN_FRAMES}, --objects 1 and --max-pending 0")
    if args.out:
        try:
            require_matplotlib()
        except ImportError as error:
            raise UserError(f"{error} (or leave -o out)") from error
    import torch

    from sam2long.bench.long_run import run_contestant

    model = choose_model(args)
    device = torch.device(model.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    report: dict[str, Any] = {
        **describe(device),
        "config": model.config,
        "frames": args.frames,
        "objects": args.objects,
        "results": [],
    }
    for contestant in _contestants(args, model):
        # A new process each, or one's memory would count as the next one's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            report["results"].append(process.submit(run_contestant, contestant).result())
        print(describe_result(report["results"][-1]), flush=True)
        if args.out:  # after each contestant: an interrupted run keeps what it has measured
            _write(report, args.out)
    return 0


def _contestants(args: argparse.Namespace, model: ModelChoice) -> list[Contestant]:
    from sam2long.bench.long_run import Contestant

    tree = Contestant("memory tree", model, args.frames, args.objects, is_sam2=False)
    always_uncertain = replace(model, memory_tree=replace(model.memory_tree, uncertainty_threshold=1e6))
    worst = replace(
        tree, name="memory tree, every frame uncertain", model=always_uncertain, max_pending=args.max_pending
    )
    fitting = min(args.frames, int(args.sam2_memory * 2**30 / _frame_bytes(model)))
    sam2 = [replace(tree, name="SAM 2", num_frames=fitting, is_sam2=True)] if fitting >= _MIN_FRAMES else []
    return [tree, worst, *sam2]


def _frame_bytes(model: ModelChoice) -> int:
    """What SAM 2 holds of each frame: 3 x image_size^2 floats."""
    size: int = build_model(model).image_size
    return 3 * size * size * 4


def describe_result(result: dict[str, Any]) -> str:
    cpu, wall = result["cpu_ms"], result["wall_ms"]
    lines = [f"{result['name']}: {result['frames']} frames, mean IoU {result['mean_iou']:.2f}"]
    for clock, times in (("wall", wall), ("cpu", cpu)):
        lines.append(
            f"  {clock:4} ms a frame: {times['early']:.2f} early, {times['late']:.2f} at the end "
            f"({times['late_over_early']:.3f}x); a fresh video meanwhile {times['fresh_video_meanwhile']:.2f} "
            f"({times['late_over_fresh']:.3f}x)"
        )
    if pathways := result["mean_pathways"]:
        lines.append(
            f"  distinct pathways: {pathways['early']:.2f} early, {pathways['late']:.2f} at the end, "
            f"{pathways['fresh_video_meanwhile']:.2f} in the fresh video"
        )
    for kind in ("host", "device"):
        growth = result[f"{kind}_bytes_per_object_and_frame"]
        if growth is not None:
            lines.append(f"  {kind} memory grows by {growth:.0f} bytes per object and frame")
    lines.append(f"  at most {result['most_pending']} frames pending")
    return "\n".join(lines)


def _write(report: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    # Not with_suffix: "long-0.1" has no suffix to replace.
    with replacing(out.with_name(f"{out.name}.json")) as part:
        part.write_text(json.dumps(report, indent=1) + "\n")
    with replacing(out.with_name(f"{out.name}.png")) as part:
        plot(report, part)
