"""What the memory tree buys over SAM 2 with the same weights, on synthetic clips held out from training.

Every clip is tracked by SAM 2 (one pathway) and by trees; its record is written when it is done, so an interrupted
run goes on where it stopped. The table gives J, F and J&F as DAVIS does (an absent object answered by nothing counts
1; all frames count but the prompted one), J&F over the frames on which the object shows and over those after an
absence, switches to a look-alike, and an oracle that picks the best live pathway on every frame.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sam2long.bench import synthetic_settings
from sam2long.bench.environment import describe
from sam2long.bench.synthetic_report import plot, summarise, table
from sam2long.bench.synthetic_settings import Setting, contestants
from sam2long.bench.synthetic_track import ClipSpec, track_clip
from sam2long.build import build_sam2long_video_predictor
from sam2long.cli.errors import UserError
from sam2long.cli.model import ModelChoice, add_model_arguments, choose_model
from sam2long.cli.outputs import replacing
from sam2long.synthetic import SUITES, sample_scene
from sam2long.synthetic.render import check_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder for clips/, table.md, summary.json, gain.png"
    )
    parser.add_argument("--suites", default=",".join(SUITES), help="comma-separated (default: all)")
    parser.add_argument("--clips", type=int, default=60, help="clips a suite (default 60)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=60, help="frames a clip (default 60)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default 256)")
    parser.add_argument("--split", default="test", choices=["test", "val"], help="val is for tuning, test for reports")
    synthetic_settings.add_arguments(parser)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default 2)")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    model = choose_model(args)
    settings = contestants(args, model.memory_tree)
    specs = _specs(args)
    folder = args.out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    records = list(tqdm(_records(specs, settings, model, folder, args.workers), total=len(specs), desc="clips"))
    summary = summarise(sorted(records, key=lambda record: (list(SUITES).index(record["suite"]), record["seed"])))
    report = {
        "config": Path(model.config).name,
        "checkpoint": model.checkpoint.name,
        "model": _fingerprint(model),
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


def _specs(args: argparse.Namespace) -> list[ClipSpec]:
    suites = list(dict.fromkeys(args.suites.split(",")))  # a clip that is listed twice is one clip
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


def _records(
    specs: Sequence[ClipSpec], settings: Sequence[Setting], model: ModelChoice, folder: Path, workers: int
) -> Iterator[dict[str, Any]]:
    """Finished records first, then the others as they come, each written to its file.

    A record keeps the settings it has; only those it lacks are tracked.
    """
    known = {spec: _read(folder, spec, settings, model) for spec in specs}
    lacking = {spec: [s for s in settings if s.name not in record["settings"]] for spec, record in known.items()}
    for spec in specs:
        if not lacking[spec]:
            yield _wanted(known[spec], settings)
    todo = [spec for spec in specs if lacking[spec]]
    if not todo:
        return
    os.environ["TQDM_DISABLE"] = "1"  # for the workers: a bar per pass of each would bury the one that counts clips
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(_work, model, spec, lacking[spec]): spec for spec in todo}
        for job in as_completed(jobs):
            spec, measured = jobs[job], job.result()
            trees = {setting.name: setting.identity for setting in lacking[spec]}
            record = {**measured, "model": _fingerprint(model), "trees": {**known[spec].get("trees", {}), **trees}}
            record["settings"] = {**known[spec]["settings"], **measured["settings"]}
            _write(_path(folder, spec), json.dumps(record))
            yield _wanted(record, settings)


def _wanted(record: dict[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    return {**record, "settings": {setting.name: record["settings"][setting.name] for setting in settings}}


def _path(folder: Path, spec: ClipSpec) -> Path:
    return folder / f"{spec.suite}-{spec.seed:04d}.json"


def _fingerprint(model: ModelChoice) -> str:
    """Names the weights: a record of others is stale."""
    return hashlib.sha256(model.checkpoint.read_bytes()).hexdigest()[:16]


def _read(folder: Path, spec: ClipSpec, settings: Sequence[Setting], model: ModelChoice) -> dict[str, Any]:
    """The clip's record as far as it is still true: same clip, same weights, same settings under each name."""
    path = _path(folder, spec)
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and the clip is tracked again") from error
    same_clip = all(record.get(name) == value for name, value in asdict(spec).items())
    if not same_clip or record.get("model") != _fingerprint(model):
        return {"settings": {}}
    trees = {setting.name: setting.identity for setting in settings}
    current = {
        name: scores
        for name, scores in record["settings"].items()
        if record["trees"][name] == trees.get(name, record["trees"][name])
    }
    return {**record, "settings": current}


@lru_cache(maxsize=1)
def _predictor(model: ModelChoice) -> Any:
    torch.set_num_threads(1)
    # Bare masks: SAM 2 fills holes only where its CUDA extension was built, the tree everywhere.
    return build_sam2long_video_predictor(
        model.config, model.checkpoint, device=model.device, memory_tree=model.memory_tree, apply_postprocessing=False
    )


def _work(model: ModelChoice, spec: ClipSpec, settings: Sequence[Setting]) -> dict[str, Any]:
    return track_clip(_predictor(model), spec, settings)


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
