"""Videos and cut-outs, read back by FFmpeg and Pillow: pixels, transparency, sizes, time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from objects import HEIGHT, NUM_FRAMES, WIDTH, frames, masks, tracked
from PIL import Image

from sam2long.exports import FrameMasks, VideoInfo, export, open_export
from sam2long.frames import FrameSource, open_frames
from sam2long.frames.display import Display
from sam2long.views.visualize import overlay

av = pytest.importorskip("av")

UNEVEN = [0, 40, 120, 160, 400, 440]


@pytest.fixture
def source() -> FrameSource:
    return open_frames(frames())


def decoded(path: Path, decoder: str | None = None) -> tuple[Any, list[Any]]:
    """The stream's context and all frames; libvpx reads the alpha of VP9, FFmpeg's own decoder does not."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return stream.codec_context, list(container.decode(stream))
        context = av.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        packets = [*container.demux(stream)]
        return context, [frame for packet in packets for frame in context.decode(packet)]


def alpha_plane(picture: Any) -> np.ndarray:
    """0 to 1, as it is stored: swscale's way to RGBA misreads what libvpx decoded where a width is not aligned."""
    plane, bits = picture.planes[3], picture.format.components[3].bits
    rows = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(plane.height, -1)
    return rows[:, : plane.width] / (2**bits - 1)


def boxes_of(path: Path) -> list[bytes]:
    """The names of an mp4's or mov's boxes at the top, in their order."""
    data, place, names = path.read_bytes(), 0, []
    while place < len(data):
        names.append(data[place + 4 : place + 8])
        place += int.from_bytes(data[place : place + 4], "big")
    return names


def test_overlay_plays_in_browsers(tmp_path: Path, source: FrameSource) -> None:
    export(
        tracked("cat", 2), {"overlay": tmp_path / "overlay.mp4"}, VideoInfo(source=source, colors={"cat": (9, 255, 9)})
    )
    context, pictures = decoded(tmp_path / "overlay.mp4")
    assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    assert (context.height, context.width) == (HEIGHT + 1, WIDTH + 1)
    names = boxes_of(tmp_path / "overlay.mp4")
    assert names.index(b"moov") < names.index(b"mdat")
    assert len(pictures) == NUM_FRAMES
    for t, picture in enumerate(pictures):
        painted = {1: masks(t)[0]} if t == 0 else {1: masks(t)[0], 2: masks(t)[1]}
        expected = overlay(frames()[t], painted, colors={1: (9, 255, 9)}).astype(int)
        difference = np.abs(picture.to_ndarray(format="rgb24")[:HEIGHT, :WIDTH] - expected)
        assert np.median(difference) < 6
        for mask in painted.values():
            assert not mask.any() or difference[mask].mean() < 40, "of another colour it is 80 and more"


def test_untracked_frames_and_any_order(tmp_path: Path, source: FrameSource) -> None:
    seen = list(tracked())
    export([seen[4], seen[2], seen[4]], {"overlay": tmp_path / "some.mp4"}, VideoInfo(source=source))
    _, pictures = decoded(tmp_path / "some.mp4")
    assert len(pictures) == NUM_FRAMES
    changed = [
        np.abs(picture.to_ndarray(format="rgb24")[:HEIGHT, :WIDTH] - frames()[t].astype(int)).mean() > 10
        for t, picture in enumerate(pictures)
    ]
    assert changed == [t in (2, 4) for t in range(NUM_FRAMES)]


def test_frames_are_shown_when_the_video_shows_them(tmp_path: Path, source: FrameSource) -> None:
    source.display = Display(ticks=np.array(UNEVEN), tick=Fraction(1, 1000))
    for name, file in (("overlay", "a.mp4"), ("cutout-webm", "a.webm"), ("cutout-prores", "a.mov")):
        export(tracked(), {name: tmp_path / file}, VideoInfo(source=source))
        assert [round(frame.time * 1000) for frame in decoded(tmp_path / file)[1]] == UNEVEN, name
    even = open_export("overlay", tmp_path / "even.mp4", VideoInfo(source=source), fps=Fraction(10))
    for frame in tracked():
        even.write(FrameMasks.of(*frame))
    even.finish()
    assert [round(frame.time, 3) for frame in decoded(tmp_path / "even.mp4")[1]] == [t / 10 for t in range(NUM_FRAMES)]


def alpha_of(t: int) -> np.ndarray:
    return masks(t)[0] if t == 0 else masks(t).any(axis=0)


def test_cutout_images_are_exact(tmp_path: Path, source: FrameSource) -> None:
    export(tracked(), {"cutout": tmp_path / "cutout"}, VideoInfo(source=source))
    for t in range(NUM_FRAMES):
        with Image.open(tmp_path / "cutout" / f"{t:05d}.png") as image:
            assert image.mode == "RGBA"
            pixels = np.array(image)
        assert (pixels[..., 3] == alpha_of(t) * 255).all()
        assert (pixels[..., :3][alpha_of(t)] == frames()[t][alpha_of(t)]).all()
        assert not pixels[~alpha_of(t)].any(), "nothing of what was cut away is left in the file"


@pytest.mark.parametrize(
    ("to", "file", "decoder", "pixels"),
    [
        ("cutout-webm", "cutout.webm", "libvpx-vp9", "yuva420p"),
        ("cutout-prores", "cutout.mov", None, "yuva444p12le"),
    ],
)
def test_cutout_videos_are_transparent(
    tmp_path: Path, source: FrameSource, to: str, file: str, decoder: str | None, pixels: str
) -> None:
    export(tracked(), {to: tmp_path / file}, VideoInfo(source=source))
    context, pictures = decoded(tmp_path / file, decoder)
    assert context.pix_fmt == pixels
    assert len(pictures) == NUM_FRAMES
    for t, picture in enumerate(pictures):
        alpha, read = alpha_plane(picture), picture.to_ndarray(format="rgb24")[:HEIGHT, :WIDTH].astype(int)
        assert max(alpha[HEIGHT:].max(initial=0), alpha[:, WIDTH:].max(initial=0)) < 0.1, "what makes the size even"
        opaque = alpha[:HEIGHT, :WIDTH] > 0.5
        union = (opaque | alpha_of(t)).sum()
        assert (opaque & alpha_of(t)).sum() / union > 0.98
        inside = np.abs(read - frames()[t])[opaque & alpha_of(t)]
        assert np.median(inside) < 6
        assert read[~alpha_of(t)].mean() < 20


def test_what_shows_frames_needs_them_at_once(tmp_path: Path) -> None:
    def never() -> Any:
        raise AssertionError("asked for a frame")
        yield

    for name in ("overlay", "cutout", "cutout-webm", "cutout-prores"):
        with pytest.raises(ValueError, match="source=open_frames"):
            export(never(), {name: tmp_path / "x"})
    assert not list(tmp_path.iterdir())


def test_a_video_of_another_size(tmp_path: Path) -> None:
    other = VideoInfo(source=open_frames(frames()[:, :-2]))
    with pytest.raises(ValueError, match=r"masks are \(45, 67\) .*, the video \(43, 67\)"):
        export(tracked(), {"overlay": tmp_path / "x.mp4"}, other)
    assert not list(tmp_path.iterdir())
