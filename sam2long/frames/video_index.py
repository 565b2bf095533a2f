"""Where the frames of a video file lie: one pass over its packets, which decodes no pixels."""

from __future__ import annotations

import logging
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2long.frames.decoding import decode_packets, import_av

logger = logging.getLogger(__name__)

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_MAX_REORDER = 64
"""Places a frame may lie from where its packet does. Codecs reorder within 16; more is a broken clock."""


def _none() -> Numbers:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Keyframe:
    """A packet from which decoding can begin."""

    frame_idx: int  # the first frame that needs nothing before the packet
    packet_idx: int  # the packet's place in the file
    pts: int
    dts: int


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The frames of a video in the order they are shown, and where decoding can begin.

    The arrays are empty where time stamps cannot tell frames apart (elementary streams have none, broken
    files repeat them): such frames were counted by decoding, and are found by decoding from the start.
    """

    num_frames: int
    frame_pts: Numbers = field(default_factory=_none)  # [num_frames], ascending
    packet_pts: Numbers = field(default_factory=_none)  # [packets], in the file's order, as the next
    packet_dts: Numbers = field(default_factory=_none)
    packet_sizes: Numbers = field(default_factory=_none)  # bytes
    key_packets: Numbers = field(default_factory=_none)  # [keyframes], ascending, as the next
    key_frames: Numbers = field(default_factory=_none)

    @property
    def by_time_stamp(self) -> bool:
        """Whether frames are told apart by their time stamps."""
        return len(self.frame_pts) > 0

    def frame_at(self, pts: int | None) -> int | None:
        """The number of the frame with this time stamp."""
        if pts is None:
            return None
        place = int(np.searchsorted(self.frame_pts, pts))
        return place if place < self.num_frames and self.frame_pts[place] == pts else None

    def packet_at(self, pts: int | None, size: int) -> int | None:
        """The place in the file of the last packet of this time stamp and size in bytes."""
        if pts is None:
            return None
        places = np.flatnonzero((self.packet_pts == pts) & (self.packet_sizes == size))
        return int(places[-1]) if len(places) else None

    def is_packet(self, packet_idx: int, pts: int | None, size: int) -> bool:
        """Whether the packet at `packet_idx` has this time stamp and size."""
        if packet_idx >= len(self.packet_pts):
            return False
        return bool(self.packet_pts[packet_idx] == pts and self.packet_sizes[packet_idx] == size)

    def keyframe_before(self, frame_idx: int, earlier: int = 0) -> Keyframe | None:
        """The last keyframe from which `frame_idx` can be decoded, or one `earlier`; None for the file's start."""
        place = int(np.searchsorted(self.key_frames, frame_idx, side="right")) - 1 - earlier
        if place < 0:
            return None
        packet_idx = int(self.key_packets[place])
        pts, dts = int(self.packet_pts[packet_idx]), int(self.packet_dts[packet_idx])
        return Keyframe(int(self.key_frames[place]), packet_idx, pts, dts)


def index_video(container: Any, stream: Any, label: str) -> VideoIndex | None:
    """Index the file by its packets; None where their time stamps do not tell the frames apart."""
    packets = _read_packets(container, stream, label)
    if packets is None:
        return None
    pts, dts, sizes, is_key, is_shown = packets
    if len(pts) == 0:
        return VideoIndex(num_frames=0)
    # Pictures shown before the first keyframe refer to what came before the file was cut: no decoder shows
    # them, and a player's first frame is the keyframe.
    first_key_pts = pts[np.argmax(is_key)] if is_key.any() else pts.min()
    shown_pts = pts[is_shown & (pts >= first_key_pts)]
    order = np.argsort(shown_pts, kind="stable")
    frame_pts = shown_pts[order]
    moves = np.abs(order - np.arange(len(order)))
    if (np.diff(frame_pts) == 0).any() or moves.max(initial=0) > _MAX_REORDER:
        return None
    # AVI stores no time stamps: where frames are reordered, FFmpeg's guess may number them as they are stored.
    if container.format.name == "avi" and stream.codec_context.has_b_frames and not moves.any():
        return None
    key_packets = np.flatnonzero(is_key)
    key_frames = np.searchsorted(frame_pts, pts[key_packets])
    ascending = np.diff(np.maximum.accumulate(key_frames), prepend=-1) > 0
    return VideoIndex(len(frame_pts), frame_pts, pts, dts, sizes, key_packets[ascending], key_frames[ascending])


def count_frames(container: Any, stream: Any, label: str) -> VideoIndex:
    """Index a file without usable time stamps by decoding it from its start to its end."""
    logger.warning("%s has no usable time stamps: decoding it once to count its frames", label)
    return VideoIndex(num_frames=sum(1 for _ in decode_packets(container.demux(stream), label)))


def _read_packets(container: Any, stream: Any, label: str) -> tuple[Numbers, Numbers, Numbers, Flags, Flags] | None:
    """Of every packet in the file's order: pts, dts, size, is it key, is it shown. None if one has no pts."""
    is_vp8 = stream.codec_context.name in ("vp8", "libvpx")
    pts, dts, sizes, is_key, is_shown = array("q"), array("q"), array("q"), bytearray(), bytearray()
    try:
        for packet in container.demux(stream):
            if packet.size == 0:  # the empty packet that flushes the decoder
                continue
            if packet.pts is None:
                return None
            pts.append(packet.pts)
            dts.append(packet.pts if packet.dts is None else packet.dts)
            sizes.append(packet.size)
            is_key.append(packet.is_keyframe)
            # An edit list cuts frames off that other frames refer to: decoded, but not shown. VP8 says so
            # in bit 4 of a frame's first byte (RFC 6386, 9.1); VP9 and AV1 pack hidden with shown frames.
            is_shown.append(not packet.is_discard and not (is_vp8 and not bytes(packet)[0] & 0x10))
    except import_av().error.FFmpegError as error:
        logger.warning("%s breaks off after %d packets: %s", label, len(pts), error)
    return (
        np.array(pts, dtype=np.int64),
        np.array(dts, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        np.array(is_key, dtype=np.bool_),
        np.array(is_shown, dtype=np.bool_),
    )
