"""Ctrl-C and SIGTERM without losing the frames that were tracked but not handed over yet."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


# SIGTERM is what batch systems, containers and `kill` send.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, and reaches worker processes, as Ctrl-C in a terminal does."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield
        return

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class InterruptionError(Exception):
    """What the signals become inside a generator: an `Exception`, at which a predictor hands over pending frames."""


def until_interrupted(results: Generator[Result, None, None]) -> Iterator[Result]:
    """Pass on results; at Ctrl-C or SIGTERM, those the generator still gives when an exception reaches it, then stop.

    The exception never hits the consumer while it handles a result, so no result is half used. A second
    signal stops at once.

    Raises:
        KeyboardInterrupt: after the last result of an interrupted generator.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield from results
        return
    inside = asked = delivered = False

    def on_signal(signum: int, frame: FrameType | None) -> None:
        nonlocal asked, delivered
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler)
        asked = True
        if inside:
            delivered = True
            raise InterruptionError

    before = {each: signal.signal(each, on_signal) for each in SIGNALS}
    try:
        while True:
            inside = True
            if asked and not delivered:
                delivered = True
                result = results.throw(InterruptionError())
            else:
                result = next(results)
            inside = False
            yield result
    except StopIteration:
        pass
    except InterruptionError:
        raise KeyboardInterrupt from None
    finally:
        inside = False
        for each, handler in before.items():
            signal.signal(each, handler)
        results.close()
