"""How a job over many videos shows itself: one bar over all frames, lines of JSON, or nothing; and how it ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError

if TYPE_CHECKING:
    from sam2long.runner.job import Outcome

_SHOWN = 20  # failed videos


class Bar:
    """One bar over the frames of the whole job, on stderr, with the time that is left."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, kind: str, of: Mapping[str, Any]) -> None:
        if kind == "start" and of["videos"]:
            from sam2long.frame_bar import FrameBar  # not above: tqdm reads TQDM_DISABLE when it is imported

            self._bar = FrameBar(total=of["frames"], desc=f"{of['videos']} videos", file=sys.stderr)
        elif self._bar is None:
            return
        elif kind == "frames":
            self._bar.update(of["count"])
        elif kind == "video" and of["outcome"] in ("failed", "restarted"):
            self._bar.write(f"{of['name']}: {of['outcome']}: {of['reason']}", file=sys.stderr)
        elif kind == "end":
            self._bar.close()


class JsonLines:
    """Events as one JSON object a line, on stdout: `start`, `progress` (once a second), `video`, `end`."""

    def __init__(self) -> None:
        self._out = sys.stdout
        self._frames = 0
        self._total: Any = 0
        self._start = self._told = 0.0

    def __call__(self, kind: str, of: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if kind == "frames":
            self._frames += of["count"]
            if now - self._told >= 1:
                self._told = now
                self._write("progress", self._progress(now))
            return
        if kind == "start":
            self._total, self._start = of["frames"], now
        self._write(kind, {**of, **(self._progress(now) if kind == "video" else {})})

    def _progress(self, now: float) -> dict[str, Any]:
        elapsed = now - self._start
        known = self._frames > 0 and self._total is not None  # of a stream it is not
        left = elapsed / self._frames * (self._total - self._frames) if known else None
        rounded = None if left is None else round(left, 1)
        return {"frames_done": self._frames, "frames_total": self._total, "seconds_left": rounded}

    def _write(self, event: str, of: Mapping[str, Any]) -> None:
        print(json.dumps({"event": event, **of}), file=self._out, flush=True)


def observer(*, quiet: bool, json_lines: bool) -> Bar | JsonLines | None:
    """What shows the job, by its options."""
    if json_lines:
        return JsonLines()
    return None if quiet else Bar()


def conclude(outcome: Outcome, results: str, remark: str = "", *, silent: bool) -> int:
    """Say what became of the videos; returns the exit status, 0.

    Raises:
        UserError: status 1, naming the videos that failed.
    """
    if not silent:
        parts = [f"{len(outcome.done)} videos tracked ({outcome.frames} frames in {outcome.seconds:.0f} s)"]
        parts += [f"{len(outcome.skipped)} were finished before"] if outcome.skipped else []
        parts += [f"{len(outcome.taken)} are left to another job"] if outcome.taken else []
        if outcome.share.of > 1:  # a batch script that forgets `srun` would else miss most videos without a word
            parts.append(f"share {outcome.share.rank} of {outcome.share.of}, by torchrun's or SLURM's variables")
        print("; ".join(parts))
        print(f"results  {results}")
        if remark:
            print(remark)
    if not outcome.failed:
        return 0
    for name, reason in list(outcome.failed.items())[:_SHOWN]:
        print(f"failed: {name}: {' '.join(reason.split())}", file=sys.stderr)
    names = ", ".join(list(outcome.failed)[:5]) + (" ..." if len(outcome.failed) > 5 else "")
    raise UserError(f"{len(outcome.failed)} videos failed ({names}); the same command tries them again", exit_status=1)
