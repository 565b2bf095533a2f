"""The speed benchmark's figures as a Markdown table."""

from __future__ import annotations

from typing import Any

from sam2long.bench.speed_run import STAGES


def format_table(report: dict[str, Any]) -> str:
    """The figures as a Markdown table; `ratio` is the frame rate over SAM 2's in the same round, median (range)."""
    return "\n".join([*head(report), *(row(result) for result in report["results"])])


def head(report: dict[str, Any]) -> list[str]:
    stages = [f"{stage} ms" for stage in (*STAGES, "rest")]
    columns = ["objects", "tracker", "rounds", "frames/s", "ratio to SAM 2", "first frame s", "warm-up s"]
    columns += ["peak MB", "launches", *stages]
    return [
        f"{report['device']}, {report['config']}, {report['precision']}, "
        f"encode_ahead {report['encode_ahead']}, {report['frames']} frames, "
        f"torch {report['torch']}, sam2 {report['sam2']}, revision {report['revision']}",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
    ]


def row(result: dict[str, Any]) -> str:
    ratio = "-"
    if result["ratio_range"] is not None:
        low, high = result["ratio_range"]
        ratio = f"{result['ratio']:.3f} ({low:.3f} to {high:.3f})"
    cells = [
        str(result["objects"]),
        result["name"],
        str(result["rounds"]),
        _number(result["frames_per_second"], 2),
        ratio,
        _number(result["first_frame_s"], 2),
        _number(result["warm_up_s"], 1),
        _number(result["peak_mb"], 0),
        _number(result["launches"], 0),
        *(_number(result["stages_ms"].get(stage), 2) for stage in (*STAGES, "rest")),
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
