"""Two or more predictions against the same annotation: who is better on which video, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2long.evaluation.bootstrap import bounds, drawn_means
from sam2long.evaluation.results import ObjectScores, Result, headline_value, rows

Array = NDArray[np.float64]


def compare(results: Mapping[str, Result], *, seed: int = 0) -> dict[str, Any]:
    """Sets results of one benchmark against the first of them, video by video.

    Args:
        results: name -> what `evaluate` returned; all of one benchmark, rules and annotation.
        seed: of the bootstrap, which draws videos: equal seeds give equal intervals.

    Returns:
        A dictionary, all numbers in percent: `headline` (the key of the number compared), `base` (the first name),
        `per_video` (video -> name -> mean of the video's objects), `scores` (name -> mean, low, high) and `differences`
        (name -> mean, low, high of that result less the base on the same videos, and on how many videos it is `better`
        or `worse`). Low and high bound the 95 % bootstrap interval; they are NaN for fewer than five videos. Means are
        those of the benchmark: over objects, frames or seen and unseen categories. `left_out` names the videos that
        some result lacks.

    Raises:
        ValueError: fewer than two results, or results that cannot be compared.
    """
    names = _comparable(results)
    headline = results[names[0]]["headline"]
    tables = {name: _by_video(result) for name, result in results.items()}
    every = dict.fromkeys(video for table in tables.values() for video in table)
    shared = [video for video in every if all(video in table for table in tables.values())]
    if not shared:
        raise ValueError(f"{' and '.join(names)} have no video in common")
    sums = {name: _sums(table, shared, headline) for name, table in tables.items()}
    per_video = {video: {name: _ratio(*of, k) for name, of in sums.items()} for k, video in enumerate(shared)}
    drawn = {name: drawn_means(*of, seed) for name, of in sums.items()}
    return {
        "headline": headline["key"],
        "base": names[0],
        "seed": seed,
        "scores": {name: _named(of) for name, of in drawn.items()},
        "differences": {
            name: _named(drawn[name] - drawn[names[0]]) | _counts(per_video, names[0], name) for name in names[1:]
        },
        "per_video": per_video,
        "left_out": [video for video in every if video not in per_video],
    }


def _comparable(results: Mapping[str, Result]) -> list[str]:
    names = list(results)
    if len(names) < 2:
        raise ValueError("a comparison takes two results or more")
    base = results[names[0]]
    for name in names[1:]:
        if any(results[name][key] != base[key] for key in ("benchmark", "options")):
            raise ValueError(f"{name} was scored by other rules than {names[0]}: evaluate both alike")
    return names


def _by_video(result: Result) -> dict[str, list[ObjectScores]]:
    table: dict[str, list[ObjectScores]] = {}
    for row in rows(result):
        table.setdefault(row.video, []).append(row)
    return table


def _sums(
    table: Mapping[str, list[ObjectScores]], videos: list[str], headline: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Weighted sums of the objects' values and their weights, each (videos, groups)."""
    groups = sorted({row.group or "" for video in videos for row in table[video]})
    sums = np.zeros((len(videos), len(groups)))
    weights = np.zeros_like(sums)
    for k, video in enumerate(videos):
        for row in table[video]:
            group = groups.index(row.group or "")
            sums[k, group] += row.weight * headline_value(row.scores, headline)
            weights[k, group] += row.weight
    return sums, weights


def _ratio(sums: Array, weights: Array, video: int) -> float:
    return float(sums[video].sum() / weights[video].sum())


def _named(drawn: Array) -> dict[str, float]:
    return dict(zip(("mean", "low", "high"), bounds(drawn), strict=True))


def _counts(per_video: Mapping[str, Mapping[str, float]], base: str, other: str) -> dict[str, int]:
    gains = [values[other] - values[base] for values in per_video.values()]
    return {"better": sum(gain > 0 for gain in gains), "worse": sum(gain < 0 for gain in gains), "videos": len(gains)}
