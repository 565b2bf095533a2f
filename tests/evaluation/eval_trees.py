"""Small trees of masks and boxes, made for a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 32)


def labels(*squares: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A label map of squares (label, top, left, side)."""
    found = np.zeros(size, np.uint8)
    for label, top, left, side in squares:
        found[top : top + side, left : left + side] = label
    return found


def write_video(folder: Path, maps: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> None:
    """Label maps as PNG files, named by their numbers where they have no names."""
    folder.mkdir(parents=True, exist_ok=True)
    named = maps if isinstance(maps, Mapping) else {f"{t:05d}": found for t, found in enumerate(maps)}
    for name, found in named.items():
        Image.fromarray(found).save(folder / f"{name}.png")


def write_davis(
    home: Path, truth: Mapping[str, Sequence[np.ndarray]], found: Mapping[str, Sequence[np.ndarray]]
) -> tuple[Path, Path]:
    """`gt` and `pred` in DAVIS' layout, for both tasks."""
    (home / "gt" / "ImageSets" / "2017").mkdir(parents=True)
    (home / "gt" / "ImageSets" / "2017" / "val.txt").write_text("\n".join(truth) + "\n")
    for name, maps in truth.items():
        for task in ("Annotations", "Annotations_unsupervised"):
            write_video(home / "gt" / task / "480p" / name, maps)
    (home / "pred").mkdir()
    for name, maps in found.items():
        write_video(home / "pred" / name, maps)
    return home / "gt", home / "pred"


def write_vos(
    home: Path, truth: Mapping[str, Sequence[np.ndarray]], found: Mapping[str, Sequence[np.ndarray]]
) -> tuple[Path, Path]:
    """`gt` and `pred` with a folder a video."""
    for part, videos in (("gt", truth), ("pred", found)):
        (home / part).mkdir(parents=True)
        for name, maps in videos.items():
            write_video(home / part / name, maps)
    return home / "gt", home / "pred"


def write_lasot(home: Path, truth: np.ndarray, found: np.ndarray, absent: Sequence[int] = ()) -> tuple[Path, Path]:
    """One video `cat-1`, its boxes (N, 4) and those found."""
    video = home / "gt" / "cat" / "cat-1"
    video.mkdir(parents=True)
    np.savetxt(video / "groundtruth.txt", truth, fmt="%g", delimiter=",")
    flags = ["1" if t in absent else "0" for t in range(len(truth))]
    (video / "full_occlusion.txt").write_text(",".join(flags))
    (video / "out_of_view.txt").write_text(",".join("0" * len(truth)))
    (home / "pred").mkdir()
    np.savetxt(home / "pred" / "cat-1.txt", found, fmt="%g", delimiter="\t")
    return home / "gt", home / "pred"
