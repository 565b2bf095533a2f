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
from sam2long.cli.state_saver import require_safetensors

if TYPE_CHECKING:
    from sam2long.studio import Studio
    from sam2long.studio.server import Server
    from sam2long.views.visualize import BoolArray

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ADVICE = (
    "the embedded model tracks, which knows synthetic sprites and nothing else: for real video fetch SAM 2's weights, "
    "sam2long download sam2.1_hiera_large, and give them with --checkpoint"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", nargs="?", help="a video file or a folder of images to open")
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: for this machine alone; whoever reaches another can open your files)",
    )
    page.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    page.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    page.add_argument(
        "--session",
        metavar="DIR",
        type=Path,
        help="folder that the work on videos is kept in (default: ~/.cache/sam2long/studio)",
    )
    add_model_arguments(parser)
    add_saying_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.port is not None and not 0 < args.port < 65536:
        raise UserError(f"--port {args.port} must be 1 to 65535")
    choice = choose_model(args)
    require_safetensors("the studio")
    studio, server = _serve(args, choice)
    if args.checkpoint is None:
        advise(_ADVICE)
    if args.host not in _LOOPBACK:
        advise(f"--host {args.host}: whoever reaches this address can open videos and images of this machine")
    say(f"studio   {server.url}")
    say(f"kept in  {studio.root}")
    say("Ctrl-C ends it; the work is kept.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        say("saving ...")
    finally:
        server.close()
        studio.close()
    return 0


def _serve(args: argparse.Namespace, choice: object) -> tuple[Studio, Server]:
    """The page, its video open."""
    try:
        from sam2long.studio.gradio_library import gradio

        gradio()  # what is missing is said before the model is built
    except ImportError as error:
        raise UserError(str(error)) from error
    from sam2long.model_choice import ModelChoice
    from sam2long.runner.worker import TrackerSettings
    from sam2long.studio import Studio
    from sam2long.studio.server import Server

    assert isinstance(choice, ModelChoice)
    predictor = build_model(TrackerSettings(choice, apply_postprocessing=True))
    studio = Studio(predictor, (args.session or _default_root()).expanduser().absolute(), read_masks=read_masks_of_file)
    try:
        if args.video is not None:
            studio.open(args.video)
        return studio, Server(studio, host=args.host, port=args.port, browser=not args.no_browser)
    except (OSError, ValueError, ImportError) as error:
        studio.close()
        raise UserError(str(error)) from error


def _default_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sam2long" / "studio"


def read_masks_of_file(path: Path) -> dict[int, BoolArray]:
    """The objects of a mask image, by their number in it (docs/masks.md).

    Raises:
        ValueError: if it cannot be read, or in two ways.
    """
    from sam2long.cli.mask_file import read_masks

    try:
        return read_masks(path, None)
    except UserError as error:
        raise ValueError(str(error)) from error
