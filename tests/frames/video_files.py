"""Video files of any codec, written for a test, and their frames in order."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")


def picture(number: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A moving gradient with a square that jumps: no two pictures alike."""
    ys, xs = np.mgrid[:height, :width]
    image = np.stack([xs + 7 * number, 2 * ys + 3 * number, (xs + ys) // 2 + 5 * number], axis=-1).astype(np.uint8)
    rng = np.random.default_rng(number)
    y, x = rng.integers(10, height - 30), rng.integers(10, width - 30)
    image[y : y + 20, x : x + 20] = rng.integers(0, 255, 3)
    return image


def write_clip(
    path: Path,
    codec: str = "libx264",
    *,
    num_frames: int = 60,
    pixel_format: str = "yuv420p",
    gop: int = 12,
    b_frames: int | None = None,
    milliseconds: list[int] | None = None,
    codec_options: dict[str, str] | None = None,
    file_options: dict[str, str] | None = None,
    size: tuple[int, int] = (96, 128),
) -> Path:
    with av.open(str(path), "w", options=file_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=codec_options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24").reformat(format=pixel_format)
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode_in_order(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
