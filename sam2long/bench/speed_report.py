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
    low, high = result["ratio_range"]
    cells = [
        str(result["objects"]),
        result["name"],
        str(result["rounds"]),
        f"{result['frames_per_second']:.2f}",
        f"{result['ratio']:.3f} ({low:.3f} to {high:.3f})",
        f"{result['first_frame_s']:.2f}",
        f"{result['warm_up_s']:.1f}",
        *("-" if result[name] is None else f"{result[name]:.0f}" for name in ("peak_mb", "launches")),
        *(f"{result['stages_ms'][stage]:.2f}" if result["stages_ms"] else "-" for stage in (*STAGES, "rest")),
    ]
    return "| " + " | ".join(cells) + " |"
