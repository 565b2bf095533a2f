"""What a forked process makes anew: threads do not come along, and a lock that one of them held stays locked."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import weakref
from typing import Any, Protocol


class ForkAware(Protocol):
    """What holds locks, threads or a decoder."""

    def begin_anew(self) -> None:
        """Called in a forked child, which has one thread: renew locks, forget what other threads were at."""


_alive: weakref.WeakSet[Any] = weakref.WeakSet()


def follow_forks(thing: ForkAware) -> None:
    """See that `thing.begin_anew()` is called in every process that is forked while it lives."""
    _alive.add(thing)


def leave_behind(*things: object) -> None:
    """Never free what a fork has inherited: a decoder would wait for threads that exist in the parent alone.

    Not even when the interpreter ends, which frees all that a module still holds.
    """
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _begin_anew() -> None:
    if "av" in sys.modules:
        # Garbage of the parent's may hold a decoder too; collected here, it would wait for threads that do not exist.
        gc.freeze()
    for thing in list(_alive):
        thing.begin_anew()


if hasattr(os, "register_at_fork"):  # where there is no fork, there is no such hook
    os.register_at_fork(after_in_child=_begin_anew)
