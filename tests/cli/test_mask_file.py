"""Mask images: what a person sees in a file is what is tracked, and what can be read in two ways is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sam2long.cli.errors import UserError
from sam2long.cli.mask_file import describe_mask, read_masks
from sam2long.views.visualize import davis_palette

HEIGHT, WIDTH = 120, 160


def id_map() -> np.ndarray:
    """A large, a middle and a small disk: objects 2, 3 and 1."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for obj_id, x, y, radius in ((2, 50, 60, 32), (3, 120, 40, 18), (1, 125, 95, 9)):
        ids[(xs - x) ** 2 + (ys - y) ** 2 < radius**2] = obj_id
    return ids


IDS = id_map()
OBJECT = IDS == 2
GREY = Image.fromarray(np.where(OBJECT, 255, 0).astype(np.uint8))
DAVIS = davis_palette()


def palette_image(indexes: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(indexes.astype(np.uint8))
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


def read(folder: Path, image: Image.Image, name: str = "m.png", **options: object) -> dict[int, np.ndarray]:
    image.save(folder / name, **options)
    return read_masks(folder / name, None)


def iou(mask: np.ndarray, expected: np.ndarray) -> float:
    return float((mask & expected).sum() / (mask | expected).sum())


# --- pictures of one object ------------------------------------------------------------------------------------------


def cutout(ground: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGBA", (WIDTH, HEIGHT), ground)
    image.putalpha(GREY)
    return image


def photo_cutout() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    pixels[..., 3] = np.where(OBJECT, 255, 0)
    return Image.fromarray(pixels)


def sixteen_bits(high: int) -> Image.Image:
    return Image.fromarray(np.where(OBJECT, high, 0).astype(np.uint16))


EXACT: dict[str, Image.Image] = {
    "1": GREY.convert("1"),
    "L of 0 and 1": Image.fromarray(OBJECT.astype(np.uint8)),
    "L of 0 and 128": GREY.point(lambda value: value // 2 + 1 if value else 0),
    "L of 16 and 235": GREY.point(lambda value: 235 if value else 16),
    "16 bits": sixteen_bits(65535),
    "16 bits, low byte empty": sixteen_bits(256),
    "32 bits": Image.fromarray(np.where(OBJECT, 70_000, 0).astype(np.int32)),
    "RGB": GREY.convert("RGB"),
    "one colour on black": Image.merge("RGB", [GREY, GREY.point(lambda value: value // 3), Image.new("L", GREY.size)]),
    "quantized, colour 0 white": palette_image(~OBJECT, np.array([[255] * 3, [0] * 3])),
    "quantized, colour 0 black": palette_image(OBJECT, np.array([[0] * 3, [255] * 3])),
    "grey palette": palette_image(np.where(OBJECT, 255, 0), np.arange(256).repeat(3).reshape(-1, 3)),
    "RGBA, all opaque": GREY.convert("RGBA"),
    "white paint on nothing": cutout((255, 255, 255, 0)),
    "black paint on nothing": cutout((0, 0, 0, 0)),
    "a photograph's cutout": photo_cutout(),
    "grey and alpha": Image.merge("LA", [Image.new("L", GREY.size, 255), GREY]),
}


@pytest.mark.parametrize("kind", EXACT)
def test_one_object(kind: str, tmp_path: Path) -> None:
    name = "m.tif" if kind == "32 bits" else "m.png"
    masks = read(tmp_path, EXACT[kind], name)
    assert list(masks) == [1]
    assert (masks[1] == OBJECT).all()
    assert list(read_masks(tmp_path / name, 9)) == [9]


@pytest.mark.parametrize(
    ("name", "image", "options"),
    [
        ("m.tif", GREY.convert("RGB").convert("CMYK"), {}),
        ("m.gif", GREY.convert("RGB"), {}),
        ("m.gif", GREY, {}),
        ("m.bmp", GREY.convert("1"), {}),
        ("m.webp", GREY.convert("RGB"), {"lossless": True}),
        ("m.png", GREY.convert("RGB").quantize(2), {}),
        ("m.tif", Image.fromarray(OBJECT.astype(np.float32)), {}),
        ("m.tif", Image.fromarray(OBJECT.astype(np.float32) * 255), {}),
    ],
)
def test_one_object_in_other_files(name: str, image: Image.Image, options: dict[str, object], tmp_path: Path) -> None:
    (mask,) = read(tmp_path, image, name, **options).values()
    assert (mask == OBJECT).all()


def blurred(radius: float) -> Image.Image:
    return GREY.filter(ImageFilter.GaussianBlur(radius))


def shrunk() -> Image.Image:
    """Drawn twice as large and shrunk: few steps of grey, on the edge alone."""
    return GREY.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST).rotate(7).resize(GREY.size, 4)


def specks(image: Image.Image) -> Image.Image:
    pixels = np.array(image)
    pixels[::7, ::9] = np.where(pixels[::7, ::9] > 127, 255, np.random.default_rng(0).integers(0, 5, (18, 18)))
    return Image.fromarray(pixels)


SOFT: dict[str, tuple[str, Callable[[], Image.Image], np.ndarray]] = {
    "feathered": ("m.png", lambda: blurred(5), OBJECT),
    "feathered, 16 bits": (
        "m.png",
        lambda: Image.fromarray(np.asarray(blurred(5)).astype(np.uint16) * 257),
        OBJECT,
    ),
    "feathered float": ("m.tif", lambda: Image.fromarray(np.asarray(blurred(4)).astype(np.float32) / 255), OBJECT),
    "JPEG": ("m.jpg", lambda: GREY, OBJECT),
    "JPEG in colours": ("m.jpg", lambda: GREY.convert("RGB"), OBJECT),
    "JPEG CMYK": ("m.jpg", lambda: GREY.convert("RGB").convert("CMYK"), OBJECT),
    "red JPEG": ("m.jpg", lambda: Image.merge("RGB", [GREY, *2 * [Image.new("L", GREY.size)]]), OBJECT),
    "red, soft": ("m.png", lambda: Image.merge("RGB", [blurred(2), *2 * [Image.new("L", GREY.size)]]), OBJECT),
    "a palette of greys": ("m.png", lambda: blurred(1).convert("RGB").quantize(5), OBJECT),
    "antialiased": ("m.png", shrunk, np.asarray(shrunk()) > 127),
    "antialiased RGB": ("m.png", lambda: shrunk().convert("RGB"), np.asarray(shrunk()) > 127),
    "specks": ("m.png", lambda: specks(GREY), OBJECT),
    "antialiased GIF": ("m.gif", lambda: shrunk().convert("RGB"), np.asarray(shrunk()) > 127),
}


@pytest.mark.parametrize("kind", SOFT)
def test_soft_edges_are_cut_at_half(kind: str, tmp_path: Path) -> None:
    name, make, expected = SOFT[kind]
    (mask,) = read(tmp_path, make(), name).values()
    assert iou(mask, expected) > 0.97
    assert abs(mask.sum() / expected.sum() - 1) < 0.03


def test_orientation_is_heeded(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    (mask,) = read(tmp_path, GREY.rotate(90, expand=True), "m.png", exif=exif).values()
    assert (mask == OBJECT).all()


# --- maps of ids -----------------------------------------------------------------------------------------------------

OTHER_COLOURS = np.random.default_rng(3).integers(0, 256, (256, 3))
OTHER_COLOURS[0] = 0
MAPS: dict[str, Image.Image] = {
    "DAVIS palette": palette_image(IDS, DAVIS),
    "another palette": palette_image(IDS, OTHER_COLOURS),
    "grey palette": palette_image(IDS, np.arange(256).repeat(3).reshape(-1, 3)),
    "grey": Image.fromarray(IDS),
    "16 bits": Image.fromarray(IDS.astype(np.uint16)),
    "DAVIS colours as RGB": palette_image(IDS, DAVIS).convert("RGB"),
    "DAVIS colours as RGBA": palette_image(IDS, DAVIS).convert("RGBA"),
    "DAVIS colours, quantized": palette_image(IDS, DAVIS).convert("RGB").quantize(4),
}


@pytest.mark.parametrize("kind", MAPS)
def test_maps_of_ids(kind: str, tmp_path: Path) -> None:
    masks = read(tmp_path, MAPS[kind])
    if kind == "DAVIS colours, quantized":  # numbered anew by whoever quantized: which is which is lost
        assert sorted(int(mask.sum()) for mask in masks.values()) == sorted(int((k == IDS).sum()) for k in (1, 2, 3))
        return
    assert list(masks) == [1, 2, 3]
    assert all((masks[k] == (k == IDS)).all() for k in masks)
    assert list(read_masks(tmp_path / "m.png", 3)) == [3]
    with pytest.raises(UserError, match="holds no object 7; it holds 1, 2, 3"):
        read_masks(tmp_path / "m.png", 7)


@pytest.mark.parametrize("kind", ["grey", "palette", "dark palette", "colours", "lone object"])
def test_255_is_void_and_said_so(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = np.where(IDS == 2, 2, 0).astype(np.uint8) if kind == "lone object" else IDS.copy()
    grown = np.asarray(Image.fromarray(ids).filter(ImageFilter.MaxFilter(3)))
    ids[(grown > 0) & (ids == 0)] = 255
    palettes = {"palette": DAVIS, "colours": DAVIS, "dark palette": np.arange(768).reshape(-1, 3) % 256}
    image = palette_image(ids, palettes[kind]) if kind in palettes else Image.fromarray(ids)
    with caplog.at_level(logging.WARNING):
        masks = read(tmp_path, image.convert("RGB") if kind == "colours" else image)
    assert list(masks) == ([2] if kind == "lone object" else [1, 2, 3])
    assert all((masks[k] == (k == IDS)).all() for k in masks)
    (line,) = caplog.messages
    assert "255 is void" in line
    assert (read_masks(tmp_path / "m.png", 255)[255] == (ids == 255)).all()


def test_one_object_of_a_map_keeps_its_id(tmp_path: Path) -> None:
    Image.fromarray(np.where(OBJECT, 2, 0).astype(np.uint8)).save(tmp_path / "m.png")
    assert list(read_masks(tmp_path / "m.png", None)) == [2]
    with pytest.raises(UserError, match="holds no object 3; it holds 2"):
        read_masks(tmp_path / "m.png", 3)


# --- neither ---------------------------------------------------------------------------------------------------------


def interpolated(mode: str) -> Image.Image:
    """Ids 0 and 5 as numbers, resized with interpolation: 1 to 4 are no objects."""
    fives = Image.fromarray(np.where(OBJECT, 5, 0).astype(np.uint8)).rotate(10, Image.Resampling.BILINEAR)
    return fives if mode == "L" else palette_image(np.asarray(fives), DAVIS)


def photograph() -> Image.Image:
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack([xs, ys, (xs + ys) // 2], axis=-1).astype(np.uint8))


SMOOTH = Image.Resampling.BILINEAR
REFUSED: dict[str, tuple[Image.Image, str]] = {
    "trimap": (Image.fromarray(np.choose(IDS, [0, 255, 128, 255]).astype(np.uint8)), "0, 128, 255"),
    "greys": (Image.fromarray(np.choose(IDS, [0, 85, 170, 255]).astype(np.uint8)), "0, 85, 170, 255"),
    "thin trimap": (
        Image.fromarray(
            np.where(OBJECT, 255, 0).astype(np.uint8) // 2 + np.asarray(GREY.filter(ImageFilter.MinFilter(7))) // 2
        ),
        "0, 127, 254: is 127 an object",
    ),
    "ids, interpolated": (interpolated("L"), "values 1, 2, 3, 4 are the soft edge"),
    "palette, interpolated": (interpolated("P"), "ids 1, 2, 3, 4 are the soft edge"),
    "colours, antialiased": (
        palette_image(IDS, DAVIS).convert("RGB").rotate(8, SMOOTH),
        r"colours \(\(0, 0, 0\), .*which is which",
    ),
    "colours, antialiased palette": (palette_image(IDS, DAVIS).convert("RGB").rotate(8, SMOOTH).quantize(9), "colours"),
    "unknown colours": (palette_image(IDS, OTHER_COLOURS).convert("RGB"), "4 colours"),
    "no black": (palette_image(OBJECT, np.array([[255] * 3, [255, 0, 0]])), "2 colours"),
    "photograph": (photograph(), "colours"),
    "grey photograph": (photograph().convert("L"), "neither black and white nor a map of ids"),
    "large ids": (Image.fromarray(IDS.astype(np.uint16) * 400), "0, 400, 800, 1200: object ids go from 1 to 255"),
    "two light greys": (Image.fromarray(np.where(OBJECT, 250, 150).astype(np.uint8)), "none is black"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_ambiguous_masks_are_refused(kind: str, tmp_path: Path) -> None:
    image, message = REFUSED[kind]
    with pytest.raises(UserError, match=rf"m\.png: .*{message}.*white on black"):
        read(tmp_path, image)


def test_several_images_in_one_file_are_refused(tmp_path: Path) -> None:
    for name in ("m.tif", "m.gif", "m.webp", "m.png"):
        with pytest.raises(UserError, match=rf"{name} holds 2 images: save the one"):
            read(tmp_path, GREY, name, save_all=True, append_images=[GREY.rotate(90)])


def test_a_mask_that_looks_inverted_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (mask,) = read(tmp_path, Image.fromarray(~np.asarray(GREY))).values()
    assert (mask == ~OBJECT).all()
    assert "is it inverted?" in caplog.text
    caplog.clear()
    read(tmp_path, GREY)
    assert not caplog.messages


def test_how_much_is_said(tmp_path: Path) -> None:
    mask = np.zeros((10, 10), bool)
    mask[:3, :4] = True
    assert describe_mask(mask) == "12 % of the frame"
    assert describe_mask(np.ones((2, 2), bool)) == "all of the frame"
    small = np.zeros((100, 100), bool)
    small[0, 0] = True
    assert describe_mask(small) == "0.01 % of the frame"
