"""From a benchmark's name to its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from sam2long.evaluation.davis import evaluate_davis2017
from sam2long.evaluation.got10k import evaluate_got10k
from sam2long.evaluation.lasot import evaluate_lasot
from sam2long.evaluation.lvos import evaluate_lvos
from sam2long.evaluation.masks import existing_folder
from sam2long.evaluation.mosev2 import evaluate_mosev2
from sam2long.evaluation.processes import map_videos
from sam2long.evaluation.results import Evaluation, Result, as_result
from sam2long.evaluation.vos import evaluate_sav, evaluate_vos
from sam2long.evaluation.vost import evaluate_vost
from sam2long.evaluation.youtube_vos import evaluate_youtube_vos

BENCHMARKS: dict[str, Callable[..., Evaluation]] = {
    "davis2017": evaluate_davis2017,
    "vos": evaluate_vos,
    "sav": evaluate_sav,
    "lvos": evaluate_lvos,
    "mosev2": evaluate_mosev2,
    "vost": evaluate_vost,
    "ytvos": evaluate_youtube_vos,
    "lasot": evaluate_lasot,
    "got10k": evaluate_got10k,
}


def evaluate(
    benchmark: str,
    gt: str | PathLike[str],
    pred: str | PathLike[str],
    *,
    workers: int | None = 1,
    progress: bool = False,
    **options: Any,
) -> Result:
    """Scores a folder of predictions by the rules of a benchmark's official tool.

    Args:
        benchmark: one of `BENCHMARKS`.
        gt, pred: the folders, in the official tool's layout: see the benchmark's function.
        workers: processes; None takes one for each core. With more than one, call this under `__name__ == "__main__"`.
        progress: show a bar on stderr.
        options: those of the benchmark's function: `task`, `split`, `all_frames`, `strict`, `rules` ...

    Returns:
        A dictionary: `global` and `per_object` under the official tool's keys and in its units, `per_video` (mean over
        the video's objects), `per_frame` (with the frames' names under "frame"), `left_out` (what does not count, and
        why), and what `results.Result` lists besides.

    Raises:
        FileNotFoundError, NotADirectoryError: something is missing; the message says what to do.
        ValueError: benchmark or options are unknown, or files do not hold what the benchmark wants.
        ImportError: scipy, which the unsupervised tasks need, is not installed.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"benchmark {benchmark!r} unknown: {', '.join(BENCHMARKS)}")
    known = options_of(benchmark)
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"{benchmark} has no option {unknown[0]}: it has {', '.join(known) or 'none'}")
    settings = known | options
    for folder, what in ((gt, "the annotations"), (pred, "the predictions")):
        existing_folder(Path(folder), what)
    run = map_videos(workers, progress=progress)
    found = BENCHMARKS[benchmark](Path(gt), Path(pred), run=run, **settings)
    return as_result(benchmark, str(gt), str(pred), settings, found)


def options_of(benchmark: str) -> dict[str, Any]:
    """The options that a benchmark takes, with their defaults."""
    parameters = inspect.signature(BENCHMARKS[benchmark]).parameters
    return {name: of.default for name, of in parameters.items() if name not in ("gt", "pred", "run")}
