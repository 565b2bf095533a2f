"""Seamless colour tiles that clothe sprites and backgrounds.

A tile is named by (split, index) and drawn from its own random stream, so tiles of the splits `train`,
`val` and `test` are disjoint by construction and do not depend on what else is installed. Photographs that
ship inside scikit-image can be mixed in on request only.
"""

from __future__ import annotations

import functools
import itertools
import logging

import numpy as np
import torch
from numpy.typing import NDArray

TILE_SIZE = 128
SPLITS = {"train": 1, "val": 2, "test": 3}

# Colour photographs that lie inside the scikit-image wheel itself: naming any other would start a download.
_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina")
_log = logging.getLogger(__name__)


def split_code(split: str) -> int:
    """The number that keeps random streams of different splits apart.

    Raises:
        ValueError: `split` is not one of `train`, `val`, `test`.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    return SPLITS[split]


def _noise(rng: np.random.Generator, slope: float, low: float) -> NDArray[np.float64]:
    """A periodic random field of (TILE_SIZE, TILE_SIZE), zero mean and unit variance, spectrum ~ frequency^-slope."""
    fy = np.fft.fftfreq(TILE_SIZE)[:, None] * TILE_SIZE
    fx = np.fft.rfftfreq(TILE_SIZE)[None, :] * TILE_SIZE
    frequency = np.hypot(fy, fx)
    gain = np.where(frequency < low, 0.0, np.maximum(frequency, 1.0) ** -slope) * (frequency < 40)
    phase = rng.uniform(0, 2 * np.pi, frequency.shape)
    field = np.fft.irfft2(gain * np.exp(1j * phase), s=(TILE_SIZE, TILE_SIZE))
    return (field - field.mean()) / max(float(field.std()), 1e-9)


def _pattern(rng: np.random.Generator) -> NDArray[np.float64]:
    """A field in [0, 1]: stripes, checks, dots, patches or clouds, all of them seamless."""
    kind = rng.choice(["stripes", "checks", "dots", "patches", "clouds", "clouds"])
    y, x = np.mgrid[0:TILE_SIZE, 0:TILE_SIZE] * (2 * np.pi / TILE_SIZE)
    warp = rng.uniform(0.0, 0.7) * _noise(rng, 2.5, 1)
    kx, ky = rng.integers(0, 7), rng.integers(1, 7)
    if kind == "stripes":
        return 0.5 + 0.5 * np.tanh(3 * np.sin(kx * x + ky * y + warp))
    if kind == "checks":
        return 0.5 + 0.5 * np.tanh(5 * np.sin((kx + 1) * x + warp) * np.sin(ky * y + warp))
    if kind == "dots":
        return 1 / (1 + np.exp(-6 * (np.sin((kx + 2) * x + warp) * np.sin((ky + 1) * y - warp) - 0.35)))
    field = _noise(rng, rng.uniform(1.4, 2.4), rng.uniform(1, 4))
    if kind == "patches":
        levels = rng.integers(2, 5)
        return np.floor(np.clip(0.5 + 0.3 * field, 0, 0.999) * levels) / max(levels - 1, 1)
    return np.clip(0.5 + 0.25 * field, 0, 1)


def procedural_tile(split: str, index: int) -> NDArray[np.uint8]:
    """Draws tile `index` of `split`: (TILE_SIZE, TILE_SIZE, 3) uint8, seamless in both directions."""
    rng = np.random.default_rng([7001, split_code(split), index])
    palette = rng.uniform(0.05, 0.95, (3, 3))
    mix = _pattern(rng)[..., None]
    tile = palette[0] * (1 - mix) + palette[1] * mix
    if rng.random() < 0.5:
        second = _pattern(rng)[..., None] * rng.uniform(0.3, 0.9)
        tile = tile * (1 - second) + palette[2] * second
    tile = tile + rng.uniform(0.02, 0.12) * _noise(rng, rng.uniform(0.6, 1.5), 2)[..., None]
    return (np.clip(tile, 0, 1) * 255).round().astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _photographs() -> list[NDArray[np.uint8]]:
    try:
        from skimage import data
    except ImportError as error:
        raise ValueError("photographs need scikit-image: pip install scikit-image (extra sam2long[bench])") from error
    images = []
    for name in _PHOTOGRAPHS:
        try:
            images.append(np.asarray(getattr(data, name)())[..., :3])
        except Exception as error:  # another scikit-image release may ship fewer
            _log.warning("photograph %r is not in this scikit-image, left out: %s", name, error)
    return images


def photograph_tile(split: str, index: int) -> NDArray[np.uint8]:
    """A random crop of a photograph, (TILE_SIZE, TILE_SIZE, 3) uint8, mirrored at its edges to be seamless."""
    rng = np.random.default_rng([7002, split_code(split), index])
    images = _photographs()
    image = images[rng.integers(len(images))]
    step = int(rng.integers(1, 1 + min(image.shape[:2]) // TILE_SIZE))
    half = TILE_SIZE // 2
    top = rng.integers(0, image.shape[0] - step * half + 1)
    left = rng.integers(0, image.shape[1] - step * half + 1)
    crop = image[top : top + step * half : step, left : left + step * half : step]
    crop = np.concatenate([crop, crop[:, ::-1]], axis=1)
    return np.concatenate([crop, crop[::-1]], axis=0)


class TextureBank:
    """Tiles of one split, drawn when first needed and kept.

    Args:
        split: `train`, `val` or `test`.
        size: how many different tiles the split offers; tile names are taken modulo this.
        photographs: share of tiles in [0, 1] that are crops of photographs (needs scikit-image when > 0).
    """

    def __init__(self, split: str, *, size: int = 2048, photographs: float = 0.0) -> None:
        split_code(split)
        if not 0 <= photographs <= 1:
            raise ValueError(f"photographs={photographs} is not a share; choose a number from 0 to 1")
        self.split, self.size, self.photographs = split, size, photographs
        self._drawn: dict[int, torch.Tensor] = {}

    def _draw(self, index: int) -> torch.Tensor:
        if index not in self._drawn:
            is_photograph = (index * 0.6180339887) % 1 < self.photographs
            draw = photograph_tile if is_photograph else procedural_tile
            self._drawn[index] = torch.from_numpy(draw(self.split, index)).permute(2, 0, 1)
        return self._drawn[index]

    def tiles(self, indices: torch.Tensor) -> torch.Tensor:
        """The named tiles as (N, 3, TILE_SIZE, TILE_SIZE) float32 in [0, 1] on the device of `indices` (N,)."""
        drawn = torch.stack([self._draw(int(index) % self.size) for index in indices.tolist()])
        return drawn.to(indices.device).float() / 255


class ResidentBank(TextureBank):
    """A bank whose tiles all lie on one device: what a training loop needs to look up thousands a second.

    Args:
        split, size, photographs: as of `TextureBank`.
        device: where the tiles lie.
        varied: names that a bank of this size takes for the same tile have it in other colours, negated, mirrored and
            turned: 96 tiles are had of one. A model that has seen a thousand tiles often knows them by heart.
    """

    def __init__(
        self, split: str, device: torch.device, *, size: int = 1024, photographs: float = 0.0, varied: bool = False
    ) -> None:
        super().__init__(split, size=size, photographs=photographs)
        self.varied = varied
        self._resident = torch.stack([self._draw(index) for index in range(size)]).to(device)
        self._orders = torch.tensor(list(itertools.permutations(range(3))), device=device)

    def tiles(self, indices: torch.Tensor) -> torch.Tensor:
        """As `TextureBank.tiles`, gathered on the bank's own device without a host round trip."""
        names = indices.to(self._resident.device)
        tiles = self._resident[names % self.size].float() / 255
        return self._vary(tiles, names // self.size) if self.varied else tiles

    def _vary(self, tiles: torch.Tensor, variant: torch.Tensor) -> torch.Tensor:
        """Tiles (N, 3, TILE_SIZE, TILE_SIZE) as their numbers (N,) say; those of number 0 as they are."""
        order = self._orders[variant % 6]
        tiles = tiles.gather(1, order[:, :, None, None].expand_as(tiles))
        negated, mirrored, upended, turned = ((variant // 6 >> bit & 1 == 1)[:, None, None, None] for bit in range(4))
        tiles = torch.where(negated, 1 - tiles, tiles)
        tiles = torch.where(mirrored, tiles.flip(3), tiles)
        tiles = torch.where(upended, tiles.flip(2), tiles)
        return torch.where(turned, tiles.transpose(2, 3), tiles)
