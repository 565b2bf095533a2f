"""The videos of a benchmark, scored in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import Protocol, TypeVar

from tqdm import tqdm

from sam2long.child_process import follow_parent

Job = TypeVar("Job")
Scored = TypeVar("Scored")


class MapVideos(Protocol):
    """Applies a function of a module to jobs, one a video; results come in the order of the jobs.

    `sizes` says how much work each job is: the longest go first.
    """

    def __call__(
        self, score: Callable[[Job], Scored], jobs: Sequence[Job], sizes: Sequence[int], /
    ) -> list[Scored]: ...


def map_videos(workers: int | None = None, *, progress: bool = False) -> MapVideos:
    """A mapper over videos.

    Args:
        workers: processes; None takes one for each core this process may use; 1 starts none.
        progress: show a bar on stderr.

    Raises:
        ValueError: fewer than one worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    return partial(_map, workers or usable_cores(), progress)


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _map(
    workers: int, progress: bool, score: Callable[[Job], Scored], jobs: Sequence[Job], sizes: Sequence[int]
) -> list[Scored]:
    longest_first = sorted(range(len(jobs)), key=lambda k: -sizes[k])
    done: dict[int, Scored] = {}
    with tqdm(total=sum(sizes), desc="evaluate", disable=not progress, leave=False) as bar:
        results = _in_order if min(workers, len(jobs)) <= 1 else _in_processes
        for k, scored in results(min(workers, len(jobs)), score, jobs, longest_first):
            done[k] = scored
            bar.update(sizes[k])
    return [done[k] for k in range(len(jobs))]


def _in_order(
    _: int, score: Callable[[Job], Scored], jobs: Sequence[Job], order: Sequence[int]
) -> Iterator[tuple[int, Scored]]:
    for k in order:
        yield k, score(jobs[k])


def _in_processes(
    workers: int, score: Callable[[Job], Scored], jobs: Sequence[Job], order: Sequence[int]
) -> Iterator[tuple[int, Scored]]:
    # Fresh processes: a forked one would inherit the locks of whatever threads the caller runs.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=follow_parent) as pool:
        try:
            futures = {pool.submit(score, jobs[k]): k for k in order}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
