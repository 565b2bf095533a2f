"""Export the results of `sam2long track` to the formats of other tools: masks, boxes, tables, videos."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from sam2long.cli.errors import UserError, late_step
from sam2long.cli.export_files import FORMAT_NAMES, begin_exports, check_target, publish
from sam2long.cli.saying import add_saying_arguments, say

if TYPE_CHECKING:
    from sam2long.exports import Export, TrackedResults, VideoInfo

_EXAMPLE = """example:
  sam2long export results --to coco --to csv --name 1=mouse      writes results/exports/coco.json and objects.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "run_folder", metavar="RUN", type=Path, help="results of `sam2long track`, or of one video of `sam2long batch`"
    )
    parser.add_argument(
        "--to", metavar="FORMAT", action="append", required=True, choices=FORMAT_NAMES,
        help=f"may be repeated: {', '.join(FORMAT_NAMES)} (docs/exports.md)",
    )  # fmt: skip
    parser.add_argument("-o", "--out", metavar="OUT", type=Path, help="folder for the exports (default: RUN/exports)")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier exports of these formats in OUT")
    parser.add_argument("--video", metavar="VIDEO", help="where the video is now (default: where the run had it)")
    parser.add_argument(
        "--name", metavar="ID=NAME", type=_named, action="append", default=[], dest="names",
        help="what an object is called; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--color", metavar="ID=RRGGBB", type=_colored, action="append", default=[], dest="colors",
        help="an object's colour; may be repeated",
    )  # fmt: skip
    parser.add_argument("--fps", type=float, help="frames per second of videos (default: the video's, or 24)")
    add_saying_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.fps is not None and not 0 < args.fps <= 240:
        raise UserError(f"--fps {args.fps:g} must be above 0 and at most 240")
    from sam2long.exports import FORMATS

    results = _results(args)
    out = args.out or args.run_folder / "exports"
    formats = list(dict.fromkeys(args.to))
    targets = {name: out / FORMATS[name].file for name in formats}
    for target in targets.values():
        check_target(target, args.overwrite)
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Everything is written here and moved to its place when it is whole.
        with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as part:
            exports = _begin(args, results, Path(part), formats)
            with late_step("the exports", f"nothing in {out} was changed"):
                _write(results, exports)
            publish(Path(part), out)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error}") from error
    for name, target in targets.items():
        say(f"{name:<13} {target} ({len(results)} frames, {len(results.obj_ids)} objects)")
    return 0


def _results(args: argparse.Namespace) -> TrackedResults:
    from sam2long.exports import FORMATS, TrackedResults

    try:
        results = TrackedResults(args.run_folder, args.video)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(str(error)) from error
    if results.source is None and (shown := [name for name in args.to if FORMATS[name].shows_frames]):
        raise UserError(f"--to {shown[0]} shows the video, which is not at {results.video}: give --video")
    if unknown := [k for k, _ in [*args.names, *args.colors] if k not in results.obj_ids]:
        raise UserError(
            f"there is no object {unknown[0]}: {args.run_folder} has {', '.join(map(str, results.obj_ids))}"
        )
    return results


def _begin(args: argparse.Namespace, results: TrackedResults, part: Path, formats: list[str]) -> dict[str, Export]:
    fps = None if args.fps is None else Fraction(args.fps).limit_denominator(1001)
    try:
        info = _info(args, results)
    except ValueError as error:
        raise UserError(str(error)) from error
    return begin_exports(formats, part, info, fps)


def _info(args: argparse.Namespace, results: TrackedResults) -> VideoInfo:
    from sam2long.exports import VideoInfo

    return VideoInfo(
        name=Path(results.video).stem or "video",
        source=results.source,
        frame_names=results.names,
        suffix=results.image_suffix,
        objects=dict(args.names),
        colors=dict(args.colors),
        scores=results.scores,
    )


def _write(results: TrackedResults, exports: dict[str, Export]) -> None:
    from tqdm import tqdm

    from sam2long.exports import FrameMasks

    for frame in tqdm(results, desc="export", file=sys.stderr):
        masks = FrameMasks.of(*frame)
        for each in exports.values():
            each.write(masks)
    for each in exports.values():
        each.finish()


def _named(text: str) -> tuple[int, str]:
    obj_id, mark, name = text.partition("=")
    if not mark or not obj_id.isdecimal() or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: expected ID=NAME, as in 1=mouse")
    return int(obj_id), name.strip()


def _colored(text: str) -> tuple[int, tuple[int, int, int]]:
    found = re.fullmatch(r"(\d+)=#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: expected ID=RRGGBB, as in 1=ff8000")
    obj_id, *channels = found.groups()
    red, green, blue = (int(channel, 16) for channel in channels)
    return int(obj_id), (red, green, blue)
