"""What commands tell on the way, and how much: results on stdout, bars and warnings on stderr."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings

LEVELS = ("debug", "info", "warning", "error")


def add_saying_arguments(parser: argparse.ArgumentParser, *, json_progress: bool = False) -> None:
    group = parser.add_argument_group("messages")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors, and draw no bars")
    if json_progress:
        group.add_argument("--json-progress", action="store_true", help="what happens, as lines of JSON on stdout")
    group.add_argument("--log-level", choices=LEVELS, help="what to log on stderr (default: warning)")


def set_up(args: argparse.Namespace) -> None:
    """As `add_saying_arguments` was answered, for the whole process; commands without these options log warnings."""
    quiet = bool(getattr(args, "quiet", False))
    level = getattr(args, "log_level", None) or ("error" if quiet else "warning")
    logging.basicConfig(level=level.upper(), format="sam2long: %(levelname)s: %(message)s")
    logging.getLogger().setLevel(level.upper())
    logging.getLogger("PIL").setLevel(max(logging.INFO, logging.getLogger().level))  # its debugging drowns ours
    if quiet:
        warnings.simplefilter("ignore")  # sam2's, of parts that it was built without
    as_json = bool(getattr(args, "json_progress", False))
    if quiet or as_json:
        os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported, by sam2 too
    _say.quiet = quiet or as_json


def say(line: str) -> None:
    """Print a line about results, unless the user wants quiet."""
    if not _say.quiet:
        print(line, flush=True)


def advise(line: str) -> None:
    """Print a line that helps on stderr, unless the user wants quiet."""
    if not _say.quiet:
        print(f"sam2long: {line}", file=sys.stderr, flush=True)


class _Say:
    quiet = False


_say = _Say()
