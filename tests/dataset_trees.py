"""Small datasets of moving disks, in the layouts of benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from support import moving_disks

from sam2long.datasets import DatasetLayout

HEIGHT, WIDTH = 96, 128
PALETTE = bytes(range(3 * 16))  # not DAVIS', and of fewer than 256 colours


def write_frames(folder: Path, num_frames: int = 6, seed: int = 0, names: Sequence[str] = ()) -> np.ndarray:
    """A clip as JPEG files; returns its label maps [T, H, W]: disk 1, and disk 2 behind it."""
    frames, masks = moving_disks(num_frames, (HEIGHT, WIDTH), seed)
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames):
        name = names[t] if names else f"{t:05d}"
        Image.fromarray(frame).save(folder / f"{name}.jpg", quality=95)
    return np.where(masks[0], 1, np.where(masks[1], 2, 0)).astype(np.uint8)


def write_labels(folder: Path, maps: Mapping[str, np.ndarray], palette: bytes | None = PALETTE) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels in maps.items():
        image = Image.fromarray(labels)
        if palette is not None:
            image.putpalette(palette)
        image.save(folder / f"{name}.png")


def plain_dataset(home: Path, videos: Mapping[str, int] | None = None) -> DatasetLayout:
    """Videos (name: frames) of which the first frame alone is annotated, in `JPEGImages` and `Annotations`."""
    for seed, (name, num_frames) in enumerate((videos or {"alpha": 6, "beta": 5}).items()):
        maps = write_frames(home / "JPEGImages" / name, num_frames, seed)
        write_labels(home / "Annotations" / name, {"00000": maps[0]})
    return DatasetLayout(home / "JPEGImages", home / "Annotations")


def per_object_dataset(home: Path) -> DatasetLayout:
    """One video in SA-V's layout, annotated every fourth frame."""
    maps = write_frames(home / "JPEGImages" / "alpha")
    for k in (1, 2):
        masks = {f"{t:05d}": (maps[t] == k).astype(np.uint8) for t in range(0, len(maps), 4)}
        write_labels(home / "Annotations" / "alpha" / f"{k - 1:03d}", masks)
    return DatasetLayout(home / "JPEGImages", home / "Annotations", per_object=True)


def later_dataset(home: Path) -> DatasetLayout:
    """One video whose first object appears on frame 1 and whose second on frame 3, every other frame annotated."""
    maps = write_frames(home / "JPEGImages" / "alpha", 7)
    first = np.where(maps[1] == 1, 1, 0).astype(np.uint8)
    write_labels(home / "Annotations" / "alpha", {"00001": first, "00003": maps[3], "00005": maps[5]})
    return DatasetLayout(home / "JPEGImages", home / "Annotations", later=True)


def read_pngs(folder: Path) -> dict[str, np.ndarray]:
    """All PNG files below a folder by their paths in it."""
    return {str(path.relative_to(folder)): np.array(Image.open(path)) for path in sorted(folder.rglob("*.png"))}
