"""The page on the network: by default for this machine alone."""

from __future__ import annotations

from typing import Any

from sam2long.studio import look
from sam2long.studio.gradio_library import gradio
from sam2long.studio.page import Page
from sam2long.studio.studio import Studio

LOOPBACK = "127.0.0.1"


class Server:
    """A page that is served in the background until it is closed.

    Args:
        studio: whose.
        host: the address to listen on.
        port: None is the first free one from 7860 on.
        browser: whether a browser is opened.

    Attributes:
        url: where it is.

    Raises:
        ImportError: without Gradio. OSError: if the port is taken.
    """

    def __init__(self, studio: Studio, *, host: str = LOOPBACK, port: int | None = None, browser: bool = False) -> None:
        gr = gradio()
        self._blocks = Page(studio).build()
        theme = gr.themes.Soft(
            primary_hue="indigo", neutral_hue="zinc", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        )
        options: dict[str, Any] = {"share": False, "quiet": True, "ssr_mode": False, "show_error": False}
        _, self.url, _ = self._blocks.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            prevent_thread_lock=True,
            allowed_paths=[str(studio.root)],
            theme=theme,
            css=look.CSS,
            js=look.KEYS_SCRIPT,
            **options,
        )

    def close(self) -> None:
        self._blocks.close(verbose=False)
