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
from sam2long.policies import NAMES, load_policy

# What brings torch is imported when it is used: `--help` does without.
if TYPE_CHECKING:
    from sam2long.bench.synthetic_settings import Setting
    from sam2long.bench.synthetic_track import ClipSpec


# Of a suite, unless one asks for another number.
_CLIPS = {"longest": 12}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder for clips/, table.md, summary.json, gain.png"
    )
    parser.add_argument("--suites", help="comma-separated (default: all but long and longest)")
    parser.add_argument("--clips", type=int, help="clips a suite (default 60; of longest 12)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--frames", type=int, help="frames a clip (default 60; of long 300, of longest 1000)")
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
    specs = specs_of(args)
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

    from sam2long.bench.synthetic_losses import losses_table
    from sam2long.bench.synthetic_records import DamagedRecordError, fingerprint, records
    from sam2long.bench.synthetic_report import plot, summarise, table
    from sam2long.synthetic import ALL_SUITES

    folder = args.out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    running = records(specs, settings, model, folder, args.workers)
    try:
        done = list(tqdm(running, total=len(specs), desc="clips"))
    except DamagedRecordError as error:
        raise UserError(str(error)) from error
    summary = summarise(sorted(done, key=lambda record: (list(ALL_SUITES).index(record["suite"]), record["seed"])))
    report = {
        "config": Path(model.config).name,
        "checkpoint": model.checkpoint.name,
        "model": fingerprint(model),
        **{name: value for name, value in asdict(specs[0]).items() if name not in ("suite", "seed", "num_frames")},
        "num_frames": {spec.suite: spec.num_frames for spec in specs},
        "first_seed": args.first_seed,
        "settings": {setting.name: setting.identity for setting in settings},
        **describe(torch.device(model.device or ("cuda" if torch.cuda.is_available() else "cpu"))),
    }
    _write(args.out / "summary.json", json.dumps({**report, "suites": summary}, indent=1))
    _write(args.out / "table.md", table(summary))
    if args.losses:
        _write(args.out / "losses.md", losses_table(done))
    if len(settings) > 1:
        plot(summary, args.out / "gain.png")
    print(table(summary))
    if args.losses:
        print(losses_table(done))
    return 0


def _add_contestants(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pathways", default="1,2,3,4", help="contestants; 1 is SAM 2 (default 1,2,3,4)")
    parser.add_argument(
        "--merge-iou", type=float, help="add a tree (--num-pathways) that merges hypotheses agreeing at this IoU"
    )
    parser.add_argument("--merge-frames", type=int, default=8, help="... for so many frames (default 8)")
    parser.add_argument(
        "--policies", default="", metavar="A,B", help=f"add trees (--num-pathways) with: {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="add the tree's halves: its memory without branching, and branching with SAM 2's memory",
    )
    parser.add_argument(
        "--oracles", action="store_true", help="add trees for which the truth decides mask, memory or presence"
    )
    parser.add_argument("--losses", action="store_true", help="add a table of where points are lost (losses.md)")


def _contestants(args: argparse.Namespace, tree: MemoryTreeConfig) -> list[Setting]:
    """SAM 2, the trees, the one that merges, the tree's halves; by `add_arguments`' options and the model's `tree`.

    Raises:
        UserError: if an option makes no sense.
    """
    from sam2long.bench.synthetic_oracles import ORACLES
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
    settings += halves(tree) if args.ablate else []
    oracles = ORACLES if args.oracles else ()
    return [*settings, *(Setting(f"oracle: {decides}", wide(tree), oracle=decides) for decides in oracles)]


def wide(tree: MemoryTreeConfig) -> MemoryTreeConfig:
    """A policy has no say with one pathway, which is SAM 2 itself."""
    return tree if tree.num_pathways > 1 else replace(tree, num_pathways=2)


def _with_policies(names: str, tree: MemoryTreeConfig) -> list[Setting]:
    from sam2long.bench.synthetic_settings import Setting

    try:
        found = [load_policy(name) for name in filter(None, names.split(","))]
        policies = list({policy.name: policy for policy in found}.values())  # one has two names
    except (ValueError, ImportError) as error:
        raise UserError(f"--policies {names}: {error}") from error
    return [Setting(policy.name, wide(tree), policy=policy) for policy in policies]


def specs_of(args: argparse.Namespace) -> list[ClipSpec]:
    from sam2long.bench.synthetic_track import ClipSpec
    from sam2long.synthetic import ALL_SUITES, SUITES, frames_of, sample_scene
    from sam2long.synthetic.render import check_size

    # A clip that is listed twice is one clip.
    suites = list(SUITES) if args.suites is None else list(dict.fromkeys(args.suites.split(",")))
    unknown = sorted(set(suites) - set(ALL_SUITES))
    if unknown:
        raise UserError(f"--suites: {', '.join(unknown)} unknown; choose from {', '.join(ALL_SUITES)}")
    if (args.clips is not None and args.clips < 1) or args.workers < 1:
        raise UserError("--clips and --workers must be at least 1")
    num_clips = {suite: args.clips or _CLIPS.get(suite, 60) for suite in suites}
    num_frames = {suite: args.frames or frames_of(suite) for suite in suites}
    seeds = range(args.first_seed, args.first_seed + max(num_clips.values()))
    clips = [(suite, seed) for seed in seeds for suite in suites if seed - args.first_seed < num_clips[suite]]
    try:
        for suite, seed in clips:  # drawn, not rendered: whatever is wrong with the numbers comes out here
            sample_scene(suite, seed, num_frames=num_frames[suite], split=args.split)
        check_size(args.size)
    except ValueError as error:
        raise UserError(f"--first-seed, --frames, --size: {error}") from error
    return [ClipSpec(suite, seed, num_frames[suite], args.size, args.split) for suite, seed in clips]


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
