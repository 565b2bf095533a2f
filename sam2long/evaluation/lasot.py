"""LaSOT by the rules of three tools that disagree: the MATLAB toolkit, pytracking and the GOT-10k toolkit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2long.evaluation.boxes import (
    Array,
    centre_offsets,
    overlaps,
    precision_curve,
    read_numbers,
    success_curve,
)
from sam2long.evaluation.masks import read_list
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores
from sam2long.evaluation.statistics import mean

_HEADLINE = Headline("success", ("success",), 1)
_TOOLS = {"matlab": "LaSOT_Evaluation_Toolkit", "pytracking": "pytracking", "got10k": "got-10k toolkit"}
_CURVES = ("success_curve", "precision_curve", "normalized_precision_curve")


@dataclass(frozen=True)
class _Video:
    name: str
    truth: Path
    found: Path


@dataclass(frozen=True)
class _Errors:
    """A video's frames: overlap, distance of the centres in pixels and in sizes of the box, and which are valid."""

    overlap: Array
    center: Array
    center_norm: Array
    valid: NDArray[np.bool_]


def evaluate_lasot(
    gt: Path, pred: Path, *, run: MapVideos, rules: str = "matlab", exclude_invalid: bool = False
) -> Evaluation:
    """LaSOT: success (AUC), precision (20 pixels) and normalised precision, in percent, means of curves over videos.

    Success is the mean over the 21 thresholds 0, 0.05, ... 1 of the share of frames strictly above: a perfect tracker
    gets 20/21. The first box is the annotation's. Results longer than the annotation are cut.

    "matlab" (LaSOT_Evaluation_Toolkit): a box without width or height is replaced by the one before it. Frames on which
    the object is absent (full_occlusion or out_of_view) never succeed but stay in the denominator. On frames whose
    annotated box touches 0 or is empty the overlap fails and both precisions succeed at every threshold. Videos whose
    curve is zero everywhere are left out of its mean.
    "pytracking": likewise, but a negative width or height is an error, and only normalised precision succeeds where the
    annotated box is invalid. It averages in float32: its numbers are off by up to 1e-5 of 100. `exclude_invalid`, its
    `exclude_invalid_frames`, shrinks the denominator only: normalised precision can exceed 100.
    "got10k": no repair, no absence; normalised precision is the area under 0 to 0.5, the other tools read it at 0.2.

    Args:
        gt: holds `<class>/<video>/` (or `<video>/`) with `groundtruth.txt`, `full_occlusion.txt`, `out_of_view.txt`;
            where there is a `testing_set.txt`, the videos it lists are scored.
        pred: holds `<video>.txt`, one box a frame.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as for the other benchmarks.
    """
    if rules not in _TOOLS:
        raise ValueError(f"rules {rules!r} unknown: {', '.join(_TOOLS)}")
    if exclude_invalid and rules != "pytracking":
        raise ValueError(f"exclude_invalid is pytracking's: the {rules} rules have nothing like it")
    videos = _videos(gt, pred)
    scored = run(partial(_score, rules=rules, exclude_invalid=exclude_invalid), videos, [1] * len(videos))
    objects = [row for row, _ in scored]
    stacked = [np.stack([curves[k] for _, curves in scored]) for k in range(3)]
    left_out = _left_out(videos, stacked, rules, exclude_invalid)
    if rules == "matlab":
        stacked = [curves[curves.any(1)] if curves.any() else curves for curves in stacked]
    means = [100 * curves.mean(0) for curves in stacked]
    more = {name: curve.tolist() for name, curve in zip(_CURVES, means, strict=True)}
    more |= {"op50": float(means[0][10]), "op75": float(means[0][15])}
    return Evaluation(_TOOLS[rules], _HEADLINE, _summary(means, rules), objects, left_out, more)


def _left_out(videos: list[_Video], stacked: list[Array], rules: str, exclude_invalid: bool) -> list[LeftOut]:
    if rules == "got10k":
        return [LeftOut("the visibility flags", "the got-10k toolkit does not read them: absent objects count")]
    if exclude_invalid:
        return [LeftOut("frames without a valid annotation", "exclude_invalid: out of the denominator")]
    if rules == "pytracking":
        return []
    zero = [(video, name) for name, of in zip(_CURVES, stacked, strict=True) for video in np.array(videos)[~of.any(1)]]
    return [LeftOut(f"{video.name}, {name}", "it is zero everywhere and not in the mean") for video, name in zero]


def _videos(gt: Path, pred: Path) -> list[_Video]:
    folders = {path.parent.name: path.parent for path in sorted(gt.rglob("groundtruth.txt"))}
    names = list(folders)
    if (gt / "testing_set.txt").is_file():
        names = read_list(gt / "testing_set.txt", "it lists the videos to score")
    if not names:
        raise FileNotFoundError(f"{gt} holds no <class>/<video>/groundtruth.txt: is it the folder of the annotations?")
    videos = []
    for name in names:
        if name not in folders:
            raise FileNotFoundError(f"{gt} holds no {name}/groundtruth.txt, which testing_set.txt lists")
        videos.append(_Video(name, folders[name], pred / f"{name}.txt"))
    missing = [video.found for video in videos if not video.found.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]} is missing: {len(missing)} of {len(videos)} videos have no results")
    return videos


def _summary(curves: list[Array], rules: str) -> dict[str, float]:
    success, precision, normalized = curves
    area = mean(normalized) if rules == "got10k" else float(normalized[20])
    return {"success": mean(success), "precision": float(precision[20]), "normalized_precision": area}


def _score(video: _Video, *, rules: str, exclude_invalid: bool) -> tuple[ObjectScores, list[Array]]:
    errors = _measured(video, rules)
    thresholds = _thresholds(rules)
    number = max(int(errors.valid.sum()), 1) if exclude_invalid else len(errors.valid)
    curves = [
        success_curve(errors.overlap, thresholds[0], number),
        precision_curve(errors.center, thresholds[1], number),
        precision_curve(errors.center_norm, thresholds[2], number),
    ]
    per_frame = {
        "overlap": errors.overlap.tolist(),
        "center": errors.center.tolist(),
        "center_norm": errors.center_norm.tolist(),
        "valid": errors.valid.tolist(),
    }
    frames = [f"{t + 1:08d}" for t in range(len(errors.valid))]
    scores = _summary([100 * curve for curve in curves], rules)
    return ObjectScores(video.name, "1", video.name, dict(scores), frames, per_frame), curves


def _thresholds(rules: str) -> list[Array]:
    """Of overlap, pixels and sizes. They differ in the last bit, which counts where a value lies on a threshold."""
    if rules == "got10k":
        return [np.linspace(0.0, 1.0, 21), np.arange(51.0), np.linspace(0.0, 0.5, 51)]
    steps: list[Array] = [np.arange(21.0) * 0.05, np.arange(51.0), np.arange(51.0) * 0.01]
    return [of.astype(np.float32).astype(np.float64) for of in steps] if rules == "pytracking" else steps


def _boxes(video: _Video) -> tuple[Array, Array]:
    """The found and the annotated boxes; the first frame is the annotation's in all three tools."""
    truth, found = read_numbers(video.truth / "groundtruth.txt", 4), read_numbers(video.found, 4)
    if len(found) < len(truth):
        raise ValueError(f"{video.found} has {len(found)} boxes, the annotation {len(truth)}: write one a frame")
    found = found[: len(truth)]
    found[:1] = truth[:1]
    return found, truth


def _absent(video: _Video, number: int) -> NDArray[np.bool_]:
    absent = np.zeros(number, bool)
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        flags = read_numbers(video.truth / name)
        if len(flags) != number:
            raise ValueError(f"{video.truth / name} has {len(flags)} flags, groundtruth.txt {number} boxes")
        absent |= flags > 0
    return absent


def _measured(video: _Video, rules: str) -> _Errors:
    found, truth = _boxes(video)
    if rules == "got10k":
        return _Errors(*_distances(found, truth, truth[:, 2:].clip(min=1)), np.ones(len(truth), bool))
    absent, invalid = _absent(video, len(truth)), np.any(truth <= 0, axis=1)
    negative = np.flatnonzero(np.any(found[:, 2:] < 0, axis=1))
    if rules == "pytracking" and len(negative):
        raise ValueError(f"{video.found}, box {negative[0] + 1} has a negative size: pytracking ends here; write 0")
    size = np.where(truth[:, 2:] == 0, 1, truth[:, 2:])
    overlap, center, center_norm = _distances(_repaired(found), truth, size)
    overlap[invalid | absent] = -1
    center[invalid] = -1 if rules == "matlab" else np.inf
    center_norm[invalid] = -1
    center[absent] = center_norm[absent] = np.inf  # absence has the last word
    return _Errors(overlap, center, center_norm, ~(absent | invalid))


def _repaired(found: Array) -> Array:
    """Boxes without an area give way to the last one that has one."""
    broken = np.any(found[:, 2:] <= 0, axis=1)
    return found[np.maximum.accumulate(np.where(broken, 0, np.arange(len(found))))]


def _distances(found: Array, truth: Array, size: Array) -> tuple[Array, Array, Array]:
    offsets = centre_offsets(found, truth)
    return overlaps(found, truth), np.hypot(*offsets.T), np.hypot(*(offsets / size).T)
