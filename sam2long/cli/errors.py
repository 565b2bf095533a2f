"""How the command line says no: one line, whatever went wrong."""

from __future__ import annotations

import argparse
from typing import NoReturn


class UserError(Exception):
    """Something the user can put right; the message is the whole of what is printed.

    `exit_status` is 2 for bad input, which stops before any work, and 1 for what fails on the way.
    """

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class Parser(argparse.ArgumentParser):
    """argparse that raises `UserError` instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)
