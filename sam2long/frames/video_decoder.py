"""A video file's decoder: any frame, decoded from the last keyframe before it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from typing import IO, Any

from sam2long.frames.decoding import decode_packets, open_container, video_stream
from sam2long.frames.display import Display
from sam2long.frames.video_display import display_of, warn_if_cut
from sam2long.frames.video_index import Keyframe, VideoIndex, count_frames, index_video

logger = logging.getLogger(__name__)

_RECENT_BYTES = 96 << 20
_RECENT_FRAMES = 32


class VideoDecoder:
    """Decodes a file, URL or open binary file, by the number of the frame; for one thread at a time.

    Args:
        video: what FFmpeg is to open.
        label: how logs name it.
        index: of the video, if it is known; otherwise every packet is read once to make it.

    Raises:
        ValueError, OSError: if it cannot be opened.
    """

    def __init__(self, video: str | IO[bytes], label: str, index: VideoIndex | None = None) -> None:
        self._video = video
        self._label = label
        self._container: Any = None
        self._stream: Any = None
        self._decoded: Iterator[tuple[int, Any]] = iter(())  # frames to come, with their numbers
        self._next_idx = 0  # the first frame that `_decoded` may still give
        self._recent: OrderedDict[int, Any] = OrderedDict()  # av.VideoFrame by number
        self._can_seek = True
        self.index = self._make_index() if index is None else index
        self._start_at(None)

    def first(self) -> Any:
        """The first frame that can be decoded, an `av.VideoFrame`; None if there is none. Before any other is read."""
        first_idx, first = next(self._decoded, (0, None))
        if first is not None:
            self._keep(first_idx, first)
        return first

    def display(self, *, turned: bool) -> Display:
        """How its frames are to be shown, `turned` if they are given a quarter turn; logs it if the file is cut off."""
        warn_if_cut(self._container, self._stream, self.index, self._label)
        return display_of(self._stream, self.index, turned=turned)

    def recent(self, frame_idx: int) -> Any:
        """Frame `frame_idx`, if it is among those decoded last."""
        return self._recent.get(frame_idx)

    def frame(self, frame_idx: int) -> Any:
        """Frame `frame_idx` as an `av.VideoFrame`; None where it cannot be decoded.

        Raises:
            ValueError, OSError: if the video has to be opened again and cannot.
        """
        if frame_idx not in self._recent:
            self._decode_until(frame_idx)
        return self._recent.get(frame_idx)

    def close(self) -> None:
        """Close the file. Idempotent; nothing is decoded afterwards."""
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
        keyframe = self.index.keyframe_before(frame_idx) if self._can_seek else None
        if (keyframe.frame_idx if keyframe else 0) <= self._next_idx <= frame_idx:
            self._advance(frame_idx)
            return
        # Where pictures are refreshed gradually a decoder shows nothing until all parts are, which can take
        # until after the next keyframe but one.
        for earlier in (0, 1, 2) if keyframe else (0,):
            self._start_at(self.index.keyframe_before(frame_idx, earlier) if keyframe else None)
            self._advance(frame_idx)
            if frame_idx in self._recent:
                return

    def _advance(self, frame_idx: int) -> None:
        for decoded_idx, frame in self._decoded:
            self._keep(decoded_idx, frame)
            if decoded_idx >= frame_idx:
                return
        self._next_idx = self.index.num_frames

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
                packet_idx = self.index.packet_at(packet.pts, packet.size)
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
            if later.size and not self.index.is_packet(later_idx, later.pts, later.size):
                raise _StampsChangedError
            yield later

    def _numbered(self, packets: Iterator[Any], first_idx: int) -> Iterator[tuple[int, Any]]:
        """The decoded frames from `first_idx` on, with their numbers."""
        by_time_stamp = self.index.by_time_stamp
        for count, frame in enumerate(decode_packets(packets, self._label)):
            frame_idx = self.index.frame_at(frame.pts) if by_time_stamp else count
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
