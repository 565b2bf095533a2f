"""Gradio, which only the page needs, and which is told to keep to this machine."""

from __future__ import annotations

import os
from typing import Any

# The page is rendered here and sends nothing anywhere: no analytics, no version check.
_AT_HOME = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SSR_MODE": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def gradio() -> Any:
    """The library.

    Raises:
        ImportError: naming the extra.
    """
    os.environ.update(_AT_HOME)
    try:
        import gradio as library
    except ImportError as error:
        raise ImportError("the studio needs Gradio: pip install gradio (extra sam2long[studio])") from error
    return library
