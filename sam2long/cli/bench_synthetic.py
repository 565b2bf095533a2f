"""What the memory tree buys over SAM 2 with the same weights, on synthetic clips held out from training.

Every clip is tracked by SAM 2 (one pathway) and by trees; its record is written when it is done, so an interrupted
run goes on where it stopped. The table gives J, F and J&F as DAVIS does (an absent object answered by nothing counts
1; all frames count but the prompted one), J&F over the frames on which the object shows and over those after an
absence, switches to a look-alike, and an oracle that picks the best live pathway on every frame.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sam2long.bench.environment import describe, require_matplotlib
from sam2long.cli.errors import UserError
from sam2long.cli.model import add_model_arguments, build_model, choose_model
from sam2long.config import MemoryTreeConfig
from sam2long.files import replacing
from sam2long.model_choice import ModelChoice
from sam2long.policies import POLICIES, load_policy

# What brings torch is imported when it is used: `--help` does without.
if TYPE_CHECKING:
    from sam2long.bench.synthetic_settings import Setting
    from sam2long.bench.synthetic_track import ClipSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder for clips/, table.md, summary.json, gain.png"
    )
    parser.add_argument("--suites", help="comma-separated (default: all)")
    parser.add_argument("--clips", type=int, default=60, help="clips a suite (default 60)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=60, help="frames a clip (default 60)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default 256)")
    parser.add_argument("--split", default="test", choices=["test", "val"], help="val is for tuning, test for reports")
    _add_contestants(parser)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default 2)")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    model = choose_model(args)
    if args.policy is not None:
        raise UserError(f"--policy {args.policy}: the benchmark compares policies; list them with --policies")
    settings = _contestants(args, model.memory_tree)
    specs = _specs(args)
    if len(settings) > 1:
        try:
            require_matplotlib()
        except ImportError as error:
            raise UserError(str(error)) from error
    build_model(model)  # a checkpoint that does not fit is found here, not by a worker
    return _measure(args, model, settings, specs)


def _measure(args: argparse.Namespace, model: ModelChoice, settings: list[Setting], specs: list[ClipSpec]) -> int:
    import torch
    from tqdm import tqdm

    from sam2long.bench.synthetic_records import DamagedRecordError, fingerprint, records
    from sam2long.bench.synthetic_report import plot, summarise, table
    from sam2long.synthetic import SUITES

    folder = args.out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    running = records(specs, settings, model, folder, args.workers)
    try:
        done = list(tqdm(running, total=len(specs), desc="clips"))
    except DamagedRecordError as error:
        raise UserError(str(error)) from error
    summary = summarise(sorted(done, key=lambda record: (list(SUITES).index(record["suite"]), record["seed"])))
    report = {
        "config": Path(model.config).name,
        "checkpoint": model.checkpoint.name,
        "model": fingerprint(model),
        **{name: value for name, value in asdict(specs[0]).items() if name not in ("suite", "seed")},
        "first_seed": args.first_seed,
        "settings": {setting.name: setting.identity for setting in settings},
        **describe(torch.device(model.device or ("cuda" if torch.cuda.is_available() else "cpu"))),
    }
    _write(args.out / "summary.json", json.dumps({**report, "suites": summary}, indent=1))
    _write(args.out / "table.md", table(summary))
    if len(settings) > 1:
        plot(summary, args.out / "gain.png")
    print(table(summary))
    return 0


def _add_contestants(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pathways", default="1,2,3,4", help="contestants; 1 is SAM 2 (default 1,2,3,4)")
    parser.add_argument(
        "--merge-iou", type=float, help="add a tree (--num-pathways) that merges hypotheses agreeing at this IoU"
    )
    parser.add_argument("--merge-frames", type=int, default=8, help="... for so many frames (default 8)")
    parser.add_argument(
        "--policies", default="", metavar="A,B", help=f"add trees (--num-pathways) with: {', '.join(POLICIES)}"
    )
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="add the tree's halves: its memory without branching, and branching with SAM 2's memory",
    )


def _contestants(args: argparse.Namespace, tree: MemoryTreeConfig) -> list[Setting]:
    """SAM 2, the trees, the one that merges, the tree's halves; by `add_arguments`' options and the model's `tree`.

    Raises:
        UserError: if an option makes no sense.
    """
    from sam2long.bench.synthetic_settings import BASELINE, Setting, halves

    try:
        counts = sorted({int(count) for count in args.pathways.split(",")} | {1})
        trees = [replace(tree, num_pathways=count) for count in counts]
    except ValueError as error:
        raise UserError(f"--pathways {args.pathways}: {error}") from error
    settings = [Setting(BASELINE if tree.num_pathways == 1 else f"P={tree.num_pathways}", tree) for tree in trees]
    if args.merge_iou is not None:
        try:
            merging = replace(tree, merge_iou=args.merge_iou, merge_frames=args.merge_frames)
        except ValueError as error:
            raise UserError(f"--merge-iou, --merge-frames: {error}") from error
        settings.append(Setting(f"P={merging.num_pathways}, merging", merging))
    settings += _with_policies(args.policies, tree)
    return [*settings, *halves(tree)] if args.ablate else settings


def _with_policies(names: str, tree: MemoryTreeConfig) -> list[Setting]:
    from sam2long.bench.synthetic_settings import Setting

    wide = tree if tree.num_pathways > 1 else replace(tree, num_pathways=2)
    try:
        policies = [load_policy(name) for name in dict.fromkeys(filter(None, names.split(",")))]
    except ValueError as error:
        raise UserError(f"--policies {names}: {error}") from error
    return [Setting(policy.name, wide, policy=policy) for policy in policies]


def _specs(args: argparse.Namespace) -> list[ClipSpec]:
    from sam2long.bench.synthetic_track import ClipSpec
    from sam2long.synthetic import SUITES, sample_scene
    from sam2long.synthetic.render import check_size

    # A clip that is listed twice is one clip.
    suites = list(SUITES) if args.suites is None else list(dict.fromkeys(args.suites.split(",")))
    unknown = sorted(set(suites) - set(SUITES))
    if unknown:
        raise UserError(f"--suites: {', '.join(unknown)} unknown; choose from {', '.join(SUITES)}")
    if args.clips < 1 or args.workers < 1:
        raise UserError("--clips and --workers must be at least 1")
    seeds = range(args.first_seed, args.first_seed + args.clips)
    try:
        for suite in suites:  # drawn, not rendered: whatever is wrong with the numbers comes out here
            for seed in seeds:
                sample_scene(suite, seed, num_frames=args.frames, split=args.split)
        check_size(args.size)
    except ValueError as error:
        raise UserError(f"--first-seed, --frames, --size: {error}") from error
    return [ClipSpec(suite, seed, args.frames, args.size, args.split) for seed in seeds for suite in suites]


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
