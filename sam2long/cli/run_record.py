"""`run.json`: what a run was made with, enough to run it again, to go on with it and to correct it."""

from __future__ import annotations

import hashlib
import json
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from sam2long.cli.errors import UserError
from sam2long.cli.job_options import command_line
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompt_file import prompts_of_entries
from sam2long.cli.prompts import Prompt
from sam2long.cli.track_job import TrackJob

# What a run must share with the one that it goes on with or corrects; of a correction, the direction is its own.
_SHARED = ("num_frames", "height", "width", "frames", "upright", "memory_tree", "settings")


class RunRecord:
    """The content of `run.json`, written whenever it changes.

    Args:
        results: the folder.
        content: see `described`.
    """

    def __init__(self, results: ResultFolder, content: dict[str, Any]) -> None:
        self._results = results
        self.content = content
        self._start = monotonic()

    @classmethod
    def of(cls, job: TrackJob, num_frames: int | None, height: int, width: int) -> RunRecord:
        """The record of a run that begins, or of the one that `job` goes on with or corrects.

        Raises:
            UserError: if there is nothing to correct, or it was made with other settings.
        """
        here = described(job, num_frames, height, width)
        there = None if job.going == "anew" else read_run(job.results.run)
        if there is None:
            if job.going == "correct":
                raise UserError(f"--correct: {job.results.path} holds no run; track first, without --correct")
            return cls(job.results, here)
        _require_same(job, there, here)
        record = cls(job.results, there)
        if job.going == "correct" and not job.results.state(record.num_corrections).exists():
            raise UserError(
                f"--correct: {job.results.path} holds no saved state (interrupted early, or --save-every 0), so its "
                "frames cannot be kept: track anew with all prompts and --overwrite"
            )
        return record

    @property
    def is_begun(self) -> bool:
        """Whether a run was recorded before."""
        return bool(self.content["runs"])

    @property
    def is_finished(self) -> bool:
        return bool(self.content["finished"])

    @property
    def seconds(self) -> float:
        """Since it began or went on."""
        return round(monotonic() - self._start, 3)

    @property
    def num_corrections(self) -> int:
        return len(self.content["corrections"])

    def begin_run(self, job: TrackJob) -> None:
        """Note who computes what from now on."""
        from sam2long.bench.environment import describe

        self._start = monotonic()
        self.content["finished"] = False
        self.content["runs"].append(
            {
                "started": _now(),
                "command": command_line(),
                "host": socket.gethostname(),
                "platform": platform.platform(),
                **describe(job.settings.device),
            }
        )

    def add_correction(self, prompts: Sequence[Prompt], start: int, direction: str) -> None:
        """Note a correction; `start` counts the chosen frames."""
        entries = [entry_of(prompt) for prompt in prompts]
        digest = digest_of(prompts)
        self.content["corrections"].append(
            {"prompts": entries, "prompts_sha256": digest, "start": start, "direction": direction}
        )

    def correction(self) -> tuple[list[Prompt], int, str]:
        """The last one.

        Raises:
            UserError: if a mask among its prompts is not what it was.
        """
        of = self.content["corrections"][-1]
        return _prompts(of, self._results.run), of["start"], of["direction"]

    def all_prompts(self) -> list[Prompt]:
        """Those of the run and of its corrections."""
        rounds = [self.content, *self.content["corrections"]]
        return [prompt for of in rounds for prompt in _prompts(of, self._results.run)]

    def end_run(self, outcome: str, frames: int) -> None:
        """Note how it ended ("finished", "interrupted" or "failed"), and write.

        Raises:
            OSError: if that fails.
        """
        self.content["runs"][-1].update(ended=_now(), seconds=self.seconds, frames=frames, outcome=outcome)
        self.content["finished"] = outcome == "finished"
        self.write()

    def write(self) -> None:
        self._results.write_run(self.content)


def described(job: TrackJob, num_frames: int | None, height: int, width: int) -> dict[str, Any]:
    """What `run.json` says of a run that begins; the number of frames is None for a stream."""
    return {
        "video": job.video,
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "frames": str(job.frames),
        "upright": job.upright,
        "config": job.model.config,
        "checkpoint": str(job.model.checkpoint),
        "memory_tree": asdict(job.model.memory_tree),
        "settings": job.settings.described(),
        "direction": job.direction,
        "prompts": [entry_of(prompt) for prompt in job.prompts],
        "prompts_sha256": digest_of(job.prompts),
        "corrections": [],
        "finished": False,
        "runs": [],
    }


def read_run(path: Path) -> dict[str, Any] | None:
    """The content of a `run.json`; None where there is none.

    Raises:
        UserError: if it is another program's, or an older version's.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        if not {"settings", "prompts", "prompts_sha256", "corrections", "finished", "runs"} <= content.keys():
            raise ValueError("it is another command's or an older version's")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"cannot go on from {path}: {error}") from None
    return content


def saved_prompts(path: Path) -> list[Prompt]:
    """The prompts of the run of a `run.json`; none where there is no such file.

    Raises:
        UserError: if a mask among them is not what it was.
    """
    content = read_run(path)
    return [] if content is None else _prompts(content, path)


def entry_of(prompt: Prompt) -> dict[str, Any]:
    """A prompt as prompt files hold it."""
    entry: dict[str, Any] = {"frame": prompt.frame_idx, "obj_id": prompt.obj_id}
    if prompt.mask_file is not None:
        return {**entry, "mask": str(prompt.mask_file.resolve())}
    if prompt.points:
        entry |= {"points": [list(point) for point in prompt.points], "labels": list(prompt.labels)}
    return entry if prompt.box is None else {**entry, "box": list(prompt.box)}


def digest_of(prompts: Sequence[Prompt]) -> str:
    """Of what they show, whatever the names of files."""
    found = hashlib.sha256()
    for prompt in prompts:
        shown = [prompt.frame_idx, prompt.obj_id, prompt.points, prompt.labels, prompt.box]
        found.update(json.dumps(shown).encode())
        if prompt.mask is not None:
            found.update(np.packbits(prompt.mask).tobytes())
    return found.hexdigest()


def _prompts(of: Mapping[str, Any], path: Path) -> list[Prompt]:
    try:
        prompts = prompts_of_entries(of["prompts"], path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if digest_of(prompts) != of["prompts_sha256"]:
        raise UserError(f"{path}: a mask among the prompts is not what it was when the run began")
    return prompts


def _require_same(job: TrackJob, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    from sam2long.runner.output import differences

    names = _SHARED if job.going == "correct" else (*_SHARED, "direction")
    there = {"upright": True, **there}  # older runs do not say so
    found = list(differences({name: there.get(name) for name in names}, {name: here[name] for name in names}))
    if found:
        raise UserError(
            f"{job.results.path} was made with other settings ({'; '.join(found[:3])}): give the same, or another "
            "folder"
        )
    if job.going == "resume" and there["prompts_sha256"] != here["prompts_sha256"]:
        raise UserError(
            f"{job.results.path} was made with other prompts: leave them out to go on with its own, or add some with "
            "--correct"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
