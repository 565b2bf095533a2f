"""Video files that cannot be read, or not in full: what is whole still reads, and errors say what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_files import decode_in_order, write_clip

from sam2long.frames import FrameError, open_frames

av = pytest.importorskip("av")


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
    moved = path.rename(tmp_path / "elsewhere")
    with pytest.raises(FrameError, match=r"frame 2 of .*a\.h264: it cannot be opened again"):
        source[2]
    np.testing.assert_array_equal(source[50], expected[50])  # what comes next still reads
    moved.rename(path)
    np.testing.assert_array_equal(source[2], expected[2])


@pytest.mark.parametrize("name", ["a.mp4", "a.h264"])
def test_file_that_is_changed_is_no_other_video(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name)
    source = open_frames(path)
    first = source[0]
    path.write_bytes(write_clip(tmp_path / f"other-{name}", num_frames=59).read_bytes())
    os.utime(path, ns=(0, 1_000_000_000))  # whatever the clock's grain
    for frame_idx in (1, 40):
        with pytest.raises(FrameError, match=rf"frame {frame_idx} of .*{name}: the file was changed"):
            source[frame_idx]
    np.testing.assert_array_equal(source[0], first)  # decoded before


def test_closed_video_says_so(tmp_path: Path) -> None:
    source = open_frames(write_clip(tmp_path / "a.mp4", num_frames=3))
    source.close()
    source.close()
    with pytest.raises(ValueError, match=r"a\.mp4 is closed"):
        source[0]


def test_missing_pyav_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=3)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install av .extra sam2long\[video\]"):
        open_frames(path)


def test_package_imports_without_pyav() -> None:
    program = "import sys; sys.modules['av'] = None; import sam2long.frames"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
