"""Tasks spread over the machines of a Ray cluster (extra `cluster`): an actor holds a model, a video is a call."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from sam2long.runner.output import clear_left_over
from sam2long.runner.processes import ATTEMPTS, OnEvent, WorkersFailedError
from sam2long.runner.tasks import Task
from sam2long.runner.worker import CannotWriteError, TrackerSettings, Worker


@dataclass(frozen=True)
class Cluster:
    """Where a job runs.

    Attributes:
        address: of a running cluster, as `ray.init` takes it; None starts one on this machine.
        gpus_per_worker: 0.5 lets two workers share a GPU; 0 is for CPUs.
        cpus_per_worker: cores that a worker is promised.
    """

    address: str | None = None
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0


def require_ray() -> Any:
    """The module.

    Raises:
        ImportError: naming the extra.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("--ray needs Ray: pip install 'sam2long[cluster]'") from error
    return ray


def run_on_ray(
    cluster: Cluster, settings: TrackerSettings, tasks: Sequence[Task], workers: int | None, on_event: OnEvent
) -> None:
    """Track tasks in actors, in their order, each by whoever is free; frames are reported when their video is done.

    An actor that dies is replaced and its task tried once more.

    Args:
        workers: actors; None takes as many as the cluster's GPUs (without GPUs: one) have room for.

    Raises:
        WorkersFailedError: there is no cluster, a model cannot be built, or nothing can be written.
    """
    ray = require_ray()
    with redirect_stdout(sys.stderr):  # Ray prints what happens to workers
        _run(ray, cluster, settings, tasks, workers, on_event)


def _run(
    ray: Any, cluster: Cluster, settings: TrackerSettings, tasks: Sequence[Task], workers: int | None, on_event: OnEvent
) -> None:
    started = _connect(ray, cluster)
    crew = _Crew(ray, cluster, settings)
    try:
        count = workers or _fitting(ray, cluster)
        waiting = deque((task, 1) for task in tasks)
        while waiting or crew.calls:
            while waiting and len(crew.calls) < min(count, len(tasks)):
                crew.give(*waiting.popleft())
            task, attempt, events, died = crew.next_result()
            for kind, of in events:
                if kind == "fatal":
                    raise WorkersFailedError(of["reason"])
                on_event(kind, task, of)
            if died is not None and attempt < ATTEMPTS:
                on_event("restarted", task, {"reason": died})
                waiting.appendleft((task, attempt + 1))
            elif died is not None:
                clear_left_over(task)
                on_event("failed", task, {"reason": died})
    finally:
        if started:
            ray.shutdown()
        for _, task, _ in crew.calls.values():  # whoever is still at it holds its lock
            clear_left_over(task)


def _connect(ray: Any, cluster: Cluster) -> bool:
    """Join the cluster, or start one; returns whether that was done here."""
    if ray.is_initialized():
        return False
    # SAM 2 draws a bar for every pass.
    environment = {"TQDM_DISABLE": "1"}
    try:
        ray.init(
            address=cluster.address,
            include_dashboard=None if cluster.address else False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": environment},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkersFailedError(f"no Ray cluster at {cluster.address}: {error}") from error
    return True


def _fitting(ray: Any, cluster: Cluster) -> int:
    gpus = ray.cluster_resources().get("GPU", 0)
    return max(1, int(gpus / cluster.gpus_per_worker)) if cluster.gpus_per_worker else 1


class _Crew:
    """The actors, and which of them is at what."""

    def __init__(self, ray: Any, cluster: Cluster, settings: TrackerSettings) -> None:
        self._ray = ray
        options = {"num_cpus": cluster.cpus_per_worker, "num_gpus": cluster.gpus_per_worker, "max_restarts": 0}
        self._actor = ray.remote(**options)(_Actor)
        self._settings = settings
        self._free: list[Any] = []
        self.calls: dict[Any, tuple[Any, Task, int]] = {}  # call -> actor, task, attempt

    def give(self, task: Task, attempt: int) -> None:
        actor = self._free.pop() if self._free else self._actor.remote(self._settings)
        self.calls[actor.run.remote(task)] = (actor, task, attempt)

    def next_result(self) -> tuple[Task, int, Sequence[tuple[str, Mapping[str, Any]]], str | None]:
        """Of the call that ends next: task, attempt, what happened, and if its actor died how."""
        (call, *_), _ = self._ray.wait(list(self.calls), num_returns=1)
        actor, task, attempt = self.calls.pop(call)
        try:
            events = self._ray.get(call)
        except self._ray.exceptions.RayActorError as error:
            return task, attempt, [], f"the worker died ({str(error).splitlines()[0]})"
        except self._ray.exceptions.RayError as error:
            return task, attempt, [("fatal", {"reason": f"Ray: {error}"})], None
        self._free.append(actor)
        return task, attempt, events, None


class _Actor:
    """A worker on the cluster; its model is built with its first task, whose result tells of failures."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._worker: Worker | None = None

    def run(self, task: Task) -> list[tuple[str, Mapping[str, Any]]]:
        events: list[tuple[str, Mapping[str, Any]]] = []
        frames = 0

        def report(kind: str, of: Mapping[str, Any]) -> None:
            nonlocal frames
            if kind == "frames":
                frames += of["count"]
            else:
                events.append((kind, {**of, "pid": os.getpid()} if kind == "done" else of))

        try:
            self._worker = self._worker or Worker(self._settings)
            self._worker.run(task, report)
        except (CannotWriteError, ValueError, OSError) as error:
            return [("fatal", {"reason": str(error)})]
        return [("frames", {"count": frames}), *events]
