"""Whose turn it is with the predictor: a person's comes before the next frame of the tracking."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that one long job and many short ones share: the long one gives way between two frames.

    A plain lock would go back to the thread that has just let go of it, and the page would wait for the whole pass.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition()
        self._waiting = 0

    @contextmanager
    def person(self) -> Iterator[None]:
        """While the page reads or changes something."""
        with self._changed:
            self._waiting += 1
        self._lock.acquire()
        with self._changed:
            self._waiting -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def tracking(self) -> Iterator[None]:
        """While a pass runs; it calls `give_way` where the state is as others may see it."""
        with self._lock:
            yield

    def give_way(self) -> None:
        """Let those who wait have their turn; by the thread that is `tracking`."""
        if not self._waiting:
            return
        self._lock.release()
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._waiting)
        finally:
            self._lock.acquire()
