"""The videos of a benchmark, scored in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import Protocol, TypeVar

from tqdm import tqdm

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
    workers = min(workers, len(jobs))
    with tqdm(total=sum(sizes), desc="evaluate", unit="frame", disable=not progress, leave=False) as bar:
        if workers <= 1:
            done: dict[int, Scored] = {}
            for k in longest_first:
                done[k] = score(jobs[k])
                bar.update(sizes[k])
        else:
            # Fresh processes: a forked one would inherit the threads' locks of whatever the caller runs.
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                try:
                    futures: dict[Future[Scored], int] = {pool.submit(score, jobs[k]): k for k in longest_first}
                    done = {}
                    for future in as_completed(futures):
                        done[futures[future]] = future.result()
                        bar.update(sizes[futures[future]])
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    return [done[k] for k in range(len(jobs))]
