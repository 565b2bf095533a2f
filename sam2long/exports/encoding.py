"""Video files, written frame by frame by FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from sam2long.frames.decoding import ffmpeg_path
from sam2long.frames.display import Display
from sam2long.views.visualize import UInt8Array

DEFAULT_FPS = Fraction(24)
_SQUARE_AND_EVEN = Display()


class FrameWriter(Protocol):
    def __call__(self, frame: UInt8Array, /) -> None: ...


@dataclass(frozen=True)
class Encoding:
    """A kind of video file.

    Attributes:
        container, codec: FFmpeg's names.
        pixels: how the file stores them.
        given: the pixels it is made of: RGB, or RGB with alpha.
        padding: where a size is odd, rows and columns are added: copies of the last, or zeros.
        options, container_options: of the codec and the container.
    """

    container: str
    codec: str
    pixels: str
    given: Literal["rgb24", "rgba"]
    padding: Literal["edge", "constant"]
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)


# faststart: a browser can begin to play before it has the whole file.
_FASTSTART = {"movflags": "+faststart"}
H264 = Encoding("mp4", "h264", "yuv420p", "rgb24", "edge", {"crf": "20", "preset": "fast"}, _FASTSTART)
# Zeros: what is added is transparent. A bit rate of 0 lets the quality (crf) decide alone; alt-ref frames lose alpha.
VP9_ALPHA = Encoding(
    "webm", "libvpx-vp9", "yuva420p", "rgba", "constant",
    {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "auto-alt-ref": "0"},
)  # fmt: skip
PRORES_4444 = Encoding(
    "mov", "prores_ks", "yuva444p10le", "rgba", "constant", {"profile": "4444", "alpha_bits": "16"}, _FASTSTART
)


@contextmanager
def video_writer(
    path: Path, fps: Fraction, size: tuple[int, int], display: Display, encoding: Encoding
) -> Iterator[FrameWriter]:
    """A function that appends frames, uint8 [H, W, 3 or 4] of `size` (H, W), to a video file.

    They are shown at the times of `display` where it has some, else at `fps`, in pixels of its shape. Odd sizes get one
    more row or column: halved colours (yuv420p), which every player reads, need even ones.
    """
    import av

    odd_height, odd_width = size[0] % 2, size[1] % 2
    with av.open(
        ffmpeg_path(path), "w", format=encoding.container, options=dict(encoding.container_options)
    ) as container:
        stream = container.add_stream(encoding.codec, rate=fps, options=dict(encoding.options))
        stream.height, stream.width = size[0] + odd_height, size[1] + odd_width
        stream.pix_fmt = encoding.pixels
        stream.codec_context.sample_aspect_ratio = display.pixel_aspect
        if display.ticks is not None:
            stream.codec_context.time_base = display.tick
        place = count()

        def write(frame: UInt8Array, /) -> None:
            even = np.pad(frame, ((0, odd_height), (0, odd_width), (0, 0)), mode=encoding.padding)
            picture = av.VideoFrame.from_ndarray(even, format=encoding.given)
            if display.ticks is not None:
                picture.pts, picture.time_base = int(display.ticks[next(place)]), display.tick
            container.mux(stream.encode(picture))

        yield write
        container.mux(stream.encode())


@contextmanager
def mp4_writer(
    path: Path, fps: Fraction, size: tuple[int, int], display: Display = _SQUARE_AND_EVEN
) -> Iterator[FrameWriter]:
    """`video_writer` of RGB frames to an H.264 mp4."""
    with video_writer(path, fps, size, display, H264) as write:
        yield write
