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
from types import MappingProxyType
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
_CORRECTION = {"prompts", "prompts_sha256", "start", "direction"}
_NOT_KNOWN: Mapping[str, str] = MappingProxyType({})


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
    def of(
        cls, job: TrackJob, num_frames: int | None, height: int, width: int, frames: Mapping[str, str] = _NOT_KNOWN
    ) -> RunRecord:
        """The record of a run that begins, or of the one that `job` goes on with or corrects.

        Args:
            frames: the video's fingerprint.

        Raises:
            UserError: if there is nothing to correct, or it was made with other settings.
        """
        here = {**described(job, num_frames, height, width), "fingerprint": dict(frames)}
        there = None if job.going == "anew" else read_run(job.results.run)
        if there is None:
            if job.going == "correct":
                raise UserError(f"--correct: {job.results.path} holds no run; track first, without --correct")
            return cls(job.results, here)
        _require_same(job, there, here)
        record = cls(job.results, there)
        if job.going == "correct" and not record.has_state and not record.has_unsaved_correction:
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
    def has_state(self) -> bool:
        """Whether a state was saved in the run, or in its last correction."""
        return self._results.state(self.num_corrections).exists()

    @property
    def has_unsaved_correction(self) -> bool:
        """Whether the last correction saved none, so that it can be begun again only from the state before it."""
        last = self.num_corrections
        return last > 0 and not self.has_state and self._results.state(last - 1).exists()

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

    def drop_correction(self) -> None:
        """Forget the last one: another takes its place."""
        self.content["corrections"].pop()

    def correction(self) -> tuple[list[Prompt], int, str]:
        """The last one: its prompts, its first frame among the chosen ones, its direction."""
        of = self.content["corrections"][-1]
        return _prompts(of, self._results.run), of["start"], of["direction"]

    def all_prompts(self) -> list[Prompt]:
        """Those of the run and of its corrections; masks whose files are lost are left out of them."""
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

    def note_overlay(self, fps: Any) -> None:
        """Note what the overlay shows, and write.

        Raises:
            OSError: if that fails.
        """
        self.content["overlay"] = self._overlay(fps)
        self.write()

    def has_overlay(self, fps: Any) -> bool:
        """Whether the overlay shows all corrections, at the pace that is asked for (None: whichever)."""
        there = self.content.get("overlay")
        is_shown = isinstance(there, dict) and there.get("corrections") == self.num_corrections
        return is_shown and self._results.overlay.exists() and (fps is None or there == self._overlay(fps))

    def _overlay(self, fps: Any) -> dict[str, Any]:
        return {"corrections": self.num_corrections, "fps": None if fps is None else str(fps)}

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
        if not all(of.keys() >= _CORRECTION for of in content["corrections"]):
            raise ValueError("its corrections are damaged")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"cannot go on from {path}: {error}") from None
    return content


def saved_prompts(path: Path) -> list[Prompt]:
    """The prompts of the run of a `run.json`; none where there is no such file.

    Masks whose files are lost, or are not what they were, are left out of them.
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
    """As they were given; without their masks where a file of these is not what it was: a saved state holds them.

    Raises:
        UserError: for what is no list of prompts.
    """
    entries = of["prompts"]
    with_masks = [entry for entry in entries if "mask" in entry] if isinstance(entries, list) else []
    try:
        prompts = prompts_of_entries(entries, path)
        if digest_of(prompts) == of["prompts_sha256"]:
            return prompts
    except UserError as error:
        if not with_masks:
            raise UserError(f"{path}: {error}") from None
    if not with_masks:
        raise UserError(f"{path}: its prompts are not what they were when the run began")
    others = [entry for entry in entries if entry not in with_masks]
    lost = [Prompt(entry["frame"], entry["obj_id"], mask_file=Path(entry["mask"])) for entry in with_masks]
    return [*lost, *(prompts_of_entries(others, path) if others else [])]


def _require_same(job: TrackJob, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    from sam2long.frames.source import other_frames
    from sam2long.runner.output import differences

    names = _SHARED if job.going == "correct" else (*_SHARED, "direction")
    there = {"upright": True, **there}  # older runs do not say so
    found = list(differences({name: there.get(name) for name in names}, {name: here[name] for name in names}))
    if found:
        raise UserError(
            f"{job.results.path} was made with other settings ({'; '.join(found[:3])}): give the same, or another "
            "folder"
        )
    if other := other_frames(there.get("fingerprint") or {}, here["fingerprint"]):
        raise UserError(f"{job.results.path} was made of another video: its frame {other[0]} was another picture")
    own = any(prompt.is_lost for prompt in job.prompts)  # read from the record
    if job.going == "resume" and not own and there["prompts_sha256"] != here["prompts_sha256"]:
        raise UserError(
            f"{job.results.path} was made with other prompts: leave them out to go on with its own, or add some with "
            "--correct"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
