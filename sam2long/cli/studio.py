"""Track in the browser: show objects by clicks, watch, correct, export."""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sam2long.cli.errors import UserError
from sam2long.cli.model import add_model_arguments, build_model, choose_model
from sam2long.cli.saying import add_saying_arguments, advise, say
from sam2long.runner.worker import TrackerSettings
from sam2long.studio import Studio

if TYPE_CHECKING:
    from sam2long.studio.studio import BoolArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", nargs="?", help="a video file or a folder of images to open")
    add_model_arguments(parser)
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: this machine alone; whoever reaches another one can open your files)",
    )
    page.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    page.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    page.add_argument(
        "--session", metavar="DIR", type=Path, help=f"folder that work is kept in (default: {_default_root()})"
    )
    add_saying_arguments(parser)
