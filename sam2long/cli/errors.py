"""How the command line says no: one line, whatever went wrong."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn


class UserError(Exception):
    """Something the user can put right; the message is the whole of what is printed.

    `exit_status` is 2 for bad input, which stops before any work, and 1 for what fails on the way.
    """

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status


@contextmanager
def late_step(what: str, kept: str) -> Iterator[None]:
    """Work after tracking: whatever fails in it takes nothing along.

    Args:
        what: it makes, such as "the overlay".
        kept: what is on disk all the same, and where.

    Raises:
        UserError: with status 1, saying both.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{what} could not be written: {reason} ({kept})", exit_status=1) from error


class Parser(argparse.ArgumentParser):
    """argparse that raises `UserError` instead of printing its usage and leaving, and drops nothing silently.

    Of an option that says what is shown, where results go or how exact they are, a second value is refused; of others,
    as everywhere, the last one counts, which scripts use to override theirs. An empty path is refused.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in (None, "store"):
            self.register("action", name, _Once)
        self.register("action", "store_const", _OnceConst)
        self.register("type", Path, _path)

    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message or message.endswith("required: VIDEO"):  # -5 and -dash look like options
            message += " (a value that begins with - is given with =, a file of such a name as ./-name)"
        raise UserError(message)


class _Once(argparse.Action):
    """argparse's "store", which remembers what it stored."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = vars(namespace).setdefault(_GIVEN, {})
        if self.dest in (*_PROMPTS, *_ONCE) and self.dest in given and given[self.dest] != values:
            several = "; many objects and frames: --prompts FILE.json" if self.dest in _PROMPTS else ""
            raise argparse.ArgumentError(self, f"given twice, as {given[self.dest]} and {values}: give one{several}")
        if option is not None:  # not of an argument by position, whose default comes first
            given[self.dest] = values
        setattr(namespace, self.dest, values)


class _OnceConst(_Once):
    """argparse's "store_const", likewise."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: Any = None, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, const=const, **kwargs)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        super().__call__(parser, namespace, self.const, option)


_GIVEN = "options given"  # no name that an option could have
_PROMPTS = ("box", "mask", "frame", "obj_id")
_ONCE = ("prompts", "frames", "out", "precision")


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a path is empty, which would be the current folder: name it, as .")
    return Path(text)
