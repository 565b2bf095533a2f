"""The overlay keeps the video's time and the shape of its pixels, and takes nothing along when it fails."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tracked_runs import HEIGHT, NUM_FRAMES, WIDTH, clip, read_masks

import sam2long.cli.overlay_video
import sam2long.frames
from sam2long.cli import main
from sam2long.cli.overlay_video import GrowingOverlay, mp4_writer
from sam2long.frames import open_frames
from sam2long.frames.display import Display

av = pytest.importorskip("av")

MILLISECOND = Fraction(1, 1000)
UNEVEN = [0, 40, 120, 160, 400, 440, 1000]


def write_video(path: Path, display: Display = Display()) -> Path:  # noqa: B008
    with mp4_writer(path, Fraction(25), (HEIGHT, WIDTH), display) as write:
        for frame in clip():
            write(frame)
    return path


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [round(frame.time, 3) for frame in container.decode(video=0)]


def track(video: Path, out: Path, *options: str) -> int:
    return main(["track", str(video), "--point", "40,45", "-o", str(out), *options])


def test_uneven_times_and_oblong_pixels_are_kept(tmp_path: Path) -> None:
    display = Display(pixel_aspect=Fraction(16, 11), ticks=np.array(UNEVEN), tick=MILLISECOND)
    video = write_video(tmp_path / "clip.mp4", display)
    assert times(video) == [t / 1000 for t in UNEVEN]
    assert track(video, tmp_path / "out") == 0
    overlay = tmp_path / "out" / "overlay.mp4"
    assert times(overlay) == [t / 1000 for t in UNEVEN]
    with av.open(str(overlay)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
    assert track(video, tmp_path / "even", "--fps", "10") == 0
    assert times(tmp_path / "even" / "overlay.mp4") == [t / 10 for t in range(NUM_FRAMES)]


def test_colons_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4").rename(tmp_path / "12:30.mp4")
    assert track(Path("12:30.mp4"), Path("run-12:30")) == 0
    assert times(tmp_path / "run-12:30" / "overlay.mp4") == times(tmp_path / "12:30.mp4")


@pytest.mark.parametrize("failure", [RuntimeError("no encoder"), OSError(28, "No space left on device"), ValueError()])
def test_an_overlay_that_fails_loses_nothing(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "clip.mp4")

    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(sam2long.cli.overlay_video, "painted", fail)
    assert track(video, tmp_path / "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("sam2long: error: the overlay could not be written: ")
    assert f"masks and scores are in {tmp_path / 'out'}" in error
    assert len(read_masks(tmp_path / "out")) == NUM_FRAMES
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["masks", "run.json", "scores.json", "state"]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `-` gives; a callable is called."""
    given: list[Any] = list(clip())

    def frames(_: str) -> Any:
        for item in given:
            if callable(item):
                item()
            else:
                yield item

    monkeypatch.setattr(sam2long.frames, "stream_frames", frames)
    return given


def test_a_streams_overlay_that_fails_does_not_end_tracking(
    stream: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paint, calls = sam2long.cli.overlay_video.painted, []

    def fail_third(*given: Any) -> Any:
        calls.append(given)
        return paint(*given) if len(calls) < 3 else np.zeros((2, 2, 7), np.uint8)

    monkeypatch.setattr(sam2long.cli.overlay_video, "painted", fail_third)
    assert track(Path("-"), tmp_path / "out") == 1
    assert "the overlay could not be written" in capsys.readouterr().err.splitlines()[-1]
    assert len(read_masks(tmp_path / "out")) == NUM_FRAMES
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["masks", "run.json", "scores.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stream_that_is_stopped_keeps_its_overlay(number: int, stream: list[Any], tmp_path: Path) -> None:
    stop: Callable[[], None] = lambda: os.kill(os.getpid(), number)  # noqa: E731
    stream[5:] = [stop, *stream[5:]]
    before = signal.getsignal(number)
    assert track(Path("-"), tmp_path / "out", "--max-pending", "0") == 130
    assert signal.getsignal(number) is before
    num_masks = len(read_masks(tmp_path / "out"))
    assert 4 <= num_masks < NUM_FRAMES
    assert len(times(tmp_path / "out" / "overlay.mp4")) == num_masks


def test_an_overlay_that_cannot_begin(tmp_path: Path) -> None:
    overlay = GrowingOverlay(tmp_path / "nowhere" / "overlay.mp4", Fraction(24), (HEIGHT, WIDTH))
    overlay.write(clip()[0])
    overlay.close()
    assert isinstance(overlay.error, OSError)


# --- what a run says -------------------------------------------------------------------------------------------------


def test_masks_are_described_and_the_embedded_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "clip.mp4")
    mask = np.zeros((HEIGHT + 1, WIDTH + 1), np.uint8)
    mask[30:60, 26:54] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    command = ["track", str(video), "--mask", str(tmp_path / "m.png"), "--no-overlay", "-o"]
    assert main([*command, str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert f"prompt   frame 0, object 1: {100 * (mask > 0).mean():.2g} % of the frame" in printed.out
    (advice,) = (line for line in printed.err.splitlines() if "knows synthetic sprites" in line)
    assert "sam2long download sam2.1_hiera_large" in advice
    assert "--checkpoint" in advice
    assert main([*command, str(tmp_path / "quiet"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert len(read_masks(tmp_path / "quiet")) == NUM_FRAMES


def test_preview_shows_the_prompted_masks_and_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "clip.mp4")
    prompts = [{"frame": t, "obj_id": 1, "points": [[40 + 6 * t, 45]]} for t in range(5)]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    out = tmp_path / "out"
    assert main(["track", str(video), "--prompts", str(tmp_path / "prompts.json"), "--preview", "-o", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == ["preview.png"]
    assert str(out / "preview.png") in capsys.readouterr().out
    picture = np.array(Image.open(out / "preview.png"))
    height = picture.shape[0] // 2
    assert picture.shape[1] > 4 * WIDTH  # four in the first row, one in the second
    assert height > HEIGHT
    first = picture[height - HEIGHT - 1 : height, : WIDTH + 1].astype(int)
    with open_frames(video) as source:
        change = np.abs(first - source[0]).mean(axis=2)
    assert change[36:54, 31:49].mean() > 20  # the disk is painted
    assert change[:20].mean() == 0
    assert (picture[height:, WIDTH + 10 :] == 0).all()
    assert track(video, out, "--no-overlay") == 0  # a preview does not stand in the way
    assert track(video, out, "--preview") == 0  # nor do results in the way of a preview
    assert len(read_masks(out)) == NUM_FRAMES
