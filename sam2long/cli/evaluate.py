"""Score predictions by the rules of a benchmark's official tool, and compare several of them.

The tools' odd rules are followed; docs/evaluation.md lists them. GT and PRED are laid out as the tools want them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError
from sam2long.files import replacing

if TYPE_CHECKING:
    from sam2long.evaluation import Result

LAYOUTS = {
    "davis2017": "GT/ImageSets/2017/val.txt, GT/Annotations/480p/VIDEO/*.png; PRED/VIDEO/*.png",
    "vos": "GT/VIDEO/*.png; PRED/VIDEO/*.png",
    "sav": "GT/VIDEO/OBJECT/*.png; PRED/VIDEO/OBJECT/*.png",
    "lvos": "GT/valid_meta.json, GT/unseen_videos.txt, GT/Annotations/VIDEO/*.png; PRED/VIDEO/*.png",
    "mosev2": "GT/meta.json, GT/Annotations/VIDEO/*.png; PRED/VIDEO/*.png",
    "vost": "GT/ImageSets/val.txt, GT/Annotations/VIDEO/*.png; PRED/VIDEO/*.png",
    "ytvos": "GT/meta.json, GT/Annotations/VIDEO/*.png; PRED/VIDEO/*.png (not the server's numbers)",
    "lasot": "GT/CLASS/VIDEO/groundtruth.txt; PRED/VIDEO.txt",
    "got10k": "GT/val/list.txt, GT/val/VIDEO/groundtruth.txt; PRED/GOT-10k/TRACKER/VIDEO/VIDEO_001.txt",
}
BENCHMARKS = tuple(LAYOUTS)
_OPTIONS = ("task", "split", "all_frames", "strict", "rules", "exclude_invalid", "tracker", "sane")
_EXAMPLES = """examples:
  sam2long eval davis2017 DAVIS outputs/davis --json davis.json
  sam2long eval vos MOSE/train/Annotations outputs/mose --strict --csv objects.csv --csv-frames frames.csv
  sam2long eval davis2017 DAVIS sam2=outputs/sam2 --compare tree=outputs/tree --figure comparison.png"""
_SHOWN = 8  # of what was left out
_FIGURES = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    layouts = "\n".join(f"  {name:<10} {layout}" for name, layout in LAYOUTS.items())
    parser.epilog = f"layouts:\n{layouts}\n\n{_EXAMPLES}"
    parser.add_argument("benchmark", metavar="BENCHMARK", choices=BENCHMARKS, help=", ".join(BENCHMARKS))
    parser.add_argument("gt", metavar="GT", type=Path, help="folder of the annotations")
    parser.add_argument("pred", metavar="PRED", help="folder of the predictions; NAME=FOLDER names it in reports")
    parser.add_argument(
        "--compare", metavar="PRED", nargs="+", default=[],
        help="more predictions to set against PRED: differences per video, paired bootstrap intervals",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    _add_outputs(parser.add_argument_group("outputs"))
    _add_rules(parser.add_argument_group("rules", "each belongs to the benchmarks in brackets"))


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", metavar="FILE", type=Path, help="everything, at full precision")
    group.add_argument("--csv", metavar="FILE", type=Path, help="a line per object")
    group.add_argument("--csv-frames", metavar="FILE", type=Path, help="a line per object and frame")
    group.add_argument("--markdown", metavar="FILE", type=Path, help="tables")
    group.add_argument("--figure", metavar="FILE", type=Path, help="the comparison as .png, .pdf or .svg")


def _add_rules(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--task", help="[davis2017] semi (default), unsup; [lvos] semi, unsup-multiple, unsup-single")
    group.add_argument("--split", help="[davis2017, vost, got10k] default val; [lvos] default valid")
    group.add_argument("--all-frames", action="store_true", help="[vos, sav] score the first and the last frame too")
    group.add_argument("--strict", action="store_true", help="[vos, sav] a video without a prediction is an error")
    group.add_argument("--rules", help="[lasot] of which tool: matlab (default), pytracking, got10k")
    group.add_argument(
        "--exclude-invalid", action="store_true", help="[lasot --rules pytracking] its exclude_invalid_frames"
    )
    group.add_argument("--tracker", help="[got10k] which folder under PRED/GOT-10k, where there are several")
    group.add_argument(
        "--sane", action="store_true",
        help="[davis2017, vost] decay is right for long videos too; [mosev2] a submission of one video is scored",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    try:
        return _run(args)
    except BrokenProcessPool as error:
        raise UserError("a worker was killed, perhaps for memory: try fewer --workers", exit_status=1) from error
    except (OSError, ValueError, ImportError) as error:
        raise UserError(str(error)) from error


def _run(args: argparse.Namespace) -> int:
    from sam2long.evaluation import compare, evaluate

    folders = _named_folders([args.pred, *args.compare])
    _check_outputs(args)
    options = {name: value for name in _OPTIONS if (value := getattr(args, name))}
    progress = not args.quiet and sys.stderr.isatty()
    results = {
        name: evaluate(args.benchmark, args.gt, folder, workers=args.workers, progress=progress, **options)
        for name, folder in folders.items()
    }
    comparison = compare(results, seed=args.seed) if len(results) > 1 else None
    try:
        _write(args, results, comparison)
    except OSError as error:
        raise UserError(f"the results cannot be written: {error}", exit_status=1) from error
    if not args.quiet:
        _print_summary(args, results, comparison)
    return 0


def _named_folders(texts: list[str]) -> dict[str, Path]:
    """The folders of predictions by name: what stands before `=`, or the folder's own."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).exists():
            name, folder = Path(text).resolve().name, text
        if name in folders:
            raise UserError(f"two predictions are called {name}: name them, as in A={folders[name]} B={folder}")
        if not Path(folder).is_dir():
            trouble = "a file" if Path(folder).exists() else "missing"
            raise UserError(f"{folder} is {trouble}: give a folder of predictions")
        folders[name] = Path(folder)
    return folders


def _check_outputs(args: argparse.Namespace) -> None:
    """Sees that all files can be written, before work starts."""
    if args.seed < 0:
        raise UserError(f"--seed {args.seed} is negative")
    paths = [path for path in (args.json, args.csv, args.csv_frames, args.markdown, args.figure) if path is not None]
    if len({path.absolute() for path in paths}) < len(paths):
        raise UserError("two outputs have one name: give each its own file")
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path} is a folder: name a file in it")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            writable = os.access(path.parent, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            raise UserError(f"{path.parent} is no folder that can be written to: name a file in another")
    if args.figure is not None:
        _check_figure(args)


def _check_figure(args: argparse.Namespace) -> None:
    if not args.compare:
        raise UserError("--figure shows a comparison: give --compare a second folder of predictions")
    if args.figure.suffix.lower() not in _FIGURES:
        raise UserError(f"--figure {args.figure}: its name ends with one of {', '.join(_FIGURES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError("--figure needs matplotlib: pip install matplotlib (extra sam2long[viz])") from error


def _write(args: argparse.Namespace, results: Mapping[str, Result], comparison: Mapping[str, Any] | None) -> None:
    for path, text in _texts(args, results, comparison):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8", errors="surrogateescape")  # names of files may be no text
    if args.figure is not None and comparison is not None:
        _write_figure(args.figure, comparison, results)


def _texts(
    args: argparse.Namespace, results: Mapping[str, Result], comparison: Mapping[str, Any] | None
) -> Iterator[tuple[Path, str]]:
    from sam2long.evaluation import report

    base, *others = results
    if args.json is not None:
        content: dict[str, Any] = dict(results[base])
        if comparison is not None:
            content |= {"comparison": comparison, "compared": {name: results[name] for name in others}}
        yield args.json, report.as_json(content)
    if args.csv is not None:
        yield args.csv, report.objects_csv(results)
    if args.csv_frames is not None:
        yield args.csv_frames, report.frames_csv(results)
    if args.markdown is not None:
        parts = [] if comparison is None else [report.comparison_markdown(comparison)]
        yield args.markdown, "\n".join([*parts, *(report.markdown(result) for result in results.values())])


def _write_figure(path: Path, comparison: Mapping[str, Any], results: Mapping[str, Result]) -> None:
    from sam2long.evaluation.figure import comparison_figure

    figure = comparison_figure(comparison, results)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix.lower()[1:], dpi=150)


def _print_summary(
    args: argparse.Namespace, results: Mapping[str, Result], comparison: Mapping[str, Any] | None
) -> None:
    from sam2long.evaluation.report import comparison_table, number

    for name, of in results.items():
        counts = f"{len(of['per_video'])} videos, {len(of['objects'])} objects"
        print(f"{'' if comparison is None else f'{name}: '}{args.benchmark}, {of['tool']}: {counts}")
        print(" ".join(f"{key} {number(value)}" for key, value in of["global"].items()))
    if comparison is not None:
        print(comparison_table(comparison))
        for video in comparison["left_out"]:
            print(f"left out of the comparison: {video}")
    for name, of in results.items():
        left_out = "left out" if comparison is None else f"{name}: left out"
        for item in of["left_out"][:_SHOWN]:
            print(f"{left_out}: {item['what']} ({item['why']})")
        if len(of["left_out"]) > _SHOWN:
            print(f"{left_out}: {len(of['left_out']) - _SHOWN} more; --json and --markdown list them")
