"""DAVIS 2017 by the rules of davis2017-evaluation, semi-supervised and unsupervised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sam2long.evaluation.assignment import assign, label_pairs
from sam2long.evaluation.masks import (
    Labels,
    existing_folder,
    labels_on,
    max_label,
    png_names,
    read_labels,
    read_list,
    read_pair,
    require,
)
from sam2long.evaluation.measures import j_and_f
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores, Scores, mean_score
from sam2long.evaluation.statistics import Array, decay, mean, recall

VOID = 255
MAX_PROPOSALS = 20
_HEADLINE = Headline("J&F-Mean", ("J-Mean", "F-Mean"), 100)
_ENDS = [LeftOut("the first and the last frame of every video", "the semi-supervised task skips them")]


@dataclass(frozen=True)
class Video:
    """A video, its annotated frames in order, and the folders its masks lie in."""

    name: str
    frames: tuple[str, ...]
    truth: Path
    found: Path

    def pair(self, frame: str) -> tuple[Labels, Labels]:
        """The predicted and the annotated label map."""
        return read_pair(self.found / f"{frame}.png", self.truth / f"{frame}.png")


def evaluate_davis2017(
    gt: Path, pred: Path, *, run: MapVideos, task: str = "semi", split: str = "val", sane: bool = False
) -> Evaluation:
    """DAVIS 2017: J, F, their recall and decay, per object, then the mean over the objects of all videos.

    Semi-supervised: the first and the last frame do not count. Objects are 1 to the highest id of the first annotation:
    those that appear later under a higher id are left out, and ids in between that are never annotated are objects too
    (1.0 if they are never predicted). Void (255) is background. A predicted id above that maximum, 255 included, ends
    the official program, but not in the first or the last frame.

    Unsupervised: all frames count; up to 20 proposals are assigned to the objects by their mean (J + F) / 2. Void is
    taken out of both masks. Rows stand in the order of the proposals: `<video>_1` belongs to the assigned proposal with
    the lowest id, not to object 1. A proposal that is missing is an empty mask.

    The official decay is wrong or NaN from 257 frames on (see `statistics.decay`); `sane=True` gives the right one.

    Args:
        gt: holds `ImageSets/2017/<split>.txt` and `Annotations/480p/<video>/*.png`, for the unsupervised task
            `Annotations_unsupervised/480p`.
        pred: holds `<video>/*.png`, of the annotation's size and names.
        task: "semi" or "unsup".

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: something is missing, unreadable, or of another size or id.
    """
    semi = task == "semi"
    if not semi and task != "unsup":
        raise ValueError(f"task {task!r} unknown: semi or unsup")
    annotations = gt / ("Annotations" if semi else "Annotations_unsupervised") / "480p"
    videos = listed_videos(gt / "ImageSets" / "2017" / f"{split}.txt", annotations, pred, drop_ends=semi)
    score = partial(_score_semi if semi else _score_unsup, sane=sane)
    scored = run(score, videos, [len(video.frames) for video in videos])
    objects = [row for rows, _ in scored for row in rows]
    if not objects:
        raise ValueError(f"no video of {gt} has an object in its first annotation: nothing can be scored")
    means = {key: mean_score(objects, key) for key in statistic_keys(("J", "F"))}
    means = {"J&F-Mean": (means["J-Mean"] + means["F-Mean"]) / 2, **means}
    left_out = [*(_ENDS if semi else []), *(item for _, items in scored for item in items)]
    tool = f"davis2017-evaluation, {'semi-supervised' if semi else 'unsupervised'}"
    return Evaluation(tool, _HEADLINE, means, objects, left_out)


def listed_videos(names: Path, annotations: Path, pred: Path, *, drop_ends: bool) -> list[Video]:
    """The videos that a list names, with their annotated frames, all files in their places.

    Args:
        names: a text file, one video a line.
        annotations, pred: hold `<video>/<frame>.png`.
        drop_ends: leave the first and the last frame of every video out of what must be predicted.
    """
    videos = []
    listed = read_list(names, "GT holds this list of the videos to score, one a line")
    existing_folder(annotations, "the annotations, one folder a video")
    for name in dict.fromkeys(listed):
        truth = existing_folder(annotations / name, f"the annotation of video {name}, which {names} lists")
        frames = tuple(png_names(truth))
        if len(frames) < (3 if drop_ends else 1):
            rule = ", and the first and the last do not count" if drop_ends else ""
            raise ValueError(f"{truth} holds {len(frames)} PNG files{rule}: nothing of the video can be scored")
        videos.append(Video(name, frames, truth, pred / name))
    ends = slice(1, -1) if drop_ends else slice(None)
    needed = (video.found / f"{frame}.png" for video in videos for frame in video.frames[ends])
    require(needed, "every scored frame needs a prediction, named as its annotation")
    return videos


def first_objects(video: Video) -> tuple[int, ...]:
    """The ids 1 to the highest one of the first annotation, void aside."""
    first = read_labels(video.truth / f"{video.frames[0]}.png")
    return tuple(range(1, max_label([first[first != VOID]]) + 1))


def later_objects(video: Video, truth: Labels, objects: Sequence[int], late: set[int]) -> None:
    """Adds to `late` the ids of an annotation that are none of the objects."""
    if truth.max(initial=0) > len(objects):
        late.update(label for label in labels_on(truth) if len(objects) < label != VOID)


def late_items(video: Video, late: set[int]) -> list[LeftOut]:
    return [
        LeftOut(f"{video.name}, object {label}", "it is not in the first annotation, nor is a higher id")
        for label in sorted(late)
    ]


def statistics(per_frame: Mapping[str, Array], *, sane: bool) -> Scores:
    """`<measure>-Mean`, `-Recall` and `-Decay` of every measure."""
    scores: Scores = {}
    for measure, values in per_frame.items():
        numbers = (mean(values), recall(values), decay(values, sane=sane))
        scores |= zip(statistic_keys((measure,)), numbers, strict=True)
    return scores


def statistic_keys(measures: Sequence[str]) -> list[str]:
    return [f"{measure}-{statistic}" for measure in measures for statistic in ("Mean", "Recall", "Decay")]


Scored = tuple[list[ObjectScores], list[LeftOut]]


def _score_semi(video: Video, *, sane: bool) -> Scored:
    objects, frames = first_objects(video), video.frames[1:-1]
    values = np.zeros((2, len(objects), len(frames)))
    late: set[int] = set()
    for t, frame in enumerate(frames):
        found, truth = video.pair(frame)
        highest = max_label([found])
        if highest > len(objects):
            raise ValueError(
                f"{video.found / frame}.png holds id {highest}, above {len(objects)}, the highest of the first "
                "annotation: the official program ends here; write nothing but the objects of the first annotation"
            )
        later_objects(video, truth, objects, late)
        for k, label in enumerate(objects):
            values[:, k, t] = j_and_f(found == label, truth == label)
    rows = [_row(video, k, label, frames, values[:, k], sane) for k, label in enumerate(objects)]
    return rows, late_items(video, late)


def _score_unsup(video: Video, *, sane: bool) -> Scored:
    objects, frames = first_objects(video), video.frames
    values = np.zeros((2, MAX_PROPOSALS, len(objects), len(frames)))
    late: set[int] = set()
    for t, frame in enumerate(frames):
        found, truth = video.pair(frame)
        highest = max_label([found])
        if highest > MAX_PROPOSALS:
            raise ValueError(
                f"{video.found / frame}.png holds proposal {highest}: the official program ends above {MAX_PROPOSALS}; "
                f"number proposals from 1 to {MAX_PROPOSALS}"
            )
        later_objects(video, truth, objects, late)
        found = np.where(truth == VOID, 0, found)
        values[:, :, :, t] = label_pairs(found, [truth == label for label in objects], MAX_PROPOSALS)
    proposals, assigned = assign(*values.mean(3))
    pairs = enumerate(zip(proposals, assigned, strict=True))
    rows = [_row(video, k, objects[obj], frames, values[:, proposal, obj], sane) for k, (proposal, obj) in pairs]
    return rows, late_items(video, late)


def _row(video: Video, position: int, label: int, frames: Sequence[str], values: Array, sane: bool) -> ObjectScores:
    per_frame: dict[str, Any] = {"J": values[0], "F": values[1]}
    scores = statistics(per_frame, sane=sane)
    per_frame = {measure: column.tolist() for measure, column in per_frame.items()}
    return ObjectScores(video.name, str(label), f"{video.name}_{position + 1}", scores, frames, per_frame)
