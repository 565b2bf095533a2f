"""A picture of a comparison: every video as a point, and how J goes over time on the worst of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam2long.evaluation.report import bounds
from sam2long.evaluation.results import Result, rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#8a8a8a", "#d1495b", "#2878b5", "#3a9d5d", "#e39c2d", "#7b4ea3", "#16a3a3")
_WORST = 3
_LABELLED = 3


def comparison_figure(found: Mapping[str, Any], results: Mapping[str, Result]) -> Figure:
    """Draws what `compare` returned.

    On the left a point per video, the base along x, the others along y: above the line they are better. On the right J
    (or the overlap of boxes), mean over the objects, over the frames of the three videos that are worst over all
    predictions.

    Args:
        found: the comparison.
        results: those it was made of.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the figure needs matplotlib: pip install matplotlib (extra sam2long[viz])") from error
    colors = {name: _COLORS[k % len(_COLORS)] for k, name in enumerate(results)}
    means = {video: float(np.mean(list(values.values()))) for video, values in found["per_video"].items()}
    worst = sorted(means, key=lambda video: means[video])[:_WORST]
    figure = Figure(figsize=(12, 5.8), layout="constrained")
    grid = figure.add_gridspec(len(worst), 2, width_ratios=(1, 1.25))
    _draw_videos(figure.add_subplot(grid[:, 0]), found, colors)
    for k, video in enumerate(worst):
        axis = figure.add_subplot(grid[k, 1])
        _draw_frames(axis, video, found, results, colors)
    axis.set_xlabel("scored frame")
    benchmark = next(iter(results.values()))["benchmark"]
    title = f"{benchmark}: {found['headline']} of {len(means)} videos (left), the {len(worst)} worst over time (right)"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _draw_videos(axis: Axes, found: Mapping[str, Any], colors: Mapping[str, str]) -> None:
    base, videos = found["base"], found["per_video"]
    for name, gain in found["differences"].items():
        x, y = ([values[of] for values in videos.values()] for of in (base, name))
        axis.scatter(x, y, 26, colors[name], alpha=0.75, linewidth=0, label=f"{bounds(gain, '+')} {_plain(name)}")
    numbers = [value for values in videos.values() for value in values.values()]
    low = max(0, np.floor(min(numbers) / 10) * 10 - 3)
    high = min(103, np.ceil(max(numbers) / 10) * 10 + 3)
    axis.plot([low, high], [low, high], color="black", lw=0.8, zorder=0)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    mean = found["scores"][base]["mean"]
    axis.set(xlabel=f"{found['headline']} of {_plain(base)} ({mean:.1f})", ylabel="of the others")
    axis.grid(alpha=0.25)
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderpad": 0}
    axis.legend(title=f"difference to {_plain(base)} [95 %]", frameon=False, alignment="left", **above)
    _label_outliers(axis, found)


def _label_outliers(axis: Axes, found: Mapping[str, Any]) -> None:
    """Names the videos that differ most."""
    base = found["base"]
    gains = [
        (abs(values[name] - values[base]), video, values[base], values[name])
        for video, values in found["per_video"].items()
        for name in found["differences"]
    ]
    for gain, video, x, y in sorted(gains, reverse=True)[:_LABELLED]:
        if gain > 0:
            left = x > np.mean(axis.get_xlim())  # a name must not leave the field
            offset, side = ((-6, 0), "right") if left else ((6, 0), "left")
            axis.annotate(_plain(video), (x, y), offset, textcoords="offset points", ha=side, va="center", fontsize=8)


def _draw_frames(
    axis: Axes, video: str, found: Mapping[str, Any], results: Mapping[str, Result], colors: Mapping[str, str]
) -> None:
    for name, result in results.items():
        width = 2.4 if name == found["base"] else 1.4
        label = f"{found['per_video'][video][name]:.1f} {_plain(name)}"  # a label must not start with a name's "_"
        axis.plot(j_over_time(result, video), color=colors[name], label=label, lw=width, alpha=0.8)
    boxes = "overlap" in next(rows(next(iter(results.values())))).per_frame
    axis.set(ylim=(-4, 104), ylabel="overlap (%)" if boxes else "J (%)")
    axis.set_title(_plain(video), loc="left", fontsize=10)
    axis.grid(alpha=0.25)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(results), frameon=False, fontsize=8, borderpad=0)


def j_over_time(result: Result, video: str) -> NDArray[np.float64]:
    """J of every scored frame of a video, mean over the objects scored on it, in percent; of boxes the overlap."""
    values: dict[str, list[float]] = {}
    scale = result["headline"]["scale"]
    for row in rows(result):
        if row.video == video and row.per_frame:
            measured = np.array(row.per_frame["J"] if "J" in row.per_frame else row.per_frame["overlap"], float)
            scale = scale if "J" in row.per_frame else 100
            measured[measured < 0] = np.nan  # invalid for LaSOT
            for frame, value in zip(row.frames, measured, strict=True):
                values.setdefault(frame, []).append(value)
    frames = sorted(frame for frame in values if frame)  # a slot of LVOS without a frame has no name
    return scale * np.array([np.nanmean(of) if np.isfinite(of := values[frame]).any() else np.nan for frame in frames])


def _plain(name: str) -> str:
    """A name that matplotlib does not read as a formula."""
    return name.replace("$", r"\$")
