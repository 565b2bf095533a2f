"""Where the frames of a video file lie: one pass over its packets, which decodes no pixels."""

from __future__ import annotations

import bisect
import logging
from dataclasses import dataclass, field
from typing import Any

from sam2long.frames.decoding import decode_packets, import_av

logger = logging.getLogger(__name__)

_MAX_REORDER = 64
"""Places a frame may lie from where its packet does; codecs reorder within 16, broken clocks do not care."""


@dataclass(frozen=True)
class Keyframe:
    """A packet from which decoding can begin."""

    frame_idx: int  # its place in the order of showing
    packet_idx: int  # its place in the file
    pts: int
    dts: int


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video in the order they are shown, and where decoding can begin.

    `frame_of_pts` numbers the frames by their time stamps. It is empty where these cannot tell frames
    apart (elementary streams have none, broken files repeat them): such frames were counted by decoding,
    and are found by decoding from the start.
    """

    num_frames: int
    frame_of_pts: dict[int, int] = field(default_factory=dict)
    keyframes: tuple[Keyframe, ...] = ()  # by frame_idx and by packet_idx at once
    packet_of_stamps: dict[tuple[int | None, int | None], int] = field(default_factory=dict)

    def keyframe_before(self, frame_idx: int, earlier: int = 0) -> Keyframe | None:
        """The `earlier`-th last keyframe from which `frame_idx` can be decoded; None for the file's start."""
        place = bisect.bisect_right(self.keyframes, frame_idx, key=lambda keyframe: keyframe.frame_idx)
        return self.keyframes[place - 1 - earlier] if place > earlier else None


def index_video(container: Any, stream: Any, label: str) -> VideoIndex | None:
    """Index the file by its packets; None where their time stamps do not tell the frames apart."""
    packets = list(_read_stamps(container, stream, label))
    shown = [packet for packet in packets if packet.shown]
    if not shown or any(packet.pts is None for packet in shown):
        return None
    # Pictures shown before the first keyframe refer to what came before the file was cut: no decoder shows
    # them, and a player's first frame is the keyframe.
    first_key = next((packet for packet in shown if packet.is_key), shown[0])
    shown = [packet for packet in shown if packet.pts >= first_key.pts]
    order = sorted(range(len(shown)), key=lambda idx: shown[idx].pts)
    frame_of_pts = {shown[idx].pts: frame_idx for frame_idx, idx in enumerate(order)}
    if len(frame_of_pts) < len(shown) or any(abs(a - b) > _MAX_REORDER for a, b in enumerate(order)):
        return None
    return VideoIndex(
        num_frames=len(shown),
        frame_of_pts=frame_of_pts,
        keyframes=_usable_keyframes(shown, frame_of_pts),
        packet_of_stamps={(packet.pts, packet.dts): packet.packet_idx for packet in packets},
    )


def count_frames(container: Any, stream: Any, label: str) -> VideoIndex:
    """Index a file without usable time stamps by decoding it from its start to its end."""
    logger.warning("%s has no usable time stamps: decoding it once to count its frames", label)
    return VideoIndex(num_frames=sum(1 for _ in decode_packets(container.demux(stream), label)))


@dataclass(frozen=True, slots=True)
class _Packet:
    packet_idx: int
    pts: Any  # int, or None where the container stores none
    dts: Any
    is_key: bool
    shown: bool


def _read_stamps(container: Any, stream: Any, label: str) -> Any:
    """A `_Packet` for every packet of `stream`, in the order of the file."""
    is_vp8 = stream.codec_context.name in ("vp8", "libvpx")
    packet_idx = 0
    try:
        for packet in container.demux(stream):
            if packet.size == 0:  # the empty packet that flushes the decoder
                continue
            # An edit list cuts frames off that other frames refer to: decoded, but not shown. VP8 says so
            # in bit 4 of a frame's first byte (RFC 6386, 9.1); VP9 and AV1 pack hidden with shown frames.
            shown = not packet.is_discard and not (is_vp8 and not bytes(packet)[0] & 0x10)
            yield _Packet(packet_idx, packet.pts, packet.dts, packet.is_keyframe, shown)
            packet_idx += 1
    except import_av().error.FFmpegError as error:
        logger.warning("%s breaks off after %d packets: %s", label, packet_idx, error)


def _usable_keyframes(shown: list[_Packet], frame_of_pts: dict[int, int]) -> tuple[Keyframe, ...]:
    keyframes: list[Keyframe] = []
    for packet in shown:
        if not packet.is_key or packet.dts is None:
            continue
        keyframe = Keyframe(frame_of_pts[packet.pts], packet.packet_idx, packet.pts, packet.dts)
        if not keyframes or keyframe.frame_idx > keyframes[-1].frame_idx:
            keyframes.append(keyframe)
    return tuple(keyframes)
