"""Track an object through the embedded clip with the embedded model, by SAM 2 and by the memory tree, and compare."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sam2long.cli.errors import late_step
from sam2long.cli.model import check_device
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompt_file import read_prompt_file
from sam2long.cli.saying import add_saying_arguments, say
from sam2long.cli.track import track
from sam2long.cli.track_job import TrackJob
from sam2long.model_choice import ModelChoice, embedded_model

if TYPE_CHECKING:
    from sam2long.views.visualize import BoolArray

ASSETS = Path(__file__).parent / "assets"
CLIP = ASSETS / "demo.mp4"
PROMPTS = ASSETS / "demo.json"
TRUTH = ASSETS / "demo_truth.npz"
MOMENTS = (0, 3, 9, 13, 17, 24)  # of the clip's story, for the figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, default=Path("outputs/demo"), help="default: outputs/demo")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of another run in OUT")
    parser.add_argument("--device", help="cpu, cuda ... (default: cuda where there is one)")
    add_saying_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_device(args.device)
    model = embedded_model(args.device)
    overwrite = args.overwrite or _holds_a_demo(args.out)
    tree = ResultFolder(args.out, overwrite=overwrite)
    sam2 = ResultFolder(args.out / "sam2", overwrite=overwrite)
    _track(model, tree, overlay=True)
    say("the same by SAM 2 (one pathway):")
    one_pathway = replace(model, memory_tree=replace(model.memory_tree, num_pathways=1))
    with warnings.catch_warnings():
        # sam2 says at length that it fills no holes without its CUDA extension.
        warnings.filterwarnings("ignore", message="cannot import name '_C'")
        _track(one_pathway, sam2, overlay=False)
    with late_step("the comparison", f"masks and scores are in {args.out}"):
        _compare(sam2, tree)
    return 0


def read_truth() -> BoolArray:
    """The exact mask of the clip's object on every frame, bool [T, H, W]."""
    with np.load(TRUTH) as stored:
        shape = stored["shape"]
        return np.unpackbits(stored["bits"], count=int(shape.prod())).reshape(shape).astype(bool)


def _track(model: ModelChoice, results: ResultFolder, *, overlay: bool) -> None:
    track(TrackJob(str(CLIP), read_prompt_file(PROMPTS), model, results, overlay=overlay))


def _compare(sam2: ResultFolder, tree: ResultFolder) -> None:
    from tqdm import tqdm

    from sam2long.cli.comparison import SAM2, TREE, Comparison
    from sam2long.exports.encoding import DEFAULT_FPS
    from sam2long.frames import open_frames

    (prompt,) = read_prompt_file(PROMPTS)
    with open_frames(CLIP) as source:
        comparison = Comparison(source, prompt, {SAM2: sam2, TREE: tree}, read_truth())
        progress = partial(tqdm, desc="write comparison", file=sys.stderr)
        comparison.write_film(tree, source.display.frame_rate or DEFAULT_FPS, progress)
        comparison.write_figure(tree, MOMENTS)
    say(f"compare  {tree.comparison}, {tree.figure}")
    say("mean IoU " + ", ".join(f"{name} {comparison.mean_iou(name):.2f}" for name in (SAM2, TREE)))


def _holds_a_demo(out: Path) -> bool:
    """A second demo may replace the first without being asked to."""
    try:
        return bool(json.loads((out / "run.json").read_text(encoding="utf-8-sig"))["video"] == str(CLIP))
    except (OSError, ValueError, KeyError, TypeError):
        return False
