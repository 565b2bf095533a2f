"""The command `sam2long`: it reads arguments, calls the library and prints; nothing in the library does.

Options and files of the user's come in, checked before any work is done; files of results, lines on the terminal and an
exit status go out. Each command is a module with `add_arguments` and `run`: start with `track`, `demo` or `bench_*`.
"""

from __future__ import annotations

import argparse
import errno
import sys
from importlib import import_module

from sam2long import __version__
from sam2long.cli.errors import Parser, UserError
from sam2long.cli.interrupt import terminated_as_interrupted
from sam2long.cli.saying import set_up

# A command is a module here with `add_arguments(parser)` and `run(args) -> int`, imported when it is asked for.
_COMMANDS = {
    "track": ("track", "track objects through a video from clicks, boxes or masks"),
    "vos": ("vos", "track the objects of a dataset: DAVIS, YouTube-VOS, MOSE, LVOS, SA-V, VOST ..."),
    "boxes": ("boxes", "track a benchmark of boxes: LaSOT, LaSOText, GOT-10k, OTB, TNL2K, NfS"),
    "batch": ("batch", "track a list of videos of your own"),
    "studio": ("studio", "track in the browser: click, watch, correct, export"),
    "export": ("export", "export what `track` wrote: COCO, MOT, YouTube-VOS, CSV, NumPy, overlay, cut-outs ..."),
    "eval": ("evaluate", "score predictions by the rules of a benchmark's official tool"),
    "table": ("table", "a table of evaluations beside the paper's numbers"),
    "download": ("download", "fetch SAM 2's official checkpoints"),
    "demo": ("demo", "SAM 2 beside the memory tree on the embedded clip, with the embedded model"),
    "bench": ("bench", "measure accuracy or speed"),
}
# Modules whose packages have another name.
_PACKAGES = {
    "PIL": "pillow",
    "hydra": "hydra-core",
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
}
# What a path may have wrong that was given; other errors of files come on the way.
_BAD_PATHS = {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments after the program's name; those of the process when left out.

    Returns:
        The exit status: 0 done; 2 bad input and 1 failed on the way (one line on stderr says what); 130 interrupted by
        Ctrl-C or SIGTERM.
    """
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        # Messages of libraries may span lines; a user gets one.
        print("sam2long: error:", " ".join(str(error).split()), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("sam2long: interrupted", file=sys.stderr)
        return 130


def _main(argv: list[str]) -> int:
    try:
        with terminated_as_interrupted():
            args = _parser(argv).parse_args(argv)
            set_up(args)
            return int(args.run(args))
    except ImportError as error:
        module = (error.name or "").split(".")[0]
        if module == "sam2long":
            raise
        needed = f"{module} is not installed: pip install {_PACKAGES.get(module, module)}"
        raise UserError(needed if isinstance(error, ModuleNotFoundError) and module else str(error)) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise UserError(f"{error.filename}: {error.strerror}", 2 if error.errno in _BAD_PATHS else 1) from error


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    """With the options of the command that is given."""
    parser = Parser(prog="sam2long", description="Track objects through long videos with SAM 2 and a memory tree.")
    parser.add_argument("--version", action="version", version=f"sam2long {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    given = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == given:
            room = import_module(f"sam2long.cli.{module}")
            command.description = room.__doc__
            room.add_arguments(command)
            command.set_defaults(run=room.run)
    return parser
