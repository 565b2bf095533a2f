"""In which precision a predictor computes: an autocast around the loop, as SAM 2 has it, or said once, here."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import torch

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# The methods of a predictor that compute.
_COMPUTING = (
    "init_state",
    "init_stream",
    "add_new_points_or_box",
    "add_new_points",
    "add_new_mask",
    "clear_all_prompts_in_frame",
    "remove_object",
    "propagate_in_video_preflight",
    "propagate_in_video",
    "resume_propagation",
    "track_frame",
    "finish_stream",
    "get_hypotheses",
    "alternatives",
    "choose_alternative",
    "load_state",
)
PredictorT = TypeVar("PredictorT", bound=type)


def precision_of(device: torch.device, precision: str) -> str:
    """ "bf16", "fp16" or "fp32"; "auto" takes what SAM 2's own scripts run in, bf16 on CUDA devices."""
    return ("bf16" if device.type == "cuda" else "fp32") if precision == "auto" else precision


def computing_in(device: torch.device, precision: str | None) -> AbstractContextManager[Any]:
    """The context in which a predictor computes in that precision, one of `PRECISIONS`; None leaves the caller's.

    "fp32" switches nothing on (and nothing off that the caller switched on); "auto" is SAM 2's scripts' bf16 on CUDA.

    Raises:
        ValueError: for another one; for fp16 elsewhere than on CUDA devices: what it computes there overflows, or is
            slower than fp32.
    """
    if precision is None:
        return nullcontext()
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} must be one of {PRECISIONS}, or None for the caller's autocast")
    dtype = _AUTOCAST.get(precision_of(device, precision))
    if dtype is None:
        return nullcontext()
    if dtype == torch.float16 and device.type != "cuda":
        raise ValueError(f"fp16 needs a CUDA device, not {device}: take bf16 or fp32")
    return torch.autocast(device.type, dtype=dtype)


def computes_in_its_precision(predictor_class: PredictorT) -> PredictorT:
    """Let a predictor's methods compute in its `precision`, and nothing between them: a loop's body is the caller's."""
    for name in _COMPUTING:
        setattr(predictor_class, name, _computing(getattr(predictor_class, name)))
    return predictor_class


def _computing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def in_precision(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.precision is None:
            return method(self, *args, **kwargs)
        with computing_in(self.device, self.precision):
            result = method(self, *args, **kwargs)
        return _step_by_step(self, result) if isinstance(result, Generator) else result

    return in_precision


def _step_by_step(predictor: Any, answers: Generator[Any, None, None]) -> Generator[Any, None, None]:
    try:
        while True:
            with computing_in(predictor.device, predictor.precision):
                try:
                    answer = next(answers)
                except StopIteration:
                    return
            yield answer
    finally:
        with computing_in(predictor.device, predictor.precision):
            answers.close()
