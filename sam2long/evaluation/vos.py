"""The rules of vos-benchmark, and those of SA-V's evaluator, which grew out of it: per object, in percent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam2long.evaluation.masks import (
    Labels,
    existing_folder,
    labels_on,
    png_names,
    read_pair,
    require,
    subfolders,
)
from sam2long.evaluation.measures import j_and_f
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores, Scores, mean_score
from sam2long.evaluation.statistics import mean

_HEADLINE = Headline("J&F", ("J", "F"), 1)
_ENDS = LeftOut("the first and the last frame of every video", "semi-supervised: --all-frames would score them")


@dataclass(frozen=True)
class _Part:
    """A video of label maps (`obj` is None), or an object of one in a folder of its own; `frames` are scored."""

    video: str
    obj: str | None
    frames: tuple[str, ...]
    truth: Path
    found: Path


def evaluate_vos(gt: Path, pred: Path, *, run: MapVideos, all_frames: bool = False, strict: bool = False) -> Evaluation:
    """vos-benchmark: J and F per object, then the mean over the objects of all videos.

    The first and the last frame do not count. Objects are the ids of the annotated frames that count, wherever they
    appear first, 255 (void!) among them: clean it out of the annotation first. An object is scored from the first frame
    on which the annotation or the prediction shows it: frames before that, empty in both, do not count (they count as
    1 for DAVIS), later ones count as 1. Objects that are only predicted are ignored, as are predicted frames without an
    annotation.

    Args:
        gt: holds `<video>/*.png`.
        pred: likewise; a frame that is missing is an error, a video that is missing is left out.
        all_frames: score the first and the last frame too (the tool's `-d`).
        strict: a video without a prediction is an error (the tool's `-s`).

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as for the other benchmarks.
    """
    return _evaluate("vos-benchmark", False, gt, pred, run, all_frames, strict)


def evaluate_sav(gt: Path, pred: Path, *, run: MapVideos, all_frames: bool = False, strict: bool = False) -> Evaluation:
    """SA-V's `sav_evaluator.py`: as vos-benchmark, but for one folder per object.

    In `<video>/<object>/*.png` any value above 0 is the object, and a PNG holds at most two values; the first and the
    last annotated frame are dropped per object. Of predictions at 24 frames a second those count that have an
    annotation. An object that no scored frame shows ends the official program, as does an object without a prediction.
    A video whose folder holds nothing but PNG files is one of label maps, as vos-benchmark takes them.

    Args and Raises: see `evaluate_vos`.
    """
    return _evaluate("sav_evaluator", True, gt, pred, run, all_frames, strict)


def _evaluate(
    tool: str, object_folders: bool, gt: Path, pred: Path, run: MapVideos, all_frames: bool, strict: bool
) -> Evaluation:
    videos = subfolders(gt)
    if not videos:
        raise FileNotFoundError(f"{gt} holds no folder: GT is a folder of videos, and they are folders of PNG files")
    parts: list[_Part] = []
    left_out = [] if all_frames else [_ENDS]
    for video in videos:
        if (pred / video).is_dir():
            parts += _parts(gt / video, pred / video, object_folders, all_frames)
        elif strict:
            raise FileNotFoundError(f"{pred / video} is missing: strict mode wants a prediction of every video of {gt}")
        else:
            left_out.append(LeftOut(video, "no prediction; --strict makes it an error"))
    if not parts:
        raise FileNotFoundError(f"{pred} has none of the videos of {gt} ({', '.join(videos[:3])} ...)")
    require(
        (part.found / f"{frame}.png" for part in parts for frame in part.frames),
        "every scored frame needs a prediction, named as its annotation",
    )
    scored = run(_score, parts, [len(part.frames) for part in parts])
    objects = [row for rows, _ in scored for row in rows]
    if not objects:
        hint = "" if all_frames else "; the first and the last frame count with --all-frames alone"
        raise ValueError(f"no scored frame of {gt} shows an object: nothing can be scored{hint}")
    j, f = mean_score(objects, "J"), mean_score(objects, "F")
    left_out += [LeftOut(part.video, "no frame of it is scored") for part in parts if not part.frames]
    left_out += (item for _, items in scored for item in items)
    return Evaluation(tool, _HEADLINE, {"J&F": (j + f) / 2, "J": j, "F": f}, objects, left_out)


def _parts(truth: Path, found: Path, object_folders: bool, all_frames: bool) -> list[_Part]:
    ends = slice(None) if all_frames else slice(1, -1)
    folders = subfolders(truth)
    if not folders:
        return [_Part(truth.name, None, tuple(png_names(truth)[ends]), truth, found)]
    if not object_folders:
        raise ValueError(f"{truth} holds folders ({folders[0]} ...), not PNG files: evaluate it as sav")
    parts = []
    for obj in folders:
        existing_folder(found / obj, f"the prediction of object {obj} of video {truth.name}")
        parts.append(_Part(truth.name, obj, tuple(png_names(truth / obj)[ends]), truth / obj, found / obj))
    return parts


def _score(part: _Part) -> tuple[list[ObjectScores], list[LeftOut]]:
    values: dict[int, list[tuple[float, float]]] = {}  # of every object since it was first seen
    annotated: set[int] = set()
    for frame in part.frames:
        paths = part.found / f"{frame}.png", part.truth / f"{frame}.png"
        found, truth = read_pair(*paths)
        if part.obj is not None:
            found, truth = _binary(found, paths[0]), _binary(truth, paths[1])
        annotated |= labels_on(truth)
        for label in sorted({*values, *labels_on(truth), *labels_on(found)}):
            values.setdefault(label, []).append(j_and_f(found == label, truth == label))
    if part.obj is not None and not annotated:
        raise ValueError(
            f"{part.truth} shows its object on none of its {len(part.frames)} scored frames: "
            "the official program ends here; remove the folder"
        )
    rows = [_row(part, part.obj or str(label), values[label]) for label in sorted(annotated)]
    only_found = sorted(values.keys() - annotated)
    why = "predicted, but on no scored frame annotated"
    return rows, [LeftOut(f"{part.video}, object {label}", why) for label in only_found if part.obj is None]


def _binary(labels: Labels, path: Path) -> Labels:
    """1 where a mask of one object is above 0."""
    if len(shown := labels_on(labels)) > 1 and len(shown) + bool((labels == 0).any()) > 2:
        raise ValueError(f"{path} holds the values {sorted(shown)}: the mask of one object has two values at most")
    return (labels > 0).astype(np.uint8)


def _row(part: _Part, obj: str, values: list[tuple[float, float]]) -> ObjectScores:
    per_frame = dict(zip(("J", "F"), (100 * np.array(values).T).tolist(), strict=True))
    frames = part.frames[len(part.frames) - len(values) :]
    scores: Scores = {key: mean(column) for key, column in per_frame.items()}
    return ObjectScores(part.video, obj, f"{part.video}/{obj}", scores, frames, per_frame)
