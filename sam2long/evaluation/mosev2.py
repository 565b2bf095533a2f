"""MOSEv2 by the rules of its `score.py`: its own J, F-dot, and both around disappearance and reappearance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from sam2long.evaluation.contours import Kernel, KernelRow, Mask, disk, match, outlines
from sam2long.evaluation.masks import existing_folder, png_names, read_json, read_pair, subfolders
from sam2long.evaluation.measures import window
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores, Scores, mean_score
from sam2long.evaluation.statistics import mean

_HEADLINE = Headline("J&F_new", ("J", "F_new"), 100)
_MEASURES = ("J", "F_new", "F")


@dataclass(frozen=True)
class _Video:
    """`frames` are scored; there are none where there is no prediction."""

    name: str
    objects: tuple[int, ...]
    frames: tuple[str, ...]
    truth: Path
    found: Path


def evaluate_mosev2(gt: Path, pred: Path, *, run: MapVideos, sane: bool = False) -> Evaluation:
    """MOSEv2: J, F and F-dot (`F_new`) per object, means over all objects, `global` in percent.

    J is (I + 1) / (U + 1), so a false answer of A pixels on an absent object scores 1 / (A + 1), and 1 where nothing
    is. F-dot lets contours differ by a tenth of the object's size in place of DAVIS' share of the diagonal, where that
    is less; where it is not, both F and F-dot use a disk of the unrounded radius whose centre is off by up to half a
    pixel (`off_centre_disk`): the printed "F" is not DAVIS' F. `disappear` is the mean over runs of frames on which the
    object is away, `reappear` over runs on which it shows, runs from the first scored frame aside in both: the first
    appearance of a late object counts as a reappearance. Objects without such runs have None and are left out.

    The first and the last frame do not count. A video without a prediction scores 0. A prediction folder that holds a
    single folder is entered, so a submission of one video scores 0; `sane=True` does not enter it where it is named as
    a video.

    Args:
        gt: holds `meta.json` (videos and their objects) and `Annotations/<video>/*.png`.
        pred: holds `<video>/*.png`, the annotation's frames and no others.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as for the other benchmarks.
    """
    videos, left_out = _videos(gt, pred, sane)
    scored = run(_score, videos, [len(video.frames) for video in videos])
    objects = [row for rows in scored for row in rows]
    if not objects:
        raise ValueError(f"{gt / 'meta.json'} lists no object")
    ends = LeftOut("the first and the last frame of every video", "MOSEv2 does not score them")
    return Evaluation("MOSE-api, MOSEv2 score.py", _HEADLINE, _overall(objects), objects, [ends, *left_out])


def _overall(objects: Sequence[ObjectScores]) -> dict[str, float]:
    def of(key: str) -> float:
        return 100 * mean_score(objects, key)

    return {
        "J&F_new": (of("J") + of("F_new")) / 2,
        "J": of("J"),
        "F_new": of("F_new"),
        "disappear_J&F_new": (of("disappear_J") + of("disappear_F_new")) / 2,
        "reappear_J&F_new": (of("reappear_J") + of("reappear_F_new")) / 2,
        "F": of("F"),
        "J&F": (of("J") + of("F")) / 2,
    }


def _videos(gt: Path, pred: Path, sane: bool) -> tuple[list[_Video], list[LeftOut]]:
    meta = gt / "meta.json"
    content = read_json(meta, "GT holds this list of videos and their objects")
    try:
        objects = {name: tuple(int(obj) for obj in video["objects"]) for name, video in content["videos"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f'{meta} must hold "videos" and their "objects" ({error!r})') from error
    left_out = []
    inner = subfolders(pred)
    if len(inner) == 1 and not (sane and inner[0] in objects):
        left_out.append(LeftOut(str(pred), f"it holds one folder, which is entered: {inner[0]}"))
        pred = pred / inner[0]
    videos = []
    for name, ids in objects.items():
        truth = existing_folder(gt / "Annotations" / name, f"the annotation of video {name}, which {meta} lists")
        frames: tuple[str, ...] = ()
        if (pred / name).is_dir():
            frames = _frames(truth, pred / name)
        else:
            left_out.append(LeftOut(name, f"no prediction in {pred}: its objects score 0"))
        videos.append(_Video(name, ids, frames, truth, pred / name))
    return videos, left_out


def _frames(truth: Path, found: Path) -> tuple[str, ...]:
    """The scored frames: those of the prediction in the order of their numbers, without the first and the last."""
    names, annotated = set(png_names(found)), set(png_names(truth))
    if odd := sorted(names ^ annotated):
        what = "has no annotation" if odd[0] in names else "is missing"
        raise ValueError(f"{found / odd[0]}.png {what}: MOSEv2 wants the frames of {truth} and no others")
    if strange := [name for name in sorted(names) if not name.isdecimal()]:
        raise ValueError(f"{found / strange[0]}.png: MOSEv2 wants numbers as the names of frames")
    if len(names) < 3:
        raise ValueError(f"{truth} holds {len(names)} PNG files, and the first and the last do not count")
    return tuple(sorted(names, key=int)[1:-1])


def _score(video: _Video) -> list[ObjectScores]:
    values = np.zeros((3, len(video.objects), len(video.frames)))
    empty = np.zeros(values.shape[1:], bool)
    for t, frame in enumerate(video.frames):
        found, truth = read_pair(video.found / f"{frame}.png", video.truth / f"{frame}.png")
        for k, obj in enumerate(video.objects):
            mask = truth == obj
            values[:, k, t] = measures(found == obj, mask)
            empty[k, t] = not mask.any()
    return [_row(video, obj, values[:, k], empty[k]) for k, obj in enumerate(video.objects)]


def _row(video: _Video, obj: int, values: np.ndarray, empty: np.ndarray) -> ObjectScores:
    per_frame: dict[str, list[float]] = {key: values[m].tolist() for m, key in enumerate(_MEASURES)}
    scores: Scores = {key: mean(column) if video.frames else 0.0 for key, column in per_frame.items()}
    scores |= phases(values[:2], empty)
    per_frame["empty_gt"] = empty.tolist()
    return ObjectScores(video.name, str(obj), f"{video.name}_{obj}", scores, video.frames, per_frame)


def phases(values: np.ndarray, empty: np.ndarray) -> Scores:
    """J and F-dot around disappearance and reappearance.

    Args:
        values: (2, frames): J and F-dot.
        empty: (frames,) bool: the object is away.

    Returns:
        `disappear_J` ...: mean within each run of empty (or visible) frames, then mean over runs, without a run that
        starts at the first frame; None where there is no run.
    """
    runs = [list(run) for _, run in groupby(range(len(empty)), key=lambda t: bool(empty[t]))][1:]
    scores: Scores = {}
    for phase, is_empty in (("disappear", True), ("reappear", False)):
        chosen = [run for run in runs if empty[run[0]] == is_empty]
        for measure, column in zip(("J", "F_new"), values, strict=True):
            scores[f"{phase}_{measure}"] = mean([column[run].mean() for run in chosen]) if chosen else None
    return scores


def measures(found: Mask, truth: Mask) -> tuple[float, float, float]:
    """MOSEv2's J, F-dot and F of a pair of (H, W) masks (`metricsv2.py`)."""
    diagonal = 0.008 * math.hypot(*truth.shape)
    found, truth = window(found, truth)
    area, union = np.count_nonzero(truth), np.count_nonzero(found | truth)
    j = (np.count_nonzero(found & truth) + 1) / (union + 1) if union else 1.0
    by_area = math.ceil(0.1 * math.sqrt(area))
    tighter = [disk(by_area), disk(math.ceil(diagonal))]
    kernels = tighter if by_area < diagonal else [off_centre_disk(diagonal)]
    f = [match(one, other) for one, other in zip(outlines(found, kernels), outlines(truth, kernels), strict=True)]
    return j, f[0], f[-1]


@lru_cache(maxsize=256)
def off_centre_disk(radius: float) -> Kernel:
    """What scikit-image's `disk` and OpenCV's `dilate` make of a radius that is no integer.

    The grid is -r, -r + 1, ... up to r; a pixel belongs to the disk where x^2 + y^2 <= r^2, and the one at half the
    length is the centre. So the disk is not about its centre, and smaller than one of the rounded radius.
    """
    grid = np.arange(-radius, radius + 1)
    inside = grid[:, None] ** 2 + grid**2 <= radius**2
    centre = len(grid) // 2
    columns = [np.flatnonzero(row) - centre for row in inside]
    return tuple(
        KernelRow(down - centre, int(of_row[0]), int(of_row[-1])) for down, of_row in enumerate(columns) if len(of_row)
    )
