"""Where a contestant's points go: every frame of its records is of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# A mask is on a thing from this IoU on, and not on it below that one.
_ON, _OFF = 0.5, 0.1

KINDS: dict[str, str] = {
    "right": f"shows, IoU {_ON} or more",
    "rough": f"shows, IoU {_OFF} to {_ON}",
    "elsewhere": "shows, answered by something else",
    "look-alike": "shows, answered by a look-alike",
    "missed": "shows, answered by nothing",
    "waits": "absent, answered by nothing",
    "absent: look-alike": "absent, answered by a look-alike",
    "absent: elsewhere": "absent, answered by something else",
}


def losses(record: dict[str, Any], setting: str) -> dict[str, float]:
    """Per kind of frame, its share of a clip's frames, in percent; frame 0, which was prompted, is not counted."""
    scores = record["settings"][setting]
    present = np.asarray(record["present"], dtype=bool)[1:]
    j, on_double = np.asarray(scores["j"]), np.asarray(scores["double"]) > _ON
    answered = np.asarray(scores["answered"], dtype=bool)
    lost = present & answered & (j < _OFF)
    kinds = {
        "right": present & (j >= _ON),
        "rough": present & (j >= _OFF) & (j < _ON),
        "elsewhere": lost & ~on_double,
        "look-alike": lost & on_double,
        "missed": present & ~answered,
        "waits": ~present & ~answered,
        "absent: look-alike": ~present & answered & on_double,
        "absent: elsewhere": ~present & answered & ~on_double,
    }
    return {kind: 100 * float(frames.mean()) for kind, frames in kinds.items()}


def losses_table(records: Sequence[dict[str, Any]]) -> str:
    """Per suite and contestant, the mean share of each kind of frame, as Markdown."""
    suites = list(dict.fromkeys(record["suite"] for record in records))
    lines = [f"| suite | setting | {' | '.join(KINDS)} |", "|" + "---|" * (2 + len(KINDS))]
    for suite in [*suites, *(["all"] if len(suites) > 1 else [])]:
        clips = [record for record in records if suite in (record["suite"], "all")]
        for setting in clips[0]["settings"]:
            shares = [losses(clip, setting) for clip in clips]
            cells = [f"{np.mean([share[kind] for share in shares]):.1f}" for kind in KINDS]
            lines.append(f"| {suite} | {setting} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
