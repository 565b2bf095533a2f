"""Image folders, lists of paths and single images as sources of frames."""

from __future__ import annotations

import cProfile
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise_pictures import H, W, picture
from PIL import Image

from sam2long.frames import FrameError, open_frames
from sam2long.frames.images import natural_key


def write_images(folder: Path, names: list[str]) -> None:
    """One image per name, number `i` showing `picture(i)` (exactly, but for JPEG and WebP)."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / name)


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["10.png", "9.png", "100.png"], ["9", "10", "100"]),
        (["00001.PNG", "00000.png"], ["00000", "00001"]),
        (["frame_000010.tif", "frame_000002.tif"], ["frame_000002", "frame_000010"]),
        (["b.bmp", "a.bmp"], ["a", "b"]),
        (["cam2-t10.png", "cam10-t1.png", "cam2-t9.png"], ["cam2-t9", "cam2-t10", "cam10-t1"]),
    ],
)
def test_folder_is_read_in_natural_order(tmp_path: Path, names: list[str], stems: list[str]) -> None:
    write_images(tmp_path / "clip", names)
    source = open_frames(tmp_path / "clip")
    assert [source.name(idx) for idx in range(len(source))] == stems
    written = {Path(name).stem: number for number, name in enumerate(names)}
    for frame_idx, stem in enumerate(stems):
        np.testing.assert_array_equal(source[frame_idx], picture(written[stem]))
    assert (source.height, source.width) == (H, W)


@given(st.lists(st.integers(0, 10**12), min_size=1), st.text(st.characters(exclude_characters="/\0")))
def test_natural_key_orders_numbers_like_numbers(numbers: list[int], prefix: str) -> None:
    prefix = prefix + "x"  # a digit at the prefix's end would belong to the number
    names = [f"{prefix}{number}.jpg" for number in numbers]
    assert sorted(names, key=natural_key) == [f"{prefix}{number}.jpg" for number in sorted(numbers)]


@given(st.permutations(["1", "01", "a1", "A1", "a", "", "1a", "²", "٣", "3", "a-1", "a_1"]))
def test_natural_key_is_a_total_order(names: list[str]) -> None:
    ordered = sorted(sorted(names), key=natural_key)
    assert sorted(names, key=natural_key) == ordered


def test_folder_that_sam2_reads_is_read_as_sam2_reads_it(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.jpg", "0.jpg", "0.png", "thumbnail.png"])
    source = open_frames(str(tmp_path))
    assert [source.name(idx) for idx in range(len(source))] == ["0", "1"]


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png", "0.tif"])
    with pytest.raises(ValueError, match=r"0\.png and 0\.tif.*keep one kind"):
        open_frames(tmp_path)


def test_other_files_hidden_files_and_folders_are_no_frames(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png", "1.png"])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "2.png").mkdir()
    assert len(open_frames(tmp_path)) == 2


def test_image_kinds_become_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(picture(0))
    for number, mode in enumerate(["L", "P", "RGBA", "1", "CMYK"]):
        image.convert(mode).save(tmp_path / f"{number}.tif")
    source = open_frames(tmp_path)
    for number, mode in enumerate(["L", "P", "RGBA", "1", "CMYK"]):
        np.testing.assert_array_equal(source[number], np.array(image.convert(mode).convert("RGB")))


def test_sixteen_bit_images_are_refused_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((H, W), 40_000, dtype=np.uint16)).save(tmp_path / "0.tif")
    with pytest.raises(FrameError, match="more than 8 bits"):
        open_frames(tmp_path)[0]


def test_opening_ten_thousand_images_decodes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, ["00000.jpg"])
    for number in range(1, 10_000):
        (tmp_path / f"{number:05d}.jpg").touch()  # empty: decoding one would raise
    asked, status_of = [], os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: (asked.append(str(path)), status_of(path, **how))[1])
    source = open_frames(tmp_path)
    monkeypatch.undo()
    assert len(source) == 10_000
    assert source.name(9_999) == "09999"
    # Slow disks: a file's status is asked for once, the first's, which is read, a few times.
    assert set(Counter(path for path in asked if path.endswith(".jpg")).values()) <= {1, 2, 3}
    assert Counter(asked)[str(tmp_path / "09999.jpg")] == 1
    assert len(asked) < 10_020


def test_opening_takes_steps_in_proportion_to_the_images(tmp_path: Path) -> None:
    """Counted, as seconds are the machine's."""

    def steps(number_of_images: int) -> int:
        folder = tmp_path / str(number_of_images)
        write_images(folder, ["00000.jpg"])
        for number in range(1, number_of_images):
            (folder / f"{number:05d}.jpg").touch()
        profile = cProfile.Profile()
        profile.runcall(open_frames, folder)
        return sum(entry.callcount for entry in profile.getstats())

    fewer, more = steps(1_000), steps(2_000)
    assert 1_000 < fewer < more < 2.1 * fewer


def test_list_of_paths_keeps_its_order_and_names(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    source = open_frames([tmp_path / "b.png", str(tmp_path / "a.png")])
    np.testing.assert_array_equal(source[0], picture(1))
    assert [source.name(0), source.name(1)] == ["b", "a"]


def test_paths_of_one_stem_are_named_by_number(tmp_path: Path) -> None:
    write_images(tmp_path / "left", ["0.png"])
    write_images(tmp_path / "right", ["0.png"])
    source = open_frames([tmp_path / "left" / "0.png", tmp_path / "right" / "0.png"])
    assert [source.name(0), source.name(1)] == ["00000", "00001"]


def test_single_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    write_images(tmp_path, ["still.png"])
    source = open_frames(tmp_path / "still.png")
    assert len(source) == 1
    assert source.name(0) == "still"


class TestDamagedFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_images(tmp_path, [f"{number}.jpg" for number in range(4)])
        return tmp_path

    def test_truncated_image(self, folder: Path) -> None:
        content = (folder / "2.jpg").read_bytes()
        (folder / "2.jpg").write_bytes(content[: len(content) // 2])
        source = open_frames(folder)
        with pytest.raises(FrameError, match=rf"(?i)frame 2 of {folder}, 2\.jpg: .*truncated") as caught:
            source[2]
        assert (caught.value.source, caught.value.frame_idx) == (str(folder / "2.jpg"), 2)
        assert source[1].shape == source[3].shape == (H, W, 3)

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0" + bytes(100)])
    def test_file_that_is_no_image(self, folder: Path, content: bytes) -> None:
        (folder / "1.jpg").write_bytes(content)
        source = open_frames(folder)
        with pytest.raises(FrameError, match=r"frame 1 of .*1\.jpg"):
            source[1]
        assert source[2].shape == (H, W, 3)

    def test_first_file_that_is_no_image(self, folder: Path) -> None:
        (folder / "0.jpg").write_bytes(b"not an image")
        with pytest.raises(FrameError, match=r"frame 0 of .*0\.jpg"):
            open_frames(folder)

    def test_vanished_file(self, folder: Path) -> None:
        source = open_frames(folder)
        moved = (folder / "3.jpg").rename(folder / "elsewhere")
        with pytest.raises(FrameError, match=r"frame 3 of .*3\.jpg.*vanished"):
            source[3]
        moved.rename(folder / "3.jpg")
        assert source[3].shape == (H, W, 3)  # back again: the error is not remembered

    @pytest.mark.parametrize("size", ["same", "another"])
    def test_a_file_that_was_changed_is_no_other_picture(self, folder: Path, size: str) -> None:
        source = open_frames(folder)
        content = bytearray((folder / "2.jpg").read_bytes())
        content[-3] ^= 1
        (folder / "2.jpg").write_bytes(content if size == "same" else (folder / "1.jpg").read_bytes() + b"more")
        os.utime(folder / "2.jpg", ns=(0, 1_000_000_000))  # whatever the clock's grain
        with pytest.raises(FrameError, match=r"frame 2 of .*2\.jpg: the file was changed"):
            source[2]
        assert source[1].shape == (H, W, 3)

    def test_image_of_another_size(self, folder: Path) -> None:
        Image.fromarray(picture(0, 30, 20)).save(folder / "2.jpg")
        source = open_frames(folder)
        with pytest.raises(FrameError, match=r"frame 2 .*20x30 pixels, but the video is 32x24"):
            source[2]


def test_bad_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_frames(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"2 of 2 .*first .*a\.png"):
        open_frames([tmp_path / "a.png", tmp_path / "b.png"])
    with pytest.raises(ValueError, match=r"no images in .*\.jpg, \.jpeg, \.png, \.tif"):
        open_frames(tmp_path)
    with pytest.raises(ValueError, match="empty"):
        open_frames([])


@pytest.mark.parametrize(
    ("stray", "kinds"),
    [
        ("mask_0001.png", "3 as f_0001.jpg, 1 as mask_0001.png"),
        ("f_0001.png.jpg", "3 as f_0001.jpg, 1 as f_0001.png.jpg"),
        ("f_0001_mask_1.jpg", "3 as f_0001.jpg, 1 as f_0001_mask_1.jpg"),
        ("f_0001-annotated.jpg", "1 as f_0001-annotated.jpg"),
        ("f_0001_gtFine.png", "1 as f_0001_gtFine.png"),
        ("thumb.jpg", "1 as thumb.jpg"),
        ("f_0004.png", "1 as f_0004.png"),
    ],
)
def test_pictures_beside_frames_are_said(
    stray: str, kinds: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("f_0001.jpg", "f_0002.JPEG", "F_10.jpg"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    assert len(open_frames(tmp_path)) == 3
    assert not caplog.messages
    Image.new("RGB", (8, 6)).save(tmp_path / stray)
    assert len(open_frames(tmp_path)) == 4
    (line,) = caplog.messages
    assert "all its 4 images are read as frames" in line
    assert kinds in line
