"""Decoding a video as it comes: cameras, network streams, pipes."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from sam2long.frames.decoding import UprightPixels, decode_packets, open_container, video_stream
from sam2long.frames.source import Frame, FrameError, require_size

_LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp")


def stream_frames(
    source: str | os.PathLike[str], *, format: str | None = None, options: Mapping[str, str] | None = None
) -> Iterator[Frame]:
    """Decode `source` as it comes: uint8 RGB `[H, W, 3]` frames, upright, until it ends.

    `source` is `"-"` (standard input), a camera (`/dev/video0`), a pipe, a file, or any URL that FFmpeg
    opens (`rtsp://...`, `http://...`). `format` and `options` go to FFmpeg, for example
    `format="rawvideo"` or `options={"rtsp_transport": "tcp"}`. What cannot be decoded is logged and
    skipped. Opens at once and raises FileNotFoundError or ValueError for what cannot be opened; a frame of
    another size than the first raises FrameError. Closing the iterator closes the source.
    """
    name = os.fspath(source)
    if not is_url(name) and name != "-" and not os.path.exists(name):
        raise FileNotFoundError(f"no file, pipe or device {name}")
    if os.path.isdir(name):
        raise ValueError(f"{name} is a folder; open_frames reads folders of images")
    if format is None and name.startswith("/dev/video"):
        format = "v4l2"
    container = open_container("pipe:0" if name == "-" else name, format=format, options=options)
    return _decode(container, name)


def _decode(container: Any, name: str) -> Iterator[Frame]:
    with container:
        stream = video_stream(container, low_delay=True)
        pixels_of: UprightPixels | None = None
        size: tuple[int, int] | None = None
        for frame_idx, frame in enumerate(decode_packets(container.demux(stream), name)):
            pixels_of = pixels_of or UprightPixels(frame)
            pixels = pixels_of(frame)
            size = size or (pixels.shape[0], pixels.shape[1])
            try:
                yield require_size(pixels, *size)
            except ValueError as error:
                raise FrameError(name, frame_idx, str(error)) from error


def is_url(name: str) -> bool:
    """Whether `name` begins with a scheme (of two letters or more: `C:` is a Windows drive)."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", name) is not None and not os.path.exists(name)


def is_live(name: str) -> bool:
    """Whether `name` is a camera or a stream without an end that FFmpeg could tell."""
    if is_url(name):
        return name.partition(":")[0].lower() in _LIVE_SCHEMES
    return os.path.exists(name) and stat.S_ISCHR(os.stat(name).st_mode)
