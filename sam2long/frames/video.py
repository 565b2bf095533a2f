"""Video files, by frame index."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import IO, Any

from sam2long.frames.decoding import (
    UprightPixels,
    decode_packets,
    describe,
    open_container,
    video_stream,
)
from sam2long.frames.source import Frame, FrameError, FrameSource, require_size
from sam2long.frames.video_display import display_of, warn_if_cut
from sam2long.frames.video_index import Keyframe, VideoIndex, count_frames, index_video

logger = logging.getLogger(__name__)

_RECENT_BYTES = 96 << 20
_RECENT_FRAMES = 32


class VideoFrames(FrameSource):
    """The frames of a video file, URL or open binary file that FFmpeg can decode and seek in.

    Frame `i` is the `i`-th frame of decoding from the start to the end, whichever way it is reached:
    reading in order decodes each frame once, any other read begins at the last keyframe before it. The
    last decoded frames (32, or 96 MB) are kept, so that reading backwards decodes each stretch between
    keyframes a few times and not once per frame. A file without usable time stamps (an elementary stream, a
    damaged AVI) is decoded once to count its frames, and reading it backwards starts from its first frame.

    Opening reads every packet once to count the frames, and decodes the first frame for the size. Raises
    FileNotFoundError, or ValueError for a file without video or frames.
    """

    def __init__(self, video: str | IO[bytes]) -> None:
        self._video = video
        self._label = describe(video)
        self._lock = threading.RLock()
        self._container: Any = None
        self._stream: Any = None
        self._decoded: Iterator[tuple[int, Any]] = iter(())  # frames to come, with their numbers
        self._next_idx = 0  # the first frame that `_decoded` may still give
        self._recent: OrderedDict[int, Any] = OrderedDict()  # av.VideoFrame by number
        self._can_seek = True
        self._closed = False
        self._index = self._make_index()
        if self._index.num_frames == 0:
            raise ValueError(f"{self._label} holds no frame that can be decoded")
        self._start_at(None)
        first_idx, first = next(self._decoded, (0, None))
        if first is None:
            self.close()
            raise ValueError(f"{self._label} holds no frame that can be decoded")
        self._keep(first_idx, first)
        self._pixels_of = UprightPixels(first)
        self.height, self.width = self._pixels_of(first).shape[:2]
        self.display = display_of(self._stream, self._index, turned=self._pixels_of.turned)
        warn_if_cut(self._container, self._stream, self._index, self._label)

    def __len__(self) -> int:
        return self._index.num_frames

    def _read(self, frame_idx: int) -> Frame:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self._label} is closed")
            if frame_idx not in self._recent:
                try:
                    self._decode_until(frame_idx)
                except (OSError, ValueError) as error:  # the file is gone, or the network is
                    raise FrameError(self._label, frame_idx, f"it cannot be opened again: {error}") from error
            frame = self._recent.get(frame_idx)
            if frame is None:
                reason = "it cannot be decoded; the file is damaged or truncated there"
                raise FrameError(self._label, frame_idx, reason)
            try:
                # Under the lock: the colour converter is not thread-safe.
                return require_size(self._pixels_of(frame), self.height, self.width)
            except ValueError as error:
                raise FrameError(self._label, frame_idx, str(error)) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._decoded = iter(())
            self._recent.clear()
            if self._container is not None:
                self._container.close()
                self._container = None

    def _decode_until(self, frame_idx: int) -> None:
        """Decode until frame `frame_idx` is among the recent ones, if it can be decoded at all."""
        try:
            self._decode_from_keyframe(frame_idx)
        except _StampsChangedError:
            logger.warning("%s: time stamps change after seeking; going back decodes from the start", self._label)
            self._can_seek = False
            self._start_at(None)
            self._advance(frame_idx)

    def _decode_from_keyframe(self, frame_idx: int) -> None:
        keyframe = self._index.keyframe_before(frame_idx) if self._can_seek else None
        if (keyframe.frame_idx if keyframe else 0) <= self._next_idx <= frame_idx:
            self._advance(frame_idx)
            return
        # Where pictures are refreshed gradually a decoder shows nothing until all parts are, which can take
        # until after the next keyframe but one.
        for earlier in (0, 1, 2) if keyframe else (0,):
            self._start_at(self._index.keyframe_before(frame_idx, earlier) if keyframe else None)
            self._advance(frame_idx)
            if frame_idx in self._recent:
                return

    def _advance(self, frame_idx: int) -> None:
        for decoded_idx, frame in self._decoded:
            self._keep(decoded_idx, frame)
            if decoded_idx >= frame_idx:
                return
        self._next_idx = len(self)

    def _keep(self, frame_idx: int, frame: Any) -> None:
        self._next_idx = frame_idx + 1
        self._recent[frame_idx] = frame
        self._recent.move_to_end(frame_idx)
        frame_bytes = sum(plane.buffer_size for plane in frame.planes)
        while len(self._recent) > max(2, min(_RECENT_FRAMES, _RECENT_BYTES // frame_bytes)):
            self._recent.popitem(last=False)

    def _start_at(self, keyframe: Keyframe | None) -> None:
        """Set `_decoded` to begin at `keyframe`, or at the file's start where no seek leads there."""
        if keyframe is not None and any(self._seek(stamp, keyframe) for stamp in (keyframe.pts, keyframe.dts)):
            return
        self._reopen()
        self._next_idx = 0
        self._decoded = self._numbered(self._container.demux(self._stream), first_idx=0)

    def _seek(self, stamp: int, keyframe: Keyframe) -> bool:
        """Seek to `stamp` and set `_decoded` to begin at `keyframe`; False if the seek leads past it."""
        try:
            self._container.seek(stamp, stream=self._stream)
            packets = self._container.demux(self._stream)
            # Demuxers seek by pts or by dts, to a keyframe or into the middle of a packet, some too far.
            for packet in packets:
                packet_idx = self._index.packet_at(packet.pts, packet.size)
                if packet_idx == keyframe.packet_idx:
                    break
                if packet_idx is not None and packet_idx > keyframe.packet_idx:
                    return False
            else:
                return False
        except (OSError, ValueError) as error:
            logger.debug("%s: seeking to %d failed: %s", self._label, stamp, error)
            return False
        self._next_idx = keyframe.frame_idx
        self._decoded = self._numbered(self._expected(packet, packets, keyframe.packet_idx), keyframe.frame_idx)
        return True

    def _expected(self, packet: Any, rest: Iterator[Any], packet_idx: int) -> Iterator[Any]:
        """`packet` and the `rest`, as long as they are the packets of the index from `packet_idx` on.

        An MPEG program stream stamps only some packets. FFmpeg infers the others' time stamps from what it
        has read, so after a seek another packet can bear a frame's stamp: raises _StampsChangedError then.
        """
        yield packet
        for later_idx, later in enumerate(rest, packet_idx + 1):
            if later.size and not self._index.is_packet(later_idx, later.pts, later.size):
                raise _StampsChangedError
            yield later

    def _numbered(self, packets: Iterator[Any], first_idx: int) -> Iterator[tuple[int, Any]]:
        """The decoded frames from `first_idx` on, with their numbers."""
        by_time_stamp = self._index.by_time_stamp
        for count, frame in enumerate(decode_packets(packets, self._label)):
            frame_idx = self._index.frame_at(frame.pts) if by_time_stamp else count
            # After a seek a decoder may show pictures of before the keyframe, without what they refer to.
            if frame_idx is not None and frame_idx >= first_idx:
                yield frame_idx, frame

    def _make_index(self) -> VideoIndex:
        self._reopen()
        index = index_video(self._container, self._stream, self._label)
        if index is None:
            self._reopen()
            index = count_frames(self._container, self._stream, self._label)
        return index

    def _reopen(self) -> None:
        if not isinstance(self._video, str):
            self._video.seek(0)
        old, self._container = self._container, open_container(self._video)
        self._stream = video_stream(self._container)
        if old is not None:
            old.close()


class _StampsChangedError(Exception):
    """A packet bears another time stamp than when the file was indexed."""
