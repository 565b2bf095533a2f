"""What tracks: a model, loaded once, and one video after another."""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from omegaconf import OmegaConf

from sam2long.model_choice import ModelChoice
from sam2long.model_config import compose_config
from sam2long.precision import computing_in, precision_of
from sam2long.predictor import SAM2LongVideoPredictor
from sam2long.runner.output import count_files, publishing
from sam2long.runner.tasks import Task
from sam2long.runner.tracking import tracked

logger = logging.getLogger(__name__)

_NOTHING_CAN_BE_WRITTEN = (
    errno.ENOSPC,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    getattr(errno, "EDQUOT", -1),
)

Report = Callable[[str, Mapping[str, Any]], None]
"""Takes what happens: "frames" (how many more), and of every task one of "done", "taken", "failed"."""


@dataclass(frozen=True)
class TrackerSettings:
    """Everything a worker's predictor is built from, and how it computes.

    Attributes:
        model: config, checkpoint, device; its tree is the tasks'.
        image_size: pixels that frames are resized to; None takes the config's.
        apply_postprocessing, vos_optimized: as in `build_sam2long_video_predictor`.
        precision: one of `precision.PRECISIONS`; "auto" is bf16 on CUDA devices, fp32 elsewhere.
        max_pending: frames a decision may wait for; None as long as it takes.
    """

    model: ModelChoice
    image_size: int | None = None
    apply_postprocessing: bool = False
    vos_optimized: bool = False
    precision: str = "auto"
    max_pending: int | None = None

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def on(self, device: str | None) -> TrackerSettings:
        """These settings on another device."""
        return replace(self, model=replace(self.model, device=device))

    def build(self) -> SAM2LongVideoPredictor:
        """The predictor.

        Raises:
            ValueError: if the model cannot be built or the checkpoint is not its own.
        """
        return self.model.build(
            image_size=self.image_size,
            apply_postprocessing=self.apply_postprocessing,
            vos_optimized=self.vos_optimized,
        )

    def described(self) -> dict[str, Any]:
        """What results depend on, ready for JSON: of files their contents, of the device its precision."""
        composed = OmegaConf.to_yaml(compose_config(self.model.config))
        # Of the model all that is not a file, the task's or the machine's, so that nothing new is forgotten here.
        apart = ("config", "checkpoint", "memory_tree", "device")
        choices = {key: value for key, value in vars(self.model).items() if key not in apart}
        return {
            **choices,
            "config_sha256": hashlib.sha256(composed.encode()).hexdigest(),
            "checkpoint_sha256": _digest(self.model.checkpoint),
            "image_size": self.image_size,
            "apply_postprocessing": self.apply_postprocessing,
            "vos_optimized": self.vos_optimized,
            "precision": precision_of(self.device, self.precision),
            "max_pending": self.max_pending,
        }


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        found = hashlib.sha256()
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


class CannotWriteError(Exception):
    """The disk is full or may not be written to: no other video would fare better."""


def _tells_of_output(error: OSError, task: Task) -> bool:
    """Whether nothing can be written any more; a frame or a mask that may not be read is that video's trouble."""
    elsewhere = isinstance(error.filename, str) and not Path(error.filename).is_relative_to(task.output)
    return error.errno in _NOTHING_CAN_BE_WRITTEN and not elsewhere


class Worker:
    """Tracks tasks with one predictor.

    Raises:
        ValueError: if the model cannot be built.
    """

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._predictor = settings.build()

    def run(self, task: Task, report: Report) -> None:
        """Track one video and write its results. What is wrong with that video is reported, not raised.

        Raises:
            CannotWriteError: nothing can be written any more.
        """
        start = perf_counter()
        try:
            with publishing(task) as folder:
                found = None if folder is None else self._track(task, folder, report)
        except Exception as error:
            if isinstance(error, OSError) and _tells_of_output(error, task):
                raise CannotWriteError(f"{task.output}: {error.strerror} (at {task.name})") from error
            logger.debug("%s failed", task.name, exc_info=True)
            report("failed", {"reason": f"{error or type(error).__name__}"})
            return
        if found is None:
            report("taken", {})
        else:
            report("done", {**found, "seconds": round(perf_counter() - start, 3)})

    def _track(self, task: Task, folder: Path, report: Report) -> dict[str, Any]:
        with task.open() as source, torch.inference_mode():
            prompts = task.prompts(source)
            made_of = task.made_of()
            write = task.writer(folder, source, prompts)
            with computing_in(self._predictor.device, self._settings.precision):
                answers = tracked(self._predictor, source, prompts, task.tree, self._settings.max_pending)
                with closing(answers):  # type: ignore[type-var]
                    for frame_idx, logits in enumerate(answers):
                        write(frame_idx, logits)
                        report("frames", {"count": 1})
        return {
            "frames": len(source),
            "objects": len({prompt.obj_id for prompt in prompts}),
            "prompts": len(prompts),
            "files": count_files(folder, task.results),
            "made_of": made_of,
        }
