"""Tasks spread over worker processes; one that dies is replaced, and its video tried once more."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from tqdm import tqdm

from sam2long.child_process import follow_parent
from sam2long.runner.output import clear_left_over
from sam2long.runner.tasks import Task
from sam2long.runner.worker import CannotWriteError, TrackerSettings, Worker

ATTEMPTS = 2  # at a video, by workers that die

OnEvent = Callable[[str, "Task | None", Mapping[str, Any]], None]
"""Takes what happens with which task: a worker's reports, and "restarted" when a task begins anew."""


class WorkersFailedError(Exception):
    """Workers cannot start, or nothing can be written: the job ends."""


def run_here(settings: TrackerSettings, tasks: Sequence[Task], on_event: OnEvent) -> None:
    """Track tasks in this process.

    Raises:
        WorkersFailedError: the model cannot be built, or nothing can be written.
    """
    try:
        worker = Worker(settings)
        for task in tasks:
            worker.run(task, lambda kind, of, task=task: on_event(kind, task, of))  # type: ignore[misc]
    except (CannotWriteError, ValueError, OSError) as error:
        raise WorkersFailedError(str(error)) from error


def run_in_processes(settings: Sequence[TrackerSettings], tasks: Sequence[Task], on_event: OnEvent) -> None:
    """Track tasks in one process for each of `settings`, in their order, each by whoever is free.

    A process that dies (for lack of memory, by `kill`) is replaced and its task tried once more.

    Raises:
        WorkersFailedError: a model cannot be built, or nothing can be written.
    """
    waiting = deque((task, 1) for task in tasks)
    hands: list[_Hand] = []
    try:
        with _quiet_passes():
            hands += [_Hand(of, threads=_threads(len(settings))) for of in settings[: len(tasks)]]
            while True:
                for hand in hands:
                    if hand.free and waiting:
                        hand.give(*waiting.popleft())
                if not any(hand.task for hand in hands):
                    return
                _attend(hands, waiting, on_event)
    finally:
        for hand in hands:
            hand.stop()


def _attend(hands: Sequence[_Hand], waiting: deque[tuple[Task, int]], on_event: OnEvent) -> None:
    """Take the next message of any worker, or the death of one."""
    ready = wait([hand.pipe for hand in hands if hand.task])
    for hand in hands:
        if hand.pipe not in ready:
            continue
        task, attempt = hand.task, hand.attempt
        try:
            kind, of = hand.pipe.recv()
        except (EOFError, OSError):
            died = hand.replace()
            if attempt < ATTEMPTS:
                on_event("restarted", task, {"reason": died})
                waiting.appendleft((task, attempt + 1))  # type: ignore[arg-type]
            else:
                clear_left_over(task)  # type: ignore[arg-type]
                on_event("failed", task, {"reason": died})
            continue
        if kind == "fatal":
            raise WorkersFailedError(of["reason"])
        if kind != "frames":
            hand.task = None
        on_event(kind, task, of)


class _Hand:
    """A worker process, as its driver holds it."""

    def __init__(self, settings: TrackerSettings, threads: int | None) -> None:
        self._settings, self._threads = settings, threads
        self.task: Task | None = None
        self.attempt = 0
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")  # a forked process could use no GPU
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._settings, self._threads))
        self._process.start()
        theirs.close()

    @property
    def free(self) -> bool:
        return self.task is None

    def give(self, task: Task, attempt: int) -> None:
        self.task, self.attempt = task, attempt
        try:
            self.pipe.send(task)
        except OSError:  # it died since its last task: the driver finds that out next
            return

    def replace(self) -> str:
        """Start another process in its place; says how this one died."""
        self._process.join()
        code = self._process.exitcode or 0
        self.pipe.close()
        self.task = None
        self._start()
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"the worker died ({how}{', perhaps for lack of memory' if code == -signal.SIGKILL else ''})"

    def stop(self) -> None:
        """End it: at once where it is at work, else it leaves when its pipe is closed."""
        if self.task is not None:
            self._process.terminate()
        self.pipe.close()
        self._process.join()
        if self.task is not None:
            clear_left_over(self.task)


def _work(pipe: Connection, settings: TrackerSettings, threads: int | None) -> None:
    """The life of a worker: tasks in, reports out, until the driver closes the pipe or is gone."""
    follow_parent()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed process leaves behind
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    try:
        worker = None
        while True:
            task = pipe.recv()
            worker = worker or Worker(settings)  # not before: the driver hears of failures in the place of a result
            worker.run(task, lambda kind, of: pipe.send((kind, dict(of))))
    except (EOFError, BrokenPipeError):
        return
    except (CannotWriteError, ValueError, OSError) as error:
        pipe.send(("fatal", {"reason": str(error)}))


def _threads(workers: int) -> int | None:
    """Threads for each of several workers; None leaves PyTorch's choice."""
    return None if workers == 1 else max(1, (os.cpu_count() or 1) // workers)


@contextmanager
def _quiet_passes() -> Iterator[None]:
    """SAM 2 draws a bar for every pass; processes started in this block draw none."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before


@dataclass(frozen=True)
class Share:
    """Which part of a job this process does, of several that were started alike (torchrun, SLURM).

    Attributes:
        rank, of: the process's number, and how many there are.
        local_rank: its number on its machine.
    """

    rank: int = 0
    of: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Share:
        """By torchrun's variables, or srun's; the whole job where there are none.

        Raises:
            ValueError: they are no numbers, or make no sense.
        """
        for names in (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")):
            texts = [os.environ.get(name) for name in names]
            if texts[0] is None or texts[1] is None:
                continue
            try:
                rank, size, local = int(texts[0]), int(texts[1]), int(texts[2] or 0)
            except ValueError:
                raise ValueError(f"{names[0]}={texts[0]}, {names[1]}={texts[1]}: these must be numbers") from None
            if not 0 <= rank < size:
                raise ValueError(f"{names[0]}={rank} is out of range: it goes from 0 to {names[1]} - 1 = {size - 1}")
            return cls(rank, size, local)
        return cls()
