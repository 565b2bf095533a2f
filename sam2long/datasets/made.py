"""A dataset that can be had at once: synthetic clips in the layouts of DAVIS 2017, SA-V and LVOS.

The three hold the same clips; what differs is how they are laid out and which frames are annotated (and in SA-V objects
are left out that its evaluator cannot score).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2long.synthetic import Clip, render, sample_scene

LAYOUTS = ("davis", "sav", "lvos")
_SAV_STEP, _LVOS_STEP = 4, 5  # frames from one annotation to the next
_UNSEEN = ("reappear", "crowd")  # suites that LVOS' evaluator shall take for unseen categories
_QUALITY = 95

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class MadeClip:
    """Which clip: everything its pixels depend on."""

    suite: str
    seed: int
    num_frames: int
    size: int
    split: str = "test"

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.seed:03d}"


def write_made(root: Path, clips: Sequence[MadeClip], palette: bytes, *, progress: Callable[[], None]) -> None:
    """Write clips in all layouts: `root/davis`, `root/sav/sav_val` and `root/lvos/valid`, each whole or not at all.

    Args:
        root: made if it is not there.
        clips: with unlike names.
        palette: colours of the masks, RGB triples.
        progress: called after every clip.

    Raises:
        FileExistsError: one of the layouts is there already.
        OSError: they cannot be written.
        ValueError: a clip cannot be drawn.
    """
    for layout in LAYOUTS:
        if (root / layout).exists():
            raise FileExistsError(f"{root / layout} is there already: give another folder, or remove it")
    check_lengths(clips)
    part = root / f".part-{os.getpid()}"
    part.mkdir(parents=True)
    try:
        for clip in clips:
            drawn = render(sample_scene(clip.suite, clip.seed, num_frames=clip.num_frames, split=clip.split), clip.size)
            _write_clip(part, clip.name, drawn, palette)
            progress()
        _write_lists(part, clips)
        for layout in LAYOUTS:
            os.replace(part / layout, root / layout)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_lengths(clips: Sequence[MadeClip]) -> None:
    """Raises ValueError for clips that end before SA-V's evaluator scores a frame, which leaves out the ends."""
    shortest = 2 * _SAV_STEP + 1
    if all(clip.num_frames < shortest for clip in clips):
        raise ValueError(f"--frames {clips[0].num_frames}: SA-V's evaluator scores nothing below {shortest} frames")


def label_maps(clip: Clip) -> Labels:
    """The objects of a clip that show on its first frame, as labels from 1 without gaps: uint8 [T, H, W]."""
    shown = [k for k in range(len(clip.obj_ids)) if clip.present[0, k]]
    maps = np.zeros((len(clip.frames), *clip.frames.shape[1:3]), np.uint8)
    for label, k in enumerate(shown, 1):
        maps[clip.masks[:, k]] = label
    return maps


def _write_clip(part: Path, name: str, clip: Clip, palette: bytes) -> None:
    maps = label_maps(clip)
    davis, sav, lvos = part / "davis", part / "sav" / "sav_val", part / "lvos" / "valid"
    for t, frame in enumerate(clip.frames):
        first = davis / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"
        _made(first.parent)
        Image.fromarray(frame).save(first, quality=_QUALITY)
        _copy(first, lvos / "JPEGImages" / name / f"{t + 1:08d}.jpg")
        _save(davis / "Annotations" / "480p" / name / f"{t:05d}.png", maps[t], palette)
        if t % _LVOS_STEP == 0:
            _save(lvos / "Annotations" / name / f"{t + 1:08d}.png", maps[t], palette)
    _write_sav(sav, davis / "JPEGImages" / "480p" / name, name, maps, palette)
    meta = part / "lvos" / "objects" / f"{name}.json"
    _made(meta.parent)
    meta.write_text(json.dumps(_ranges(maps)))


def _write_sav(sav: Path, frames: Path, name: str, maps: Labels, palette: bytes) -> None:
    """The objects that an annotation between the first and the last shows: SA-V's evaluator refuses others."""
    annotated = range(0, len(maps), _SAV_STEP)
    scored = sorted(set(np.unique(maps[annotated[1:-1]])) - {0})
    for place, label in enumerate(scored):
        for t in annotated:
            path = sav / "Annotations_6fps" / name / f"{place:03d}" / f"{t:05d}.png"
            _save(path, (maps[t] == label).astype(np.uint8), palette)
    for frame in sorted(frames.iterdir()) if scored else []:
        _copy(frame, sav / "JPEGImages_24fps" / name / frame.name)


def _ranges(maps: Labels) -> dict[str, dict[str, object]]:
    """Of every object, in LVOS' words: its first and last annotated frame, and how many there are between."""
    annotated = range(0, len(maps), _LVOS_STEP)
    last = annotated[-1]
    whole = {"start": "1", "end": str(last + 1), "frame_nums": str(len(annotated))}
    return {str(label): {"category": "sprite", "frame_range": whole} for label in range(1, int(maps.max()) + 1)}


def _write_lists(part: Path, clips: Sequence[MadeClip]) -> None:
    names = sorted(clip.name for clip in clips)
    _write(part / "davis" / "ImageSets" / "2017" / "val.txt", names)
    sav = part / "sav" / "sav_val"
    if not (sav / "Annotations_6fps").is_dir():
        raise ValueError("no object shows long enough for SA-V's evaluator: choose more --frames")
    _write(sav / "sav_val.txt", sorted(folder.name for folder in (sav / "Annotations_6fps").iterdir()))
    lvos = part / "lvos" / "valid"
    ranges = {path.stem: json.loads(path.read_text()) for path in sorted((part / "lvos" / "objects").iterdir())}
    shutil.rmtree(part / "lvos" / "objects")
    content = {"videos": {name: {"objects": ranges[name]} for name in names}}
    (lvos / "valid_meta.json").write_text(json.dumps(content, indent=1) + "\n")
    _write(lvos / "unseen_videos.txt", sorted(clip.name for clip in clips if clip.suite in _UNSEEN))


def _write(path: Path, lines: Sequence[str]) -> None:
    _made(path.parent)
    path.write_text("".join(f"{line}\n" for line in lines))


def _copy(source: Path, target: Path) -> None:
    """A second name of the file, or a copy where the disk has no such thing."""
    _made(target.parent)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _save(path: Path, labels: Labels, palette: bytes) -> None:
    _made(path.parent)
    image = Image.fromarray(labels)
    image.putpalette(palette)
    image.save(path)


def _made(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def clips_of(suites: Sequence[str], count: int, first_seed: int, num_frames: int, size: int) -> Iterator[MadeClip]:
    """`count` clips of every suite."""
    for suite in suites:
        for seed in range(first_seed, first_seed + count):
            yield MadeClip(suite, seed, num_frames, size)
