"""Track an object through the embedded clip with the embedded model: `sam2long track`, all choices made."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sam2long.cli.model import embedded_model
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompt_file import read_prompt_file
from sam2long.cli.track import TrackJob, track

ASSETS = Path(__file__).parent / "assets"
CLIP = ASSETS / "demo.mp4"
CLICK = ASSETS / "demo.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, default=Path("outputs/demo"), help="default: outputs/demo")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of another run in OUT")
    parser.add_argument("--device", help="cpu, cuda ... (default: cuda where there is one)")


def run(args: argparse.Namespace) -> int:
    track(
        TrackJob(
            video=str(CLIP),
            prompts=read_prompt_file(CLICK),
            results=ResultFolder(args.out, overwrite=args.overwrite or _holds_a_demo(args.out)),
            model=embedded_model(args.device),
        )
    )
    return 0


def _holds_a_demo(out: Path) -> bool:
    """A second demo may replace the first without being asked to."""
    try:
        return bool(json.loads((out / "run.json").read_text(encoding="utf-8"))["video"] == str(CLIP))
    except (OSError, ValueError, KeyError, TypeError):
        return False
