"""Streams of video: files, pipes, standard input and HTTP, frame by frame or spooled."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_files import decode_in_order, write_clip

from sam2long.frames import FrameError, open_frames, stream_frames


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
                assert go_on.wait(60)
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
