"""The overlay: the tracked masks painted over the video, as an mp4 that plays everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sam2long.cli.errors import UserError
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompts import Prompt
from sam2long.files import replacing
from sam2long.frames import FrameSource
from sam2long.frames.decoding import ffmpeg_path
from sam2long.frames.display import Display
from sam2long.views.visualize import UInt8Array, draw_prompt, overlay

DEFAULT_FPS = Fraction(24)
_SQUARE_AND_EVEN = Display()


class FrameWriter(Protocol):
    def __call__(self, frame: UInt8Array, /) -> None: ...


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


def painted(picture: UInt8Array, id_map: UInt8Array | None, prompts: Sequence[Prompt]) -> UInt8Array:
    """A frame with its masks (None: it was not tracked) and the prompts given on it."""
    if id_map is not None:
        picture = overlay(picture, {int(k): id_map == k for k in np.unique(id_map) if k > 0})
    for prompt in prompts:
        picture = draw_prompt(picture, obj_id=prompt.obj_id, points=prompt.points, labels=prompt.labels, box=prompt.box)
    return picture


@contextmanager
def mp4_writer(
    path: Path, fps: Fraction, size: tuple[int, int], display: Display = _SQUARE_AND_EVEN
) -> Iterator[FrameWriter]:
    """A function that appends RGB frames, uint8 [H, W, 3] of `size` (H, W), to an H.264 mp4.

    They are shown at the times of `display` where it has some, else at `fps`, in pixels of its shape. Odd sizes get one
    more row or column, a copy of the last: yuv420p, which every player reads, needs even ones.
    """
    import av

    odd_height, odd_width = size[0] % 2, size[1] % 2
    # faststart: a browser can begin to play before it has the whole file.
    with av.open(ffmpeg_path(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("h264", rate=fps, options={"crf": "20", "preset": "fast"})
        stream.height, stream.width = size[0] + odd_height, size[1] + odd_width
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = display.pixel_aspect
        if display.ticks is not None:
            stream.codec_context.time_base = display.tick
        place = count()

        def write(frame: UInt8Array, /) -> None:
            even = np.pad(frame, ((0, odd_height), (0, odd_width), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            if display.ticks is not None:
                picture.pts, picture.time_base = int(display.ticks[next(place)]), display.tick
            container.mux(stream.encode(picture))

        yield write
        container.mux(stream.encode())


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
