"""The overlay: the tracked masks painted over the video, as an mp4 that plays everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sam2long.cli.errors import UserError
from sam2long.cli.outputs import IdMap, ResultFolder
from sam2long.cli.prompts import Prompt
from sam2long.exports.encoding import DEFAULT_FPS as DEFAULT_FPS
from sam2long.exports.encoding import mp4_writer
from sam2long.files import replacing
from sam2long.frames import FrameSource
from sam2long.views.visualize import UInt8Array, draw_prompt, overlay


def require_av() -> None:
    """Raises UserError where PyAV is missing."""
    if find_spec("av") is None:
        raise UserError("the overlay video needs PyAV: pip install av (extra sam2long[video]), or add --no-overlay")


def write_overlay(
    source: FrameSource, results: ResultFolder, prompts: Sequence[Prompt], fps: Fraction | None, progress: Any
) -> None:
    """Paint every frame of the video with the masks in `results` and the prompts given on it.

    It reads the masks back from the folder, so that memory stays flat and frames come in the video's order
    whatever the order of tracking. Frames are shown when the video shows them, unless `fps` sets an even pace.
    `progress` wraps the loop over frame indices (tqdm).
    """
    size, display = (source.height, source.width), source.display
    if fps is not None:
        display = replace(display, ticks=None)
    rate = fps or display.frame_rate or DEFAULT_FPS
    with replacing(results.overlay) as part, mp4_writer(part, rate, size, display) as write:
        for t in progress(range(len(source))):
            id_map = results.read_mask(source.name(t))
            write(painted(source[t], id_map, [prompt for prompt in prompts if prompt.frame_idx == t]))


def painted(picture: UInt8Array, id_map: IdMap | None, prompts: Sequence[Prompt]) -> UInt8Array:
    """A frame with its masks (None: it was not tracked) and the prompts given on it."""
    if id_map is not None:
        picture = overlay(picture, {int(k): id_map == k for k in np.unique(id_map) if k > 0})
    for prompt in prompts:
        picture = draw_prompt(picture, obj_id=prompt.obj_id, points=prompt.points, labels=prompt.labels, box=prompt.box)
    return picture


class GrowingOverlay:
    """The overlay of a stream, written while frames come: however tracking ends, what was painted becomes a video.

    A failure of its own ends it and nothing else; `error` keeps it.
    """

    def __init__(self, path: Path, fps: Fraction, size: tuple[int, int]) -> None:
        self.error: Exception | None = None
        self._stack = ExitStack()
        with self._or_end():
            part = self._stack.enter_context(replacing(path))
            self._append = self._stack.enter_context(mp4_writer(part, fps, size))

    def write(self, frame: UInt8Array) -> None:
        if self.error is None:
            with self._or_end():
                self._append(frame)

    def close(self) -> None:
        with self._or_end():
            self._stack.close()

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error
            with suppress(type(error)), self._stack:  # nothing half written stays
                raise
