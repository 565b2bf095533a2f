"""A job: all its videos tracked, the longest first; what fails is reported at the end and stops nothing else."""

from __future__ import annotations

import logging
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from sam2long.bench.environment import describe
from sam2long.runner import output
from sam2long.runner.cluster import Cluster, require_ray, run_on_ray
from sam2long.runner.processes import Share, WorkersFailedError, run_here, run_in_processes
from sam2long.runner.tasks import Task
from sam2long.runner.worker import TrackerSettings

logger = logging.getLogger(__name__)

_FOR_THE_RECORD = ("made_of", "files")  # what is noted of a video, and not told


@dataclass(frozen=True)
class Job:
    """Videos to track, perhaps into several folders.

    Attributes:
        tasks: each into its own `output`.
        settings: of the model.
        about: per output folder what else its results depend on (the dataset, its rules), ready for JSON.
        command: what the user typed, for `run.json`.
    """

    tasks: Sequence[Task]
    settings: TrackerSettings
    about: Mapping[Path, Mapping[str, Any]]
    command: Sequence[str] = ()


@dataclass
class Outcome:
    """What became of the videos: names of those tracked, found finished, left to another job; reasons of the failed.

    `share` is the part of the job that this process did.
    """

    share: Share = field(default_factory=Share)
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    seconds: float = 0.0


Observe = Callable[[str, Mapping[str, Any]], None]
"""Takes events: "start" (videos, frames, skipped), "frames" (count), "video" (name, outcome, ...), "end"."""


def run_job(
    job: Job, *, workers: int | None = None, observe: Observe | None = None, cluster: Cluster | None = None
) -> Outcome:
    """Track the videos of a job that are not finished yet.

    Args:
        job: what to do.
        workers: processes; None takes one for each GPU that is visible (one, where this process is one of several
            that share the job), 0 tracks in this process.
        observe: told what happens.
        cluster: where Ray runs the workers, instead of processes on this machine.

    Raises:
        ImportError: Ray is not installed, and asked for.
        ValueError: bad settings, or an output folder that holds something else, or a finished video of which other
            things are shown now, before any work is done.
        OSError: an output folder cannot be written, likewise.
        WorkersFailedError: the model cannot be built, or nothing can be written any more.
    """
    share = Share.from_environment() if cluster is None else Share()
    if cluster is not None:
        require_ray()
    if workers is not None and workers < 0:
        raise ValueError(f"workers={workers} must be at least 0")
    longest_first = sorted(job.tasks, key=lambda task: (-task.num_frames, task.name))
    mine = longest_first[share.rank :: share.of]  # of all, not of the unfinished: all shares must see one list
    runs = _begin(job, mine, share)
    running = _Running(job, runs, observe or (lambda kind, of: None))
    running.outcome.share = share
    waiting = running.begin(mine)
    try:
        if waiting and cluster is not None:
            run_on_ray(cluster, job.settings, waiting, workers, running.on_event)
        elif waiting and workers == 0:
            run_here(job.settings, waiting, running.on_event)
        elif waiting:
            run_in_processes(_each_on_its_device(job.settings, workers, share), waiting, running.on_event)
    finally:
        running.end()
    return running.outcome


def _begin(job: Job, tasks: Sequence[Task], share: Share) -> dict[Path, int]:
    """See that the folders can be gone on in, and note there that a run begins; returns its number in each."""
    output.check_names(job.tasks)
    described = job.settings.described()
    settings = {folder: {**described, **about} for folder, about in job.about.items()}
    for folder, of in settings.items():
        output.check_settings(folder, of)
    lacking = output.left_by_earlier_runs(tasks)
    runs = {folder: output.begin(folder, of, _run(job, share)) for folder, of in settings.items()}
    for task in lacking:
        logger.warning("%s has lost files: it is tracked again", task.output / task.results[0])
        output.clear(task, results=True)
    return runs


def _run(job: Job, share: Share) -> dict[str, Any]:
    """What `run.json` says of this run at its beginning."""
    return {
        "started": _now(),
        "command": list(job.command),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "config": job.settings.model.config,
        "checkpoint": str(job.settings.model.checkpoint),
        "share": asdict(share),
        # A cluster's GPUs need not be those of the machine that drives it.
        **describe(job.settings.device if torch.cuda.is_available() else torch.device("cpu")),
    }


def _each_on_its_device(settings: TrackerSettings, workers: int | None, share: Share) -> list[TrackerSettings]:
    """The settings of every worker; on GPUs in turns, unless the user has named a device."""
    named = settings.model.device is not None and settings.model.device != "cuda"
    gpus = 0 if named or settings.device.type != "cuda" else torch.cuda.device_count()
    if not gpus:
        return [settings] * (workers or 1)
    if share.of > 1:
        return [settings.on(f"cuda:{share.local_rank % gpus}")] * (workers or 1)
    return [settings.on(f"cuda:{k % gpus}") for k in range(workers or gpus)]


class _Running:
    """A job while it runs: what became of its videos, told to the observer and noted in `run.json`."""

    def __init__(self, job: Job, runs: Mapping[Path, int], observe: Observe) -> None:
        self._job, self._runs, self._observe = job, runs, observe
        self._several = len(runs) > 1
        self._partial: dict[str, int] = {}  # frames of videos that are not finished
        self._start = perf_counter()
        self.outcome = Outcome()

    def begin(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that are not finished."""
        waiting = [task for task in tasks if not output.finished(task)]
        self.outcome.skipped = [self._name(task) for task in tasks if output.finished(task)]
        frames = sum(task.num_frames for task in waiting)
        self._observe("start", {"videos": len(waiting), "frames": frames, "skipped": len(self.outcome.skipped)})
        return waiting

    def on_event(self, kind: str, task: Task | None, of: Mapping[str, Any]) -> None:
        if task is None:
            return
        name = self._name(task)
        if kind == "frames":
            self._advance(name, of["count"])
            return
        if kind == "restarted":  # its frames are tracked again
            self._advance(name, -self._partial.get(name, 0))
        else:
            # A video that failed or is another's still counts as gone through, or the time left would be wrong.
            if kind != "done":
                self._observe("frames", {"count": task.num_frames - self._partial.get(name, 0)})
            self._partial.pop(name, None)
            self._keep(kind, name, task, of)
        told = {key: value for key, value in of.items() if key not in _FOR_THE_RECORD}
        self._observe("video", {"name": name, "outcome": kind, **told})

    def _keep(self, kind: str, name: str, task: Task, of: Mapping[str, Any]) -> None:
        if kind == "done":
            self.outcome.done.append(name)
            self.outcome.frames += of["frames"]
            videos = {task.name: {**of, "run": self._runs[task.output]}}
            try:
                output.note(task.output, self._runs[task.output], videos, {})
            except OSError as error:
                raise WorkersFailedError(f"{task.output / output.RUN} cannot be written: {error}") from error
        elif kind == "taken":
            self.outcome.taken.append(name)
        else:
            self.outcome.failed[name] = of["reason"]

    def _advance(self, name: str, count: int) -> None:
        self._partial[name] = self._partial.get(name, 0) + count
        self._observe("frames", {"count": count})

    def end(self) -> None:
        self.outcome.seconds = round(perf_counter() - self._start, 3)
        of = {"ended": _now(), "seconds": self.outcome.seconds, "frames": self.outcome.frames}
        counts = {key: len(getattr(self.outcome, key)) for key in ("done", "skipped", "taken")}
        for folder, run in self._runs.items():
            try:
                output.note(folder, run, {}, {**of, **counts, "failed": self.outcome.failed})
            except OSError as error:  # a full disk has been told of already
                logger.warning("%s does not say how this run ended: %s", folder / output.RUN, error)
        self._observe("end", {**of, **counts, "failed": self.outcome.failed})

    def _name(self, task: Task) -> str:
        return f"{task.output.name}/{task.name}" if self._several else task.name


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
