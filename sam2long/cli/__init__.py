"""The command `sam2long`: it reads arguments, calls the library and prints; nothing in the library does.

Options and files of the user's come in, checked before any work is done; files of results, lines on the terminal and an
exit status go out. Each command is a module with `add_arguments` and `run`: start with `track`, `demo` or `bench_*`.
"""

from __future__ import annotations

import argparse
import sys

from sam2long import __version__
from sam2long.cli import batch, bench, boxes, demo, download, evaluate, export, studio, table, track, vos
from sam2long.cli.errors import Parser, UserError
from sam2long.cli.interrupt import terminated_as_interrupted
from sam2long.cli.saying import set_up


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments after the program's name; those of the process when left out.

    Returns:
        The exit status: 0 done; 2 bad input and 1 failed on the way (one line on stderr says what); 130 interrupted by
        Ctrl-C or SIGTERM.
    """
    try:
        with terminated_as_interrupted():
            args = _parser().parse_args(argv)
            set_up(args)
            return int(args.run(args))
    except UserError as error:
        # Messages of libraries may span lines; a user gets one.
        print("sam2long: error:", " ".join(str(error).split()), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("sam2long: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sam2long", description="Track objects through long videos with SAM 2 and a memory tree.")
    parser.add_argument("--version", action="version", version=f"sam2long {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    rooms = {
        "track": (track, "track objects through a video from clicks, boxes or masks"),
        "vos": (vos, "track the objects of a dataset: DAVIS, YouTube-VOS, MOSE, LVOS, SA-V, VOST ..."),
        "boxes": (boxes, "track a benchmark of boxes: LaSOT, LaSOText, GOT-10k, OTB, TNL2K, NfS"),
        "batch": (batch, "track a list of videos of your own"),
        "studio": (studio, "track in the browser: click, watch, correct, export"),
        "export": (export, "export what `track` wrote: COCO, MOT, YouTube-VOS, CSV, NumPy, overlay, cut-outs ..."),
        "eval": (evaluate, "score predictions by the rules of a benchmark's official tool"),
        "table": (table, "a table of evaluations beside the paper's numbers"),
        "download": (download, "fetch SAM 2's official checkpoints"),
        "demo": (demo, "SAM 2 beside the memory tree on the embedded clip, with the embedded model"),
        "bench": (bench, "measure accuracy or speed"),
    }
    for name, (room, summary) in rooms.items():
        command = commands.add_parser(name, help=summary, description=room.__doc__)
        room.add_arguments(command)
        command.set_defaults(run=room.run)
    return parser
