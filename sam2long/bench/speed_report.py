"""The speed benchmark's figures as a Markdown table."""

from __future__ import annotations

from typing import Any

from sam2long.bench.speed_run import STAGES


def format_table(report: dict[str, Any]) -> str:
    """The figures as a Markdown table; `ratio` is the frame rate over SAM 2's in the same round, median (range)."""
    return "\n".join([*head(report), *(row(result) for result in report["results"])])


def head(report: dict[str, Any]) -> list[str]:
    stages = [f"{stage} ms" for stage in (*STAGES, "rest")]
    columns = ["objects", "tracker", "rounds", "frames/s", "ratio to SAM 2", "peak MB", *stages]
    return [
        f"{report['device']}, {report['config']}, {report['precision']}{', compiled' if report['compiled'] else ''}, "
        f"encode_ahead {report['encode_ahead']}, {report['frames']} frames, "
        f"torch {report['torch']}, sam2 {report['sam2']}, revision {report['revision']}",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
    ]


def row(result: dict[str, Any]) -> str:
    low, high = result["ratio_range"]
    cells = [
        str(result["objects"]),
        result["name"],
        str(result["rounds"]),
        f"{result['frames_per_second']:.2f}",
        f"{result['ratio']:.3f} ({low:.3f} to {high:.3f})",
        "-" if result["peak_mb"] is None else f"{result['peak_mb']:.0f}",
        *(f"{result['stages_ms'][stage]:.2f}" for stage in (*STAGES, "rest")),
    ]
    return "| " + " | ".join(cells) + " |"
