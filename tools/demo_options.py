"""The options of the training script."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

import torch
from demo_data import CURRICULA
from demo_model import CONFIG


def parse(argv: list[str] | None, description: str) -> argparse.Namespace:
    """The options, checked; bad ones end the program with a line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--out", type=Path, default=Path("outputs/demo_model"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=13.5, help="training time in all; the schedule follows it")
    parser.add_argument("--stop-after", type=float, help="minutes after which this run saves and ends")
    parser.add_argument("--resume", type=Path, help="the --out folder of a run to go on from")
    parser.add_argument("--start", type=Path, help="weights (a demo.pt) to train on from, with a clock of its own")
    parser.add_argument("--curriculum", default="whole", choices=sorted(CURRICULA), help="long: to train a model on")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-scale", type=float, default=1.0, help="factor on every stage's batch size")
    parser.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 2))
    parser.add_argument("--textures", type=int, default=1024)
    parser.add_argument("--photographs", type=float, default=0.0, help="share of textures cut from photographs")
    parser.add_argument("--graphed", action=argparse.BooleanOptionalAction, help="CUDA graphs (default: on a GPU)")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument(
        "--fit-clips", type=int, default=0, help="clips a suite and round to fit heads on (default: none)"
    )
    parser.add_argument("--fit-rounds", type=int, default=2)
    parser.add_argument("--heads-clips", type=int, default=24, help="held-out clips a suite for heads.json; 0: none")
    parser.add_argument("--heads-split", default="val", choices=["val", "test"])
    options = parser.parse_args(argv)
    if problem := _problem(options):
        parser.error(problem)
    if options.graphed is None:
        options.graphed = torch.device(options.device).type == "cuda"
    return options


def _problem(options: argparse.Namespace) -> str | None:
    """What is wrong with the options, in a line; None if nothing is."""
    for name in ("minutes", "stop_after", "lr", "batch_scale", "textures", "log_every"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            return f"--{name.replace('_', '-')} {value:g} must be above 0"
    for name in ("workers", "fit_clips", "fit_rounds", "heads_clips"):
        if getattr(options, name) < 0:
            return f"--{name.replace('_', '-')} {getattr(options, name)} must be 0 or more"
    if not 0 <= options.photographs <= 1:
        return f"--photographs {options.photographs:g} is a share: give a number from 0 to 1"
    if not options.config.is_file():
        return f"--config {options.config}: no such file"
    missing = [name for name in ("state.pt", "demo.pt") if options.resume and not (options.resume / name).is_file()]
    if missing:
        return f"--resume {options.resume}: no {missing[0]} in it; give the --out folder of an earlier run"
    if options.resume and options.start:
        return "--resume goes on with a run and --start begins one from weights: drop one"
    if options.start and not options.start.is_file():
        return f"--start {options.start}: no such file"
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:
        return f"--device {options.device}: {str(error).splitlines()[0]}"
    if options.graphed and torch.device(options.device).type != "cuda":
        return f"--graphed needs a CUDA device, not {options.device}; add --no-graphed"
    return None
