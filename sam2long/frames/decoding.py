"""FFmpeg through PyAV: opening, decoding past damage, and pixels the right way up."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import IO, Any

import numpy as np

from sam2long.frames.source import Frame

logger = logging.getLogger(__name__)


def import_av() -> ModuleType:
    """PyAV. Raises ImportError saying how to install it."""
    try:
        import av
    except ImportError as error:
        raise ImportError("reading video needs PyAV; pip install av (extra sam2long[video])") from error
    return av


def describe(video: str | IO[bytes]) -> str:
    """How errors name `video`."""
    return video if isinstance(video, str) else str(getattr(video, "name", "the video in memory"))


def ffmpeg_path(path: str | os.PathLike[str]) -> str:
    """A file's path as FFmpeg takes it: where a relative one holds a colon, what is before it would be a protocol."""
    return os.path.abspath(path)


def open_container(
    video: str | IO[bytes], *, format: str | None = None, options: Mapping[str, str] | None = None
) -> Any:
    """The opened `av` container. Raises ValueError for what FFmpeg cannot read, OSError for a file it may not."""
    av = import_av()
    place = ffmpeg_path(video) if isinstance(video, str) and os.path.exists(video) else video
    try:
        container = av.open(place, format=format, options=dict(options or {}))
    except (FileNotFoundError, PermissionError):
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(video, str) and os.path.isfile(video) and os.path.getsize(video) == 0:
            raise ValueError(f"{video} is empty (0 bytes)") from error
        if isinstance(error, av.error.ProtocolNotFoundError):
            raise FileNotFoundError(f"no file {video}, nor has FFmpeg a protocol of that name") from error
        # Of the error, what went wrong: FFmpeg names the file in its own way.
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"FFmpeg cannot read {describe(video)} as video: {reason}") from error
    if not container.streams.video:
        container.close()
        raise ValueError(f"{describe(video)} holds no video stream")
    return container


def video_stream(container: Any, *, low_delay: bool = False) -> Any:
    """The container's best video stream, set to decode on several threads."""
    stream = container.streams.best("video") or container.streams.video[0]
    # Frame threads are faster but hold back one frame each, which a live source must not.
    stream.thread_type = "SLICE" if low_delay else "AUTO"
    return stream


def decode_packets(packets: Iterable[Any], label: str) -> Iterator[Any]:
    """The decoded `av.VideoFrame`s of `packets`, in the order they are shown.

    A packet that cannot be decoded is logged and left out, and so is what follows the point where the file
    itself breaks off: whoever wants a frame of those finds it missing.
    """
    av = import_av()
    packets = iter(packets)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            logger.warning("%s breaks off: %s", label, error)
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.EOFError:  # decoding past the end, after a broken end of file
            return
        except av.error.FFmpegError as error:
            logger.info("%s: a packet at %s cannot be decoded: %s", label, packet.pts, error)
            continue
        yield from frames


class UprightPixels:
    """Decoded frames as uint8 RGB `[H, W, 3]`, turned and mirrored as the first one's display matrix says.

    One object for the frames of one video, used by one thread at a time. What `av.VideoFrame` would make
    for each frame is made once here: a colour converter, and the side data, whose reference back to its
    frame would keep every frame alive until Python next looks for cycles. A copy makes a converter of its own.
    """

    def __init__(self, first_frame: Any) -> None:
        self._converter: Any = None
        self.turned = self._flip_x = self._flip_y = False
        matrix = first_frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return
        # Nine int32, row by row: a point (x, y) goes to (a*x + c*y, b*x + d*y) plus a shift.
        a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
        self.turned = max(abs(b), abs(c)) > max(abs(a), abs(d))  # by a quarter: x and y trade places
        self._flip_x, self._flip_y = (c < 0, b < 0) if self.turned else (a < 0, d < 0)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_converter": None}

    def __call__(self, frame: Any) -> Frame:
        if self._converter is None:
            import_av()
            from av.video.reformatter import VideoReformatter

            self._converter = VideoReformatter()
        pixels: Any = self._converter.reformat(frame, format="rgb24").to_ndarray()
        if self.turned:
            pixels = pixels.transpose(1, 0, 2)
        pixels = pixels[:: -1 if self._flip_y else 1, :: -1 if self._flip_x else 1]
        return np.ascontiguousarray(pixels)
