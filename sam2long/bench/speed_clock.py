"""Where the time of a frame goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch


class StageClock:
    """Sums the wall time of modules and functions, waiting for the device around each."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait
        self.seconds: dict[str, float] = {}

    def _now(self) -> float:
        self._wait()
        return time.perf_counter()

    @contextlib.contextmanager
    def watching(self, modules: dict[str, list[torch.nn.Module]]) -> Iterator[None]:
        started: dict[str, float] = {}
        handles = []
        for stage, watched in modules.items():
            for module in watched:

                def before(_module: Any, _args: Any, stage: str = stage) -> None:
                    started[stage] = self._now()

                def after(_module: Any, _args: Any, _output: Any, stage: str = stage) -> None:
                    self.seconds[stage] = self.seconds.get(stage, 0.0) + self._now() - started[stage]

                handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            start = self._now()
            result = function(*args)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self._now() - start
            return result

        return call
