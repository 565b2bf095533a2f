"""Video files and streams: every frame by number equals sequential decoding, whatever the codec does."""

from __future__ import annotations

import functools
import gc
import http.server
import io
import os
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam2long.frames import FrameError, open_frames, stream_frames
from sam2long.frames.video import VideoFrames

av = pytest.importorskip("av")

OPEN_GOP = "open-gop=1:bframes=4:keyint=12:min-keyint=4"


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
        monkeypatch.setattr("sam2long.frames.video._RECENT_FRAMES", kept)
        with open_frames(path) as source:
            assert len(source) == len(expected)
            for frame_idx in order:
                np.testing.assert_array_equal(source[frame_idx], expected[frame_idx], err_msg=f"frame {frame_idx}")


def test_edit_list_case_does_cut(tmp_path: Path) -> None:
    name, options = CLIPS["h264 edit list cuts the start off"]
    assert 0 < len(open_frames(write_clip(tmp_path / name, **options))) < 60


def count_decoded(source: VideoFrames, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded: list[int] = []
    keep = source._keep
    monkeypatch.setattr(source, "_keep", lambda idx, frame: (decoded.append(idx), keep(idx, frame)))
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
    assert len(source._recent) <= 32


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


class TestDamage:
    def readable(self, source: Any, expected: list[np.ndarray]) -> list[bool | None]:
        """Per frame: does it read as in the whole file? None: it does not read, and says which it is."""
        result: list[bool | None] = []
        for frame_idx in range(len(source)):
            try:
                result.append(np.array_equal(source[frame_idx], expected[frame_idx]))
            except FrameError as error:
                said_so = str(error).startswith(f"frame {frame_idx} of {source._label}: it cannot be decoded")
                result.append(None if said_so else pytest.fail(str(error)))
        return result

    def test_truncated_file_gives_the_frames_it_has(self, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "a.mp4", file_options={"movflags": "faststart"}, size=(192, 256))
        expected = decode_in_order(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        source = open_frames(path)
        assert 24 <= len(source) < 60
        assert all(self.readable(source, expected)[: len(source) - 12])  # all but the last group

    def test_damage_in_the_middle_spoils_its_group_alone(self, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "a.mp4", size=(192, 256), file_options={"movflags": "faststart"})
        expected = decode_in_order(path)
        with av.open(str(path)) as container:
            keys = [packet.pos for packet in container.demux(video=0) if packet.is_keyframe]
        assert len(keys) >= 4
        content = bytearray(path.read_bytes())
        content[keys[2] : keys[3]] = bytes(keys[3] - keys[2])
        path.write_bytes(content)
        source = open_frames(path)
        assert len(source) == 60
        good = self.readable(source, expected)
        assert all(good[:20])
        assert not all(good[20:40])
        assert all(good[-12:])
        last = max(frame_idx for frame_idx, ok in enumerate(good) if not ok)
        np.testing.assert_array_equal(source[last + 1], expected[last + 1])  # after a failed read, any order
        np.testing.assert_array_equal(source[3], expected[3])

    def test_size_that_changes_midway(self, tmp_path: Path) -> None:
        first = write_clip(tmp_path / "a.ts", num_frames=30)
        second = write_clip(tmp_path / "b.ts", num_frames=30, size=(64, 96))
        joined = tmp_path / "joined.ts"
        joined.write_bytes(first.read_bytes() + second.read_bytes())
        source = open_frames(joined)
        assert (len(source), source.height, source.width) == (60, 96, 128)
        np.testing.assert_array_equal(source[29], decode_in_order(first)[29])
        with pytest.raises(FrameError, match=r"frame 45 of .*joined\.ts: it is 96x64 pixels, but the video is 128x96"):
            source[45]
        np.testing.assert_array_equal(source[2], decode_in_order(first)[2])

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"", "is empty"), (b"hello " * 99, "FFmpeg cannot read"), (bytes(9999), "FFmpeg cannot read")],
    )
    def test_what_is_no_video(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "a.mp4"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.mp4.*{message}|{message}.*a\.mp4"):
            open_frames(path)

    def test_index_at_the_end_lost(self, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "a.mp4")
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(ValueError, match=r"FFmpeg cannot read .*a\.mp4"):
            open_frames(path)

    def test_audio_alone(self, tmp_path: Path) -> None:
        with av.open(str(tmp_path / "a.wav"), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
        with pytest.raises(ValueError, match=r"a\.wav holds no video"):
            open_frames(tmp_path / "a.wav")

    def test_file_whose_frames_are_all_lost(self, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "a.mp4", file_options={"movflags": "faststart"})
        content = bytearray(path.read_bytes())
        place = content.find(b"mdat") + 4
        content[place:] = bytes(len(content) - place)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.mp4 holds no frame that can be decoded"):
            open_frames(path)


def test_file_that_vanishes_while_it_is_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.h264")  # no time stamps: going back means opening it again
    expected = decode_in_order(path)
    source = open_frames(path)
    source[45]
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(FrameError, match=r"frame 2 of .*a\.h264: it cannot be opened again"):
        source[2]
    np.testing.assert_array_equal(source[50], expected[50])  # what comes next still reads
    path.write_bytes(content)
    np.testing.assert_array_equal(source[2], expected[2])


def test_closed_video_says_so(tmp_path: Path) -> None:
    source = open_frames(write_clip(tmp_path / "a.mp4", num_frames=3))
    source.close()
    source.close()
    with pytest.raises(ValueError, match=r"a\.mp4 is closed"):
        source[0]


def test_missing_pyav_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=3)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'sam2long\[video\]'"):
        open_frames(path)


def test_package_imports_without_pyav() -> None:
    program = "import sys; sys.modules['av'] = None; import sam2long.frames"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class TestStreams:
    def test_file_as_a_stream(self, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "a.mp4")
        expected = decode_in_order(path)
        frames = list(stream_frames(path))
        assert len(frames) == len(expected)
        for frame, other in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(frame, other)

    def test_pipe_gives_frames_before_it_ends(self, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "a.ts", num_frames=300, size=(192, 256))
        expected = decode_in_order(path)
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        go_on = threading.Event()

        def feed() -> None:
            content = path.read_bytes()
            with pipe.open("wb", buffering=0) as file:
                file.write(content[: len(content) * 9 // 10])
                assert go_on.wait(30)
                file.write(content[len(content) * 9 // 10 :])

        feeder = threading.Thread(target=feed)
        feeder.start()
        frames = stream_frames(pipe)
        for frame_idx in range(100):
            np.testing.assert_array_equal(next(frames), expected[frame_idx])
        go_on.set()  # 100 frames are here although the feeder still holds the end back
        assert sum(1 for _ in frames) == 200
        feeder.join()

    @pytest.mark.parametrize("call", ["stream_frames('-')", "open_frames('-')"])
    def test_standard_input(self, tmp_path: Path, call: str) -> None:
        path = write_clip(tmp_path / "a.ts", num_frames=20)
        program = f"from sam2long.frames import *; print(sum(int(f.sum()) for f in {call}))"
        with path.open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", program], stdin=file, capture_output=True, text=True, timeout=60, check=True
            )
        assert int(done.stdout) == sum(int(frame.sum()) for frame in decode_in_order(path))

    def test_pipe_opened_by_index_is_spooled(self, tmp_path: Path) -> None:
        path = write_clip(tmp_path / "a.ts", num_frames=20)
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        feeder = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
        feeder.start()
        source = open_frames(pipe)
        feeder.join()
        np.testing.assert_array_equal(source[3], decode_in_order(path)[3])
        assert len(source) == 20

    def test_http(self, tmp_path: Path, server: str) -> None:
        path = write_clip(tmp_path / "a.mp4", file_options={"movflags": "faststart"})
        expected = decode_in_order(path)
        np.testing.assert_array_equal(next(stream_frames(f"{server}/a.mp4")), expected[0])
        source = open_frames(f"{server}/a.mp4")
        for frame_idx in (50, 3, 59):
            np.testing.assert_array_equal(source[frame_idx], expected[frame_idx])
        with pytest.raises(ValueError, match=r"FFmpeg cannot read .*missing\.mp4"):
            open_frames(f"{server}/missing.mp4")

    def test_size_change_is_an_error(self, tmp_path: Path) -> None:
        first = write_clip(tmp_path / "a.ts", num_frames=10)
        second = write_clip(tmp_path / "b.ts", num_frames=10, size=(64, 96))
        (tmp_path / "c.ts").write_bytes(first.read_bytes() + second.read_bytes())
        frames = stream_frames(tmp_path / "c.ts")
        for _ in range(10):
            next(frames)
        with pytest.raises(FrameError, match=r"frame 10 of .*c\.ts: it is 96x64"):
            next(frames)

    def test_errors_before_the_first_frame(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            stream_frames(tmp_path / "nowhere")
        with pytest.raises(ValueError, match="is a folder"):
            stream_frames(tmp_path)
        for live in ("rtsp://127.0.0.1:1/camera", "/dev/null"):
            with pytest.raises(ValueError, match="is live"):
                open_frames(live)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
