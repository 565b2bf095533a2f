"""The figure of the long benchmark: memory, time and pending frames against the frame number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# SAM 2 in grey, the tree in colours that differ also for the colour-blind.
_COLOURS = {"SAM 2": "#7f7f7f", "memory tree": "#0072b2", "memory tree, every frame uncertain": "#d55e00"}
_PANELS = {
    "device_mb": "device memory (MB)",
    "host_mb": "host memory (MB)",
    "wall_ms": "time per frame (ms)",
    "cpu_ms": "processor time per frame (ms)",
    "pending": "frames pending",
}


def plot(report: dict[str, Any], path: Path) -> None:
    """Write the figure as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    on_gpu = any(row["curve"]["device_mb"] for row in report["results"])
    # Without a GPU the processor's own clock counts: wall time shows what else the machine does.
    left_out = ("cpu_ms",) if on_gpu else ("device_mb", "wall_ms")
    panels = {key: title for key, title in _PANELS.items() if key not in left_out}
    figure = Figure(figsize=(4.2 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for row in report["results"]:
            axes.plot(row["curve"]["frame"], row["curve"][key], label=row["name"], color=_COLOURS[row["name"]], lw=1.4)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("frame")
        axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        axes.grid(alpha=0.25)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    objects = "1 object" if report["objects"] == 1 else f"{report['objects']} objects"
    figure.suptitle(f"{report['frames']:,} frames, {objects}, {report['device']}", fontsize=11)
    figure.savefig(path, format="png", dpi=120)
