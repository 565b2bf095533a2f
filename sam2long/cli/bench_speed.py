"""Speed and memory of SAM 2 and of the memory tree, interleaved in one run, stage by stage.

Weights may be random: the object score is biased so that the object is visible, and every frame is certain
unless the regime says otherwise. In the regime `shared` all slots of the tree share one pathway; `distinct`
keeps as many pathways apart as there are slots, from the second tracked frame on. SAM 2 runs eagerly and is what
ratios refer to; trees run eagerly, and captured or compiled where that is asked for.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.bench.environment import describe
from sam2long.cli.errors import UserError
from sam2long.cli.model import check_device
from sam2long.files import replacing

# What brings torch is imported when it is used: `--help` does without.
if TYPE_CHECKING:
    from sam2long.bench.speed_models import Contestant, Mode
    from sam2long.bench.speed_run import Race


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default="configs/sam2.1/sam2.1_hiera_t.yaml", help="model config (name or path)")
    parser.add_argument("--checkpoint", help="weights; random ones if left out")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    parser.add_argument("--pathways", type=_integers, default=[3], help="numbers of pathways, e.g. 1,2,3,4")
    parser.add_argument("--objects", type=_integers, default=[1], help="numbers of objects, e.g. 1,5")
    parser.add_argument("--regime", type=_regimes, default=["shared", "distinct"], help="shared,distinct")
    parser.add_argument("--frames", type=int, default=10, help="length of the clip")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs")
    parser.add_argument("--captured", action="store_true", help="add trees that replay CUDA graphs (needs CUDA)")
    parser.add_argument("--compiled", action="store_true", help="add SAM 2 and trees with all components compiled")
    parser.add_argument("--no-launches", action="store_true", help="do not count what the host launches")
    parser.add_argument("--encode-ahead", type=int, default=0, help="frames to encode ahead (default: 0)")
    parser.add_argument("-o", "--out", type=Path, help="write the figures as JSON, and the table beside it as .md")


def _integers(text: str) -> list[int]:
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of integers >= 1, such as 1,3")
    return values


def _regimes(text: str) -> list[str]:
    regimes = text.split(",")
    if not set(regimes) <= {"shared", "distinct"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not shared, distinct or shared,distinct")
    return regimes


def run(args: argparse.Namespace) -> int:
    import torch

    from sam2long.bench.speed_report import head, row

    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    race = _race(args)
    report = {
        **describe(torch.device(args.device)),
        "config": str(args.config),
        "checkpoint": args.checkpoint,
        "precision": "bfloat16 autocast" if args.device.startswith("cuda") else "float32",
        "encode_ahead": args.encode_ahead,
        "frames": args.frames,
        "results": [],
    }
    print("\n".join(head(report)), flush=True)
    for num_objects in dict.fromkeys(args.objects):
        done = report["results"]
        for results in race.run(_contestants(args), num_objects, args.rounds):
            report["results"] = [*done, *map(asdict, results)]
            _write(report, args.out)  # what is measured is kept, whatever happens to the rest
        print("\n".join(row(result) for result in report["results"][len(done) :]), flush=True)
    return 0


def _race(args: argparse.Namespace) -> Race:
    """The race, or what is wrong with the options."""
    import torch

    from sam2long.bench.speed_models import SpeedModels
    from sam2long.bench.speed_run import Race

    if args.frames < 2 or args.rounds < 1 or args.encode_ahead < 0:
        raise UserError("--frames must be at least 2, --rounds at least 1, --encode-ahead at least 0")
    if args.out is not None and (args.out.suffix == ".md" or args.out.is_dir()):
        raise UserError(f"-o {args.out}: give a JSON file; the table is written beside it as .md")
    check_device(args.device)
    device = torch.device(args.device)
    if args.captured and device.type != "cuda":
        raise UserError(f"--captured needs a CUDA device, not {args.device}")
    if args.captured and args.encode_ahead:
        raise UserError("--captured encodes the next frame by itself: drop --encode-ahead")
    try:
        models = SpeedModels(
            args.config, args.checkpoint, device, num_frames=args.frames, encode_ahead=args.encode_ahead
        )
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    return Race(models, count_launches=not args.no_launches)


def _contestants(args: argparse.Namespace) -> list[Contestant]:
    """SAM 2 first; what takes long to get going last."""
    from sam2long.bench.speed_models import Contestant

    modes: list[Mode] = ["eager"]
    modes += ["captured"] if args.captured else []
    modes += ["compiled"] if args.compiled else []
    contestants = [Contestant(0, "sam2")]
    for mode in modes:
        contestants += [Contestant(0, "sam2", mode)] if mode == "compiled" else []
        for num_pathways in args.pathways:
            if num_pathways == 1 and mode == "captured":  # SAM 2 itself, which replays nothing
                continue
            regimes = ["shared"] if num_pathways == 1 else args.regime
            contestants += [Contestant(num_pathways, regime, mode) for regime in regimes]
    return list(dict.fromkeys(contestants))


def _write(report: dict[str, Any], out: Path | None) -> None:
    from sam2long.bench.speed_report import format_table

    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, text in ((out, json.dumps(report, indent=1)), (out.with_suffix(".md"), format_table(report))):
            with replacing(path) as part:
                part.write_text(text + "\n")
