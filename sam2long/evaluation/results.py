"""The result of an evaluation: rows of objects go in, what `evaluate` returns comes out, and rows again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from sam2long.evaluation.statistics import mean

Scores = dict[str, float | None]


@dataclass(frozen=True)
class ObjectScores:
    """One object of one video.

    Attributes:
        video, obj: as the annotation names them.
        name: of the row in the official tool's table.
        scores: by the tool's keys; None where the object has none (MOSEv2's disappearance without one).
        frames: the names of the frames that are scored.
        per_frame: measure -> one value for each of `frames`.
        group: "seen" or "unseen", where the benchmark tells categories apart.
        weight: of the object in the benchmark's mean.
    """

    video: str
    obj: str
    name: str
    scores: Scores
    frames: Sequence[str] = ()
    per_frame: Mapping[str, Sequence[float]] = field(default_factory=dict)
    group: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class LeftOut:
    """Something that does not count, or not as one might think, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Headline:
    """The one number that papers give: its key in `global`, and the keys of an object whose mean it is.

    `scale` brings an object's numbers to percent.
    """

    key: str
    of: tuple[str, ...]
    scale: float


class _Row(TypedDict):
    video: str
    object: str
    name: str
    group: str | None
    weight: float


# A TypedDict by call: `global` is no identifier.
Result = TypedDict(
    "Result",
    {
        "benchmark": str,
        "tool": str,  # whose rules these are
        "options": dict[str, Any],
        "gt": str,
        "pred": str,
        "headline": dict[str, Any],  # key, of, scale: see `Headline`
        "global": dict[str, float],
        "per_video": dict[str, Scores],  # mean over the video's objects
        "per_object": dict[str, Any],  # name -> scores, or video -> object -> scores
        "per_frame": dict[str, Any],  # likewise; "frame" holds the frames' names
        "objects": list[_Row],
        "left_out": list[dict[str, str]],
        "more": dict[str, Any],
    },
)

# Whether the official tool's table goes by video and object, or by `video_object`.
NESTED_SCORES = ("vos", "sav")
NESTED_FRAMES = ("vos", "sav", "lvos")


@dataclass(frozen=True)
class Evaluation:
    """What a benchmark's function makes of a pair of folders."""

    tool: str
    headline: Headline
    overall: dict[str, float]
    objects: Sequence[ObjectScores]
    left_out: Sequence[LeftOut] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def as_result(benchmark: str, gt: str, pred: str, options: Mapping[str, Any], found: Evaluation) -> Result:
    """An evaluation as the dictionary that is returned and written to JSON."""
    per_object: dict[str, Any] = {}
    per_frame: dict[str, Any] = {}
    for row in found.objects:
        scores = per_object.setdefault(row.video, {}) if benchmark in NESTED_SCORES else per_object
        scores[row.obj if benchmark in NESTED_SCORES else row.name] = dict(row.scores)
        frames = per_frame.setdefault(row.video, {}) if benchmark in NESTED_FRAMES else per_frame
        values = {"frame": list(row.frames), **{key: list(value) for key, value in row.per_frame.items()}}
        frames[row.obj if benchmark in NESTED_FRAMES else row.name] = values
    return {
        "benchmark": benchmark,
        "tool": found.tool,
        "options": dict(options),
        "gt": gt,
        "pred": pred,
        "headline": {"key": found.headline.key, "of": list(found.headline.of), "scale": found.headline.scale},
        "global": found.overall,
        "per_video": _per_video(found),
        "per_object": per_object,
        "per_frame": per_frame,
        "objects": [
            {"video": row.video, "object": row.obj, "name": row.name, "group": row.group, "weight": row.weight}
            for row in found.objects
        ],
        "left_out": [{"what": item.what, "why": item.why} for item in found.left_out],
        "more": dict(found.more),
    }


def rows(result: Result) -> Iterator[ObjectScores]:
    """The objects of a result, as they went in."""
    for row in result["objects"]:
        video, obj, name = row["video"], row["object"], row["name"]
        nested = result["benchmark"] in NESTED_SCORES
        scores = result["per_object"][video][obj] if nested else result["per_object"][name]
        nested = result["benchmark"] in NESTED_FRAMES
        frames = dict(result["per_frame"][video][obj] if nested else result["per_frame"][name])
        names = frames.pop("frame")
        yield ObjectScores(video, obj, name, scores, names, frames, row["group"], row["weight"])


def mean_score(objects: Sequence[ObjectScores], key: str, group: str | None = None) -> float:
    """The mean of a score over the objects (of a group) that have it; NaN where none has."""
    return mean([value for row in objects if group in (None, row.group) and (value := row.scores[key]) is not None])


def headline_value(scores: Scores, headline: Mapping[str, Any]) -> float:
    """An object's (or a video's) value of what the headline is the mean of, in percent."""
    values = [scores[key] for key in headline["of"]]
    return float(headline["scale"] * np.mean([math.nan if value is None else value for value in values]))


def _per_video(found: Evaluation) -> dict[str, Scores]:
    videos: dict[str, list[ObjectScores]] = {}
    for row in found.objects:
        videos.setdefault(row.video, []).append(row)
    return {video: {key: _present_mean(objects, key) for key in objects[0].scores} for video, objects in videos.items()}


def _present_mean(objects: Sequence[ObjectScores], key: str) -> float | None:
    return None if all(row.scores[key] is None for row in objects) else mean_score(objects, key)
