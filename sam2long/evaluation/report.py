"""Results as text: JSON, CSV of objects and of frames, Markdown tables."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sam2long.evaluation.results import Result, rows


def as_json(content: Mapping[str, Any]) -> str:
    """A result or a comparison as JSON: full precision, NaN and infinity as the strings "nan", "inf" and "-inf"."""
    return _dump(content, 0) + "\n"


def objects_csv(results: Mapping[str, Result]) -> str:
    """A line per prediction and object, in the units of the official tool.

    Args:
        results: name of the prediction -> its result; all of one benchmark.
    """
    table = [(name, row) for name, result in results.items() for row in rows(result)]
    keys = list(table[0][1].scores)
    header = ["prediction", "video", "object", "row", *keys]
    return _csv(header, ([name, row.video, row.obj, row.name, *_values(row.scores, keys)] for name, row in table))


def frames_csv(results: Mapping[str, Result]) -> str:
    """A line per prediction, object and scored frame."""
    table = [(name, row) for name, result in results.items() for row in rows(result)]
    keys = list(dict.fromkeys(key for _, row in table for key in row.per_frame))
    lines = (
        [name, row.video, row.obj, frame, *(row.per_frame[key][t] for key in row.per_frame)]
        for name, row in table
        for t, frame in enumerate(row.frames)
    )
    return _csv(["prediction", "video", "object", "frame", *keys], lines)


def markdown(result: Result) -> str:
    """Tables of the global numbers and of the objects', and what was left out."""
    found = list(rows(result))
    keys = list(found[0].scores)
    objects = ([row.video, row.obj, *(number(value) for value in _values(row.scores, keys))] for row in found)
    overall = result["global"]
    parts = [
        f"# {result['benchmark']}: rules of {result['tool']}",
        table(list(overall), [[number(value) for value in overall.values()]]),
        table(["video", "object", *keys], objects),
    ]
    if result["left_out"]:
        parts.append("Left out:\n" + "\n".join(f"- {item['what']}: {item['why']}" for item in result["left_out"]))
    return "\n\n".join(parts) + "\n"


def comparison_markdown(found: Mapping[str, Any]) -> str:
    """What `compare` returned as tables: the scores with their differences, and the videos."""
    base, names = found["base"], list(found["scores"])
    videos = []
    for video, values in found["per_video"].items():
        gains = (f"{values[name] - values[base]:+.1f}" for name in names[1:])
        videos.append([video, *(f"{values[name]:.1f}" for name in names), *gains])
    parts = ["# Comparison, in percent", comparison_table(found)]
    parts.append(table(["video", *names, *(f"{name} less {base}" for name in names[1:])], videos))
    if found["left_out"]:
        parts.append(f"Left out, as some prediction lacks them: {', '.join(found['left_out'])}")
    return "\n\n".join(parts) + "\n"


def comparison_table(found: Mapping[str, Any]) -> str:
    """The scores of a comparison with their differences to the base."""
    lines = []
    for name, score in found["scores"].items():
        gain = found["differences"].get(name)
        counts = f"{gain['better']} / {gain['worse']} of {gain['videos']}" if gain else ""
        lines.append([name, bounds(score), bounds(gain, "+") if gain else "", counts])
    return table(["prediction", f"{found['headline']} [95 %]", f"less {found['base']} [95 %]", "better / worse"], lines)


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (header, *lines)]
    cells.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def number(value: float | None) -> str:
    """Four digits after the point, as many as integers need."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def bounds(found: Mapping[str, float], sign: str = "") -> str:
    """A mean and its interval, if it has one: +1.2 [+0.3, +2.1]."""
    mean, low, high = (f"{found[key]:{sign}.1f}" for key in ("mean", "low", "high"))
    return mean if math.isnan(found["low"]) else f"{mean} [{low}, {high}]"


def _values(scores: Mapping[str, float | None], keys: Sequence[str]) -> list[float | None]:
    return [scores[key] for key in keys]


def _csv(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def _dump(value: Any, depth: int) -> str:
    """JSON with a line for each entry, but a list of plain values in one: there are thousands of frames."""
    inner, outer = " " * (depth + 1), " " * depth
    if isinstance(value, Mapping) and value:
        lines = (f"{inner}{json.dumps(key)}: {_dump(item, depth + 1)}" for key, item in value.items())
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        return "[\n" + ",\n".join(inner + _dump(item, depth + 1) for item in value) + f"\n{outer}]"
    if isinstance(value, list):
        return json.dumps([_plain(item) for item in value], allow_nan=False)
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
