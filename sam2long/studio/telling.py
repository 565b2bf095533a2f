"""From what a method raises to what a person reads, and the arguments that Gradio finds by their names and types."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from html import escape
from typing import Any

from sam2long.studio.gradio_library import gradio

logger = logging.getLogger(__name__)

FOR_PEOPLE = (ValueError, OSError, ImportError, RuntimeError, MemoryError)
"""Errors whose message is for the person at the page."""


def told(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method` as Gradio calls it: errors become messages on the page, and no updates change nothing.

    A last argument called `event` gets what a script sent, one called `progress` a bar.
    """
    gr = gradio()

    def call(*values: Any) -> Any:
        try:
            updates = method(*values)
            return gr.skip() if updates == {} else updates
        except FOR_PEOPLE as error:
            raise gr.Error(_words(error), print_exception=False) from error
        except Exception as error:
            logger.exception("the studio failed")
            message = f"That failed ({type(error).__name__}). The terminal says more."
            raise gr.Error(message, print_exception=False) from error

    def with_event(frame: Any, chosen: Any, masks_on: Any, event: Any) -> Any:
        return call(frame, chosen, masks_on, event)

    def with_progress(value: Any, progress: Any = gr.Progress()) -> Any:  # noqa: B008  Gradio looks for it there
        return call(value, progress)

    arguments = inspect.signature(method).parameters
    if "event" in arguments:
        with_event.__annotations__ = {"event": gr.EventData}
        return with_event
    return with_progress if "progress" in arguments else call


def say(text: str, seconds: float = 10) -> None:
    """A note on the page; by a method that is `told`."""
    gradio().Info(escape(text), duration=seconds)


def say_why(error: BaseException) -> None:
    """What an error says, where the method goes on and updates something; by a method that is `told`."""
    gradio().Warning(_words(error))


def _words(error: BaseException) -> str:
    """Of an error, as it is: it may begin with a name, and names of files and objects are no HTML."""
    return escape(" ".join(str(error).split()) or type(error).__name__)
