"""The overlay: the tracked masks painted over the video, as an mp4 that plays everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sam2long.cli.errors import UserError
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompts import Prompt
from sam2long.files import replacing
from sam2long.frames import FrameSource
from sam2long.views.visualize import UInt8Array, draw_prompt, overlay

DEFAULT_FPS = Fraction(24)


class FrameWriter(Protocol):
    def __call__(self, frame: UInt8Array, /) -> None: ...


def require_av() -> None:
    """Raises UserError where PyAV is missing."""
    if find_spec("av") is None:
        raise UserError("the overlay video needs PyAV: pip install 'sam2long[video]', or add --no-overlay")


def frames_per_second(video: str) -> Fraction:
    """The rate of a video file; 24 for anything that does not say (folders of images, pipes)."""
    import av

    if not Path(video).is_file():
        return DEFAULT_FPS
    try:
        with av.open(video) as container:
            rate = container.streams.video[0].average_rate
    except (av.FFmpegError, IndexError):
        return DEFAULT_FPS
    # Damaged headers claim rates like 90000; players refuse them.
    return Fraction(rate) if rate and 0 < rate <= 240 else DEFAULT_FPS


def write_overlay(
    source: FrameSource, results: ResultFolder, prompts: Sequence[Prompt], fps: Fraction, progress: Any
) -> None:
    """Paint every frame of the video with the masks in `results` and the prompts given on it.

    It reads the masks back from the folder, so that memory stays flat and frames come in the video's order
    whatever the order of tracking. `progress` wraps the loop over frame indices (tqdm).
    """
    size = (source.height, source.width)
    with replacing(results.overlay) as part, mp4_writer(part, fps, size) as write:
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
def mp4_writer(path: Path, fps: Fraction, size: tuple[int, int]) -> Iterator[FrameWriter]:
    """A function that appends RGB frames, uint8 [H, W, 3] of `size` (H, W), to an H.264 mp4.

    Odd sizes get one more row or column, a copy of the last: yuv420p, which every player reads, needs even ones.
    """
    import av

    odd_height, odd_width = size[0] % 2, size[1] % 2
    # faststart: a browser can begin to play before it has the whole file.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("h264", rate=fps, options={"crf": "20", "preset": "fast"})
        stream.height, stream.width = size[0] + odd_height, size[1] + odd_width
        stream.pix_fmt = "yuv420p"

        def write(frame: UInt8Array, /) -> None:
            even = np.pad(frame, ((0, odd_height), (0, odd_width), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

        yield write
        container.mux(stream.encode())
