"""Maps of object ids: those that a resize mixed are refused, thin objects are none of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2long.cli.errors import UserError
from sam2long.cli.mask_edges import soft_rims
from sam2long.cli.mask_file import read_masks
from sam2long.views.visualize import davis_palette

HEIGHT, WIDTH = 120, 160
YS, XS = np.mgrid[:HEIGHT, :WIDTH]
VOID = 255


def five_bars() -> np.ndarray:
    """Objects 1 to 5 beside each other, each of 19 x 59 pixels."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for k in range(5):
        ids[(abs(XS - 20 - 30 * k) < 10) & (abs(YS - 60) < 30)] = k + 1
    return ids


def touching(ids: tuple[int, ...]) -> np.ndarray:
    return np.pad(np.repeat(np.array([ids], np.uint8), 20, axis=1).repeat(60, axis=0), 25)


def resized(ids: np.ndarray, factor: float, how: Image.Resampling) -> np.ndarray:
    size = ids.shape[1], ids.shape[0]
    small = Image.fromarray(ids).resize((int(size[0] / factor), int(size[1] / factor)), Image.Resampling.NEAREST)
    return np.asarray(small.resize(size, how))


def save(ids: np.ndarray, path: Path, mode: str) -> Path:
    image = Image.fromarray(ids.astype(np.uint8))
    if mode == "P":
        image.putpalette(davis_palette().tobytes())
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("factor", [1.5, 2, 3, 4])
def test_ids_that_a_resize_mixed_are_refused(factor: float, how: Image.Resampling, mode: str, tmp_path: Path) -> None:
    """Though 1 to 4 are objects elsewhere."""
    ids = resized(five_bars(), factor, how)
    assert set(np.unique(ids)) >= {1, 2, 3, 4, 5}
    with pytest.raises(UserError, match="are the soft edge of other objects; resize ids with nearest neighbour"):
        read_masks(save(ids, tmp_path / "m.png", mode), None)


@pytest.mark.parametrize("ids", [(1, 2), (2, 1), (1, 3), (2, 4), (1, 2, 3)])
def test_two_ids_are_enough(ids: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="soft edge"):
        read_masks(save(resized(touching(ids), 2, Image.Resampling.BILINEAR), tmp_path / "m.png", "L"), None)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_hard_maps_are_taken(mode: str, tmp_path: Path) -> None:
    for hard in (five_bars(), resized(five_bars(), 3, Image.Resampling.NEAREST), touching((3, 1, 2, 5))):
        objects = read_masks(save(hard, tmp_path / "m.png", mode), None)
        assert all((mask == (hard == k)).all() for k, mask in objects.items())
        assert objects.keys() == set(np.unique(hard)) - {0}


def test_thin_objects_are_no_edges() -> None:
    """Lines, poles and single pixels, in front of others and beside them, whatever their ids."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        ids = np.zeros((HEIGHT, WIDTH), np.int64)
        for obj_id in rng.permutation(np.arange(1, 9)):
            x, y, angle = rng.integers(5, WIDTH - 5), rng.integers(5, HEIGHT - 5), rng.uniform(0, np.pi)
            ids[
                [
                    (XS - x) ** 2 + (YS - y) ** 2 < rng.integers(1, 600),
                    (x <= XS) & (x + rng.integers(1, 3) > XS),
                    abs((XS - x) * np.cos(angle) + (YS - y) * np.sin(angle)) < 1,
                    (x == XS) & (y == YS),
                ][rng.integers(4)]
            ] = obj_id
        assert soft_rims(ids, VOID) == []
    pole = np.where(abs(XS - 80) < 2, 1, np.where(YS > 60, 5, 0))  # in front of a larger object, half of it
    assert soft_rims(pole, VOID) == []
    assert soft_rims(np.where((pole == 5) & (YS < 64), VOID, pole), VOID) == []


@pytest.mark.parametrize("values", [(1, 2), (1, 2, 3), (254, 255)])
def test_grey_maps_without_black_are_refused(values: tuple[int, ...], tmp_path: Path) -> None:
    """As 1 for the object and 2 for the ground, or 3 for the edge: which is which is not said."""
    ids = np.full((HEIGHT, WIDTH), values[-1])
    for k, value in enumerate(values[:-1]):
        ids[20 : 60 - 10 * k, 20:80] = value
    with pytest.raises(UserError, match="none is black"):
        read_masks(save(ids, tmp_path / "m.png", "L"), None)


def test_nothing_but_void_is_no_object(tmp_path: Path) -> None:
    path = save(np.where(five_bars() == 2, VOID, 0), tmp_path / "m.png", "P")
    with pytest.raises(UserError, match=r"nothing but void \(255\); --obj-id 255 takes it"):
        read_masks(path, None)
    assert read_masks(path, VOID)[VOID].sum() == 19 * 59
