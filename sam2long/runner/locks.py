"""Locks between processes that a killed process does not leave behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` during the block; the system frees it when the process ends, however it ends.

    Args:
        path: made if it is not there, gone afterwards.
        wait: until the lock is free, instead of giving False at once.

    Yields:
        Whether the lock is held.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = _take(file)
            if held and not _still_there(file, path):  # its last holder has removed it since it was opened
                continue
            if held or not wait:
                if held:  # for people who wonder who is at it
                    os.ftruncate(file, 0)
                    os.write(file, f"{os.getpid()}\n".encode())
                try:
                    yield held
                finally:
                    if held:
                        path.unlink(missing_ok=True)
                return
        finally:
            os.close(file)
        time.sleep(0.05)


def _still_there(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
