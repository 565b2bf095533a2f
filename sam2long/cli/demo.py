"""Track an object through the embedded clip with the embedded model: `sam2long track`, all choices made."""

from __future__ import annotations

import argparse
from pathlib import Path

from sam2long.cli.model import embedded_model
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompt_file import read_prompt_file
from sam2long.cli.track import TrackJob, track

ASSETS = Path(__file__).parent / "assets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, default=Path("outputs/demo"), help="default: outputs/demo")
    parser.add_argument("--device", help="cpu, cuda ... (default: cuda where there is one)")


def run(args: argparse.Namespace) -> int:
    model = embedded_model(args.device)
    # A second demo replaces the first; it asks only before it touches a folder of something else.
    again = (args.out / "run.json").exists()
    track(
        TrackJob(
            video=str(ASSETS / "demo.mp4"),
            prompts=read_prompt_file(ASSETS / "demo.json"),
            results=ResultFolder(args.out, overwrite=again),
            model=model,
        )
    )
    return 0
