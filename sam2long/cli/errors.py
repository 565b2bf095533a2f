"""How the command line says no: one line, whatever went wrong."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


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
    """argparse that raises `UserError` instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)
