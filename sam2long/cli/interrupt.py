"""Ctrl-C without losing the frames that were tracked but not handed over yet."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterator
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


class InterruptionError(Exception):
    """What Ctrl-C becomes inside a generator: an `Exception`, at which a predictor hands over pending frames."""


def until_interrupted(results: Generator[Result, None, None]) -> Iterator[Result]:
    """Pass on results; at Ctrl-C, those the generator still gives when an exception reaches it, then stop.

    The exception never hits the consumer while it handles a result, so no result is half used. A second
    Ctrl-C stops at once.

    Raises:
        KeyboardInterrupt: after the last result of an interrupted generator.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield from results
        return
    inside = asked = delivered = False

    def on_ctrl_c(signum: int, frame: FrameType | None) -> None:
        nonlocal asked, delivered
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked = True
        if inside:
            delivered = True
            raise InterruptionError

    before = signal.signal(signal.SIGINT, on_ctrl_c)
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
        signal.signal(signal.SIGINT, before)
        results.close()
