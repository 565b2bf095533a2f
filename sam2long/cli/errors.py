"""The one exception that the command line turns into a line for its user."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right; the message is the whole of what is printed.

    `exit_status` is 2 for bad input, which stops before any work, and 1 for what fails on the way.
    """

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status
