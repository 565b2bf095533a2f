"""Stacks and animations as videos, photographs with an orientation, and folders that hold more than frames."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from noise_pictures import H, W, picture
from PIL import Image

from sam2long.frames import FrameError, open_frames

NUM_FRAMES = 7
ORIENTATION = 0x0112


def write_pages(path: Path, frames: list[np.ndarray], **options: object) -> Path:
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest, **options)
    return path


@pytest.fixture(params=["m.tif", "m.png", "m.webp"])
def pages(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    options = {"lossless": True} if request.param == "m.webp" else {}
    return write_pages(tmp_path / request.param, [picture(k) for k in range(NUM_FRAMES)], **options)


# --- several images in one file --------------------------------------------------------------------------------------


def test_all_images_of_a_file_are_frames(pages: Path) -> None:
    with open_frames(pages) as source:
        assert (len(source), source.height, source.width) == (NUM_FRAMES, H, W)
        for k in (0, 1, 5, 2, 6, 0):
            np.testing.assert_array_equal(source[k], picture(k))
        assert [source.name(k) for k in (0, 6)] == ["m_00000", "m_00006"]


def test_pages_travel_to_other_processes(pages: Path) -> None:
    source = open_frames(pages)
    source[3]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[5], picture(5))
    child = os.fork()
    if child == 0:
        os._exit(0 if all((source[k] == picture(k)).all() for k in (6, 1, 4)) else 1)
    np.testing.assert_array_equal(source[2], picture(2))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_picture_for_viewers_without_animations_is_no_frame(tmp_path: Path) -> None:
    frames = [picture(k) for k in range(4)]
    source = open_frames(write_pages(tmp_path / "m.png", frames, default_image=True))
    assert len(source) == 3
    np.testing.assert_array_equal(source[0], picture(1))


def test_pages_of_several_sizes_are_refused(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "m.tif", [picture(0), picture(1), picture(2, H // 2, W // 2)])
    with pytest.raises(ValueError, match=r"page 2 of .*m\.tif has 16x12 pixels, the first 32x24"):
        open_frames(path)


def test_a_damaged_page_is_named_and_spoils_no_other(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "m.tif", [picture(k) for k in range(4)], compression="tiff_adobe_deflate")
    with Image.open(path) as image:
        image.seek(2)
        (offset,), (length,) = image.tag_v2[273], image.tag_v2[279]
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    source = open_frames(path)
    with pytest.raises(FrameError, match=r"frame 2 of .*m\.tif"):
        source[2]
    np.testing.assert_array_equal(source[3], picture(3))
    np.testing.assert_array_equal(source[1], picture(1))


def test_a_stack_among_frames_is_refused(tmp_path: Path) -> None:
    write_pages(tmp_path / "0.tif", [picture(0), picture(1)])
    Image.fromarray(picture(2)).save(tmp_path / "1.tif")
    with pytest.raises(FrameError, match=r"0\.tif: it holds 2 images; give the file itself as the video"):
        open_frames(tmp_path)
    (tmp_path / "0.tif").rename(tmp_path / "2.tif")
    with pytest.raises(FrameError, match=r"2\.tif: it holds 2 images"):
        open_frames(tmp_path)[1]


# --- orientation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_photographs_are_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    stored = Image.fromarray(np.kron(picture(0, 2, 3), np.ones((16, 16, 1), np.uint8)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / f"0{suffix}", exif=exif, **({"lossless": True} if suffix == ".webp" else {"quality": 95}))
    # What the tag's values mean (EXIF 2.3): where row 0 and column 0 of what is stored belong.
    pixels = np.asarray(stored)
    turned = pixels.transpose(1, 0, 2)
    upright = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1],
    }[orientation]  # fmt: skip
    source = open_frames(tmp_path)
    assert (source.height, source.width) == upright.shape[:2]
    assert np.abs(source[0].astype(int) - upright).mean() < (4 if suffix == ".jpg" else 0.01)
    if suffix != ".tif":  # Pillow turns TIFFs itself
        assert open_frames(tmp_path, upright=False)[0].shape == pixels.shape


# --- folders ---------------------------------------------------------------------------------------------------------


def test_masks_beside_frames_are_no_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(3):
        for name in (f"frame_{k}.png", f"frame_{k}_mask.png", f"frame_{k}_depth.png"):
            Image.fromarray(picture(k)).save(tmp_path / name)
    source = open_frames(tmp_path)
    assert [source.name(k) for k in range(len(source))] == ["frame_0", "frame_1", "frame_2"]
    assert "reading 3 images, not 6 that lie beside them (frame_0_depth.png ...)" in caplog.text


def test_frames_called_masks_are_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(3):
        Image.fromarray(picture(k)).save(tmp_path / f"{k}_mask.png")
    assert len(open_frames(tmp_path)) == 3
    assert not caplog.messages


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    for k in (0, 2):
        Image.fromarray(picture(k)).save(tmp_path / f"{k}.png")
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match=r"1 images are links that lead nowhere; first 1\.png"):
        open_frames(tmp_path)
    (tmp_path / "1.png").unlink()
    (tmp_path / "1.png").symlink_to(tmp_path / "0.png")
    assert len(open_frames(tmp_path)) == 3


# --- video files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["12:30.mp4", "clip:a.mp4", "file:x.mp4"])
def test_colons_in_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    from video_files import decode_in_order, write_clip

    path = write_clip(tmp_path / "clip.mp4", num_frames=4)
    expected = decode_in_order(path)
    (tmp_path / name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    with open_frames(name) as source:
        np.testing.assert_array_equal(source[3], expected[3])
    with pytest.raises(FileNotFoundError, match=r"no file clap:a\.mp4, nor has FFmpeg a protocol of that name"):
        open_frames("clap:a.mp4")


@pytest.mark.parametrize("keep", [0.3, 1.0])
def test_a_matroska_file_that_breaks_off_is_said(keep: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("av")
    from video_files import write_clip

    path = write_clip(tmp_path / "a.mkv", num_frames=60)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with caplog.at_level(logging.WARNING), open_frames(path) as source:
        said = [line for line in caplog.messages if "is cut off: its header says 2.4" in line]
        assert len(said) == (1 if keep < 1 else 0)
        assert (len(source) == 60) == (keep == 1)


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_animations_keep_their_times(suffix: str, tmp_path: Path) -> None:
    """As shown: 0.1, 0.3, 0.1 and 0.5 seconds; whichever reader takes the file."""
    if suffix == "gif":
        pytest.importorskip("av")
    pictures = [Image.new("RGB", (32, 32), (60 * k, 0, 0)) for k in range(4)]
    for name, duration in (("uneven", [100, 300, 100, 500]), ("even", 40)):
        path = tmp_path / f"{name}.{suffix}"
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration)
    with open_frames(tmp_path / f"uneven.{suffix}") as source:
        display = source.display
        assert display.ticks is not None
        assert [float(ticks * display.tick) for ticks in display.ticks] == [0, 0.1, 0.4, 0.5]
        assert display.frame_rate == 4
        assert source[3][0, 0, 0] > 150
    with open_frames(tmp_path / f"even.{suffix}") as source:
        assert (source.display.frame_rate, source.display.ticks) == (25, None)


def test_pages_have_no_times(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (32, 32), (60 * k, 0, 0)) for k in range(4)]
    pictures[0].save(tmp_path / "pages.tif", save_all=True, append_images=pictures[1:])
    display = open_frames(tmp_path / "pages.tif").display
    assert (display.frame_rate, display.ticks) == (None, None)
