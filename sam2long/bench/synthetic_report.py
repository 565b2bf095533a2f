"""From clip records to figures: means, bootstrap intervals, paired differences, a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2long.bench.synthetic_settings import BASELINE
from sam2long.evaluation.bootstrap import interval

Record = dict[str, Any]
Array = NDArray[np.float64]
_MEASURES = ("J&F", "J", "F", "present", "reappear", "absent wrong", "switches", "oracle", "pathways", "ms")
_GAINS = {"J&F": "gain", "present": "present gain", "reappear": "reappear gain", "switches": "switches gain"}


def clip_figures(record: Record, setting: str) -> dict[str, float]:
    """One clip's figures for one setting, in percent (switches: a count).

    `present` is J&F over the frames on which the object shows, `reappear` over those on which it is back after an
    absence; `absent wrong` is the share of frames without the object that are answered with something; `switches`
    counts how often the answer goes over to a look-alike; `pathways` is the mean number of distinct ones, `ms` the
    milliseconds a frame takes beyond its encoding; what a clip cannot tell is NaN.
    """
    scores = record["settings"][setting]
    j, f = np.asarray(scores["j"]), np.asarray(scores["f"])
    both = (j + f) / 2
    present = np.asarray(record["present"])
    back = _back_after_absence(present)[1:]
    on_double = (np.asarray(scores["double"]) > 0.5) & (j < 0.1)
    switches = int(on_double[0]) + np.count_nonzero(on_double[1:] & ~on_double[:-1])
    return {
        "J&F": 100 * float(both.mean()),
        "J": 100 * float(j.mean()),
        "F": 100 * float(f.mean()),
        "present": 100 * float(both[present[1:]].mean()) if present[1:].any() else float("nan"),
        "reappear": 100 * float(both[back].mean()) if back.any() else float("nan"),
        "absent wrong": 100 * float((j[~present[1:]] < 1).mean()) if not present[1:].all() else float("nan"),
        "switches": float(switches),
        "oracle": 100 * float(np.mean(scores["oracle"])) if scores.get("oracle") else float("nan"),
        "pathways": float(np.mean(scores["pathways"])) if scores.get("pathways") else float("nan"),
        "ms": float(scores.get("ms", "nan")),
    }


def _back_after_absence(present: NDArray[np.bool_], least: int = 2) -> NDArray[np.bool_]:
    """(T,): frames on which the object shows, and before which it was away for `least` frames or more in a row."""
    back, away, was_away = np.zeros(len(present), bool), 0, False
    for t, here in enumerate(present):
        away = 0 if here else away + 1
        was_away = was_away or away >= least
        back[t] = here and was_away
    return back


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Per suite and setting: `measure: {mean, low, high}`, and `gain`: the paired difference in J&F to SAM 2.

    `over` holds the paired differences in J&F to the other settings, `absent` the share of frames on which nothing is
    the right answer. Where there are several suites, `all` is about the clips of all of them.
    """
    summary: dict[str, Any] = {}
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["suite"], []).append(record)
    if len(groups) > 1:
        groups["all"] = list(records)
    for suite, clips in groups.items():
        rows: dict[str, Any] = {}
        columns_of: dict[str, dict[str, Array]] = {}
        for setting in clips[0]["settings"]:
            per_clip = [clip_figures(clip, setting) for clip in clips]
            columns = {name: np.array([figures[name] for figures in per_clip]) for name in _MEASURES}
            rows[setting] = {name: _named(interval(values)) for name, values in columns.items()}
            base = columns_of.get(BASELINE, {})
            rows[setting] |= {
                gain: _named(interval(columns[name] - base[name])) for name, gain in _GAINS.items() if base
            }
            rows[setting]["over"] = {
                other: _named(interval(columns["J&F"] - theirs["J&F"])) for other, theirs in columns_of.items()
            }
            columns_of[setting] = columns
        absent = float(np.mean([np.mean(~np.asarray(clip["present"])) for clip in clips]))
        summary[suite] = {"clips": len(clips), "absent": absent, "settings": rows}
    return summary


def _named(values: tuple[float, float, float]) -> dict[str, float | None]:
    rounded = (None if np.isnan(value) else round(value, 3) for value in values)  # JSON knows no NaN
    return dict(zip(("mean", "low", "high"), rounded, strict=True))


def table(summary: dict[str, Any]) -> str:
    """The summary as Markdown."""
    lines = [
        "| suite | setting | J&F | J | F | gain in J&F [95 %] | where it shows | its gain [95 %] "
        "| after absence | its gain [95 %] | absent, answered (%) | switches | oracle | pathways | ms |",
        "|" + "---|" * 15,
    ]
    for suite, figures in summary.items():
        for setting, row in figures["settings"].items():
            cells = [f"{suite} ({figures['clips']}, {100 * figures['absent']:.0f} % absent)", setting]
            cells += [_cell(row, name) for name in ("J&F", "J", "F")]
            cells.append(_gain(row, "gain"))
            for name in ("present", "reappear"):
                cells += [_cell(row, name), _gain(row, f"{name} gain")]
            cells += [
                _cell(row, "absent wrong"),
                _cell(row, "switches", 2),
                _cell(row, "oracle"),
                _cell(row, "pathways", 2),
                _cell(row, "ms"),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], name: str, digits: int = 1) -> str:
    mean = row[name]["mean"]
    return "" if mean is None else f"{mean:.{digits}f}"


def _gain(row: dict[str, Any], name: str) -> str:
    gain = row.get(name, {"mean": None})
    if gain["mean"] is None:
        return ""
    if gain["low"] is None:
        return f"{gain['mean']:+.1f}"
    return f"{gain['mean']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}]"


def plot(summary: dict[str, Any], path: Path) -> None:
    """Gains over SAM 2 with their intervals, one group of bars a suite.

    Raises:
        ImportError: without matplotlib (extra `viz`).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    suites = list(summary)
    contestants = [name for name in summary[suites[0]]["settings"] if name != BASELINE]
    width = 0.8 / max(len(contestants), 1)
    for k, name in enumerate(contestants):
        gains = [summary[suite]["settings"][name]["gain"] for suite in suites]
        mean = np.array([gain["mean"] for gain in gains])
        ends = np.array([[gain["low"], gain["high"]] for gain in gains], float).T  # None becomes NaN: no whisker
        spread = np.nan_to_num(np.abs(ends - mean))
        where = np.arange(len(suites)) + (k - (len(contestants) - 1) / 2) * width
        axis.bar(where, mean, width * 0.9, yerr=spread, capsize=3, label=name)
    axis.set_xticks(np.arange(len(suites)), suites)
    axis.axhline(0, color="black", lw=0.8)
    axis.set_ylabel("gain in J&F over SAM 2 (points, 95 %)")
    axis.legend()
    figure.savefig(path, dpi=120)
