"""Video files: every frame by number equals sequential decoding, whatever the codec does."""

from __future__ import annotations

import gc
import io
import os
import random
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_files import decode_in_order, write_clip

from sam2long.frames import open_frames, stream_frames
from sam2long.frames.video import VideoFrames

av = pytest.importorskip("av")

OPEN_GOP = "open-gop=1:bframes=4:keyint=12:min-keyint=4"


def irregular(start: int = 0) -> list[int]:
    rng = random.Random(0)
    stamps = [start]
    while len(stamps) < 60:
        stamps.append(stamps[-1] + rng.choice([10, 33, 40, 200, 500]))
    return stamps


CLIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "h264 with B-frames": ("a.mp4", {}),
    "h264 open GOP mp4": ("a.mp4", {"codec_options": {"x264-params": OPEN_GOP}}),
    "h264 open GOP mkv": ("a.mkv", {"codec_options": {"x264-params": OPEN_GOP}}),
    "h264 open GOP ts": ("a.ts", {"codec_options": {"x264-params": OPEN_GOP}}),
    "h264 gradual refresh": ("a.mp4", {"codec_options": {"x264-params": "intra-refresh=1:keyint=12"}}),
    "h264 one keyframe": ("a.mp4", {"gop": 1000}),
    "h264 fragmented": ("a.mp4", {"file_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "h264 elementary, no time stamps": ("a.h264", {}),
    "h264 avi, invented time stamps": ("a.avi", {}),
    "h264 variable rate mp4": ("a.mp4", {"milliseconds": irregular()}),
    "h264 variable rate mkv": ("a.mkv", {"milliseconds": irregular()}),
    "h264 negative stamps mkv": ("a.mkv", {"milliseconds": irregular(-3000)}),
    "h264 edit list cuts the start off": ("a.mp4", {"milliseconds": irregular(-3000)}),
    "h265 open GOP": ("a.mp4", {"codec": "libx265", "codec_options": {"x265-params": f"log-level=none:{OPEN_GOP}"}}),
    "mpeg4 with B-frames": ("a.mp4", {"codec": "mpeg4", "b_frames": 2}),
    "mpeg4 avi": ("a.avi", {"codec": "mpeg4", "b_frames": 2}),
    "mpeg2 program stream": ("a.mpg", {"codec": "mpeg2video", "b_frames": 2}),
    "vp8 with hidden frames": (
        "a.webm",
        {"codec": "libvpx", "gop": 40, "codec_options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "4"}},
    ),
    "vp9 with hidden frames": (
        "a.webm",
        {"codec": "libvpx-vp9", "gop": 40, "codec_options": {"lag-in-frames": "16", "cpu-used": "6"}},
    ),
    "gif": ("a.gif", {"codec": "gif", "pixel_format": "rgb8"}),
    "motion jpeg": ("a.avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    "ffv1": ("a.mkv", {"codec": "ffv1", "pixel_format": "bgr0"}),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_any_frame_equals_sequential_decoding(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, options = CLIPS[kind]
    codec = options.get("codec", "libx264")
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = write_clip(tmp_path / name, **options)
    expected = decode_in_order(path)
    forward = range(len(expected))
    shuffled = random.Random(1).sample(forward, len(expected))
    # Two frames kept instead of 32, or most reads of so short a clip would come from memory.
    for kept, order in ((32, forward), (32, reversed(forward)), (2, shuffled), (2, reversed(forward))):
        monkeypatch.setattr("sam2long.frames.video_decoder._RECENT_FRAMES", kept)
        with open_frames(path) as source:
            assert len(source) == len(expected)
            for frame_idx in order:
                np.testing.assert_array_equal(source[frame_idx], expected[frame_idx], err_msg=f"frame {frame_idx}")


def test_edit_list_case_does_cut(tmp_path: Path) -> None:
    name, options = CLIPS["h264 edit list cuts the start off"]
    assert 0 < len(open_frames(write_clip(tmp_path / name, **options))) < 60


def count_decoded(source: VideoFrames, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded: list[int] = []
    keep = source._decoder._keep
    monkeypatch.setattr(source._decoder, "_keep", lambda idx, frame: (decoded.append(idx), keep(idx, frame)))
    return decoded


def test_work_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=240, gop=24, codec_options={"sc_threshold": "0"})
    source = open_frames(path)
    assert isinstance(source, VideoFrames)
    decoded = count_decoded(source, monkeypatch)
    for frame_idx in range(240):
        source[frame_idx]
    assert decoded == list(range(1, 240))  # opening decoded frame 0; nothing twice
    decoded.clear()
    source[130]
    assert decoded == list(range(120, 131))  # from the keyframe before it
    decoded.clear()
    for frame_idx in range(119, -1, -1):
        source[frame_idx]
    assert len(decoded) <= 2 * 120
    assert len(source._decoder._recent) <= 32


def test_decoded_frames_are_freed_at_once(tmp_path: Path) -> None:
    source = open_frames(write_clip(tmp_path / "a.mp4", num_frames=150))

    def alive() -> int:
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    gc.collect()
    gc.disable()  # a reference cycle through a frame would keep it until the next collection
    try:
        for frame_idx in range(150):
            source[frame_idx]
        assert 32 <= alive() <= 40
    finally:
        gc.enable()


def test_time_stamps_that_change_after_a_seek(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_clip(tmp_path / "a.mp4")
    expected = decode_in_order(path)
    source = open_frames(path)
    assert isinstance(source, VideoFrames)
    source[59]
    index = source._index
    packet_idx = int(index.key_packets[2]) + 3
    index.packet_sizes[packet_idx] += 1  # as if another packet bore this one's stamp
    frame_idx = int(index.key_frames[2]) + 8
    np.testing.assert_array_equal(source[frame_idx], expected[frame_idx])
    assert "time stamps change after seeking" in caplog.text
    for frame_idx in (5, 55, 30):
        np.testing.assert_array_equal(source[frame_idx], expected[frame_idx])


def test_names_are_numbers(tmp_path: Path) -> None:
    assert open_frames(write_clip(tmp_path / "a.mp4", num_frames=3)).name(2) == "00002"


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, ONE, -ONE, 0), lambda image: np.rot90(image, -1)),  # a phone held upright
        ((0, -ONE, ONE, 0), lambda image: np.rot90(image, 1)),
        ((-ONE, 0, 0, -ONE), lambda image: np.rot90(image, 2)),
        ((-ONE, 0, 0, ONE), lambda image: image[:, ::-1]),
        ((ONE, 0, 0, -ONE), lambda image: image[::-1]),
        ((0, ONE, ONE, 0), lambda image: image.transpose(1, 0, 2)),
    ],
)
def test_display_matrix_is_honoured(tmp_path: Path, matrix: tuple[int, ...], turn: Any) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=4)
    stored = decode_in_order(path)
    content = bytearray(path.read_bytes())
    a, b, c, d = matrix
    place = content.find(b"tkhd") + 44  # the 3x3 matrix of ISO 14496-12's track header, version 0
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    source = open_frames(path)
    for frame_idx in range(4):
        expected = turn(stored[frame_idx])
        np.testing.assert_array_equal(source[frame_idx], expected)
        assert (source.height, source.width) == expected.shape[:2]
    np.testing.assert_array_equal(next(stream_frames(path)), turn(stored[0]))


@pytest.mark.parametrize("as_input", [bytes, io.BytesIO, bytearray])
def test_content_in_memory(tmp_path: Path, as_input: Any) -> None:
    path = write_clip(tmp_path / "a.mp4")
    expected = decode_in_order(path)
    source = open_frames(as_input(path.read_bytes()))
    for frame_idx in (0, 40, 7, 59):
        np.testing.assert_array_equal(source[frame_idx], expected[frame_idx])


def test_open_file_and_path_as_bytes(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=5)
    with path.open("rb") as file:
        assert len(open_frames(file)) == 5
    assert len(open_frames(os.fsencode(path))) == 5


def test_reading_from_several_threads(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    expected = decode_in_order(path)
    source = open_frames(path)
    wrong: list[int] = []

    def read(seed: int) -> None:
        for frame_idx in random.Random(seed).sample(range(60), 20):
            if not np.array_equal(source[frame_idx], expected[frame_idx]):
                wrong.append(frame_idx)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
