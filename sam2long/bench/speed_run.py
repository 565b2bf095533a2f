"""The race of the speed benchmark: each contestant alone, then all of them in turns."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sam2long.bench.launches import LONG_PASS, launches_per_frame
from sam2long.bench.speed_clock import StageClock
from sam2long.bench.speed_models import Contestant, SpeedModels

# The stages whose time is shown, and the modules of SAM 2 they are.
STAGES = {
    "encoder": ("image_encoder",),
    "attention": ("memory_attention",),
    "decoder": ("sam_prompt_encoder", "sam_mask_decoder"),
    "memory encoder": ("memory_encoder",),
    "selection": (),
}
# Enough for all memory slots to fill, after which shapes stay the same; eager on a CPU nothing depends on shapes.
_WARM_UP_FRAMES, _WARM_UP_FRAMES_CPU = 20, 2


@dataclass
class Alone:
    """What is known of a contestant before the race.

    Attributes:
        first_frame_s: seconds from opening the first video to having tracked its first frame after the prompts.
        warm_up_s: seconds of that and the passes over which memories fill up; compiling and capturing are in it.
        peak_mb: what the allocator of a GPU holds at the peak of a pass after those, weights and recordings in it.
        launches: kernels the host launches for a steady frame; None where that cannot be counted (compiled code).
        stages_ms: milliseconds a frame by stage; empty where modules do not run one by one (replayed, compiled).
    """

    first_frame_s: float
    warm_up_s: float
    peak_mb: float | None
    launches: float | None
    stages_ms: dict[str, float]


@dataclass
class Result:
    """Figures of one contestant; `ratio` is its frame rate over SAM 2's in the same round (median over rounds).

    Before the first round, what is known of it alone.
    """

    name: str
    objects: int
    rounds: int
    frames_per_second: float | None
    ratio: float | None
    ratio_range: tuple[float, float] | None
    first_frame_s: float
    warm_up_s: float
    peak_mb: float | None
    launches: float | None
    stages_ms: dict[str, float]


class Race:
    """Runs contestants over one synthetic clip with the same weights.

    Args:
        models: the predictors and the clip. On CUDA they run in bfloat16 autocast, as SAM 2 recommends.
        count_launches: whether to count what the host launches, which takes two more passes.
    """

    def __init__(self, models: SpeedModels, *, count_launches: bool = True) -> None:
        self._models = models
        self._device = models.device
        self._num_frames = models.num_frames
        self._count_launches = count_launches and models.num_frames > LONG_PASS

    def run(self, contestants: Sequence[Contestant], num_objects: int, rounds: int) -> Iterator[list[Result]]:
        """Each contestant alone, in order, then all of them once per round.

        Yields what is known after each of these steps, in the order of the contestants, the first of them being SAM 2.
        """
        alone: dict[Contestant, Alone] = {}
        for contestant in contestants:
            alone[contestant] = self._alone(contestant, num_objects)
            yield [self._result(c, num_objects, [], [], known) for c, known in alone.items()]
        times: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
        for number in range(rounds):
            # there and back again: a machine that slows down while it runs favours nobody
            order = contestants if number % 2 == 0 else contestants[::-1]
            if self._device.type == "cpu":
                seconds = self.in_turns(order, num_objects)
            else:
                seconds = {contestant: self._pass(contestant, num_objects) for contestant in order}
            for contestant in contestants:
                times[contestant].append(seconds[contestant])
            yield [self._result(c, num_objects, times[contestants[0]], times[c], alone[c]) for c in contestants]

    def _result(
        self, contestant: Contestant, num_objects: int, baseline: list[float], times: list[float], alone: Alone
    ) -> Result:
        ratios = [theirs / ours for theirs, ours in zip(baseline, times, strict=True)]
        return Result(
            name=contestant.name,
            objects=num_objects,
            rounds=len(times),
            frames_per_second=(self._num_frames - 1) / statistics.median(times) if times else None,
            ratio=statistics.median(ratios) if ratios else None,
            ratio_range=(min(ratios), max(ratios)) if ratios else None,
            **vars(alone),
        )

    # -- alone -----------------------------------------------------------------------------------------------------

    def _alone(self, contestant: Contestant, num_objects: int) -> Alone:
        self._models.of(contestant)  # built
        start = time.perf_counter()
        self._pass(contestant, num_objects, max_frames=1)
        first = time.perf_counter() - start
        warm_up = first + sum(self._pass(contestant, num_objects, max_frames=n) for n in self._warm_ups(contestant))
        peak = self._peak_mb(contestant, num_objects) if self._device.type == "cuda" else None
        launches = None
        if self._count_launches and contestant.mode != "compiled":
            with self._precision():
                launches = launches_per_frame(self._models, contestant, num_objects).kernels
        shows_stages = contestant.mode == "eager" and contestant.regime != "distinct"
        stages = self._stages_ms(contestant, num_objects) if shows_stages else {}
        return Alone(first, warm_up, peak, launches, stages)

    def _warm_ups(self, contestant: Contestant) -> list[int]:
        """Frames of the passes after which nothing is new; sizes are recorded when they come back, in the second."""
        if self._device.type == "cpu" and contestant.mode == "eager":
            return [_WARM_UP_FRAMES_CPU]
        return [_WARM_UP_FRAMES] * (2 if contestant.mode == "captured" else 1)

    def _peak_mb(self, contestant: Contestant, num_objects: int) -> float:
        """What the allocator holds at its peak: weights, the pass, and the memory of recordings made so far."""
        with self._precision():
            frames = self._begin(contestant, num_objects)
            self._wait()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            for _ in frames:
                pass
            self._wait()
        return torch.cuda.max_memory_reserved(self._device) / 2**20

    def _stages_ms(self, contestant: Contestant, num_objects: int) -> dict[str, float]:
        """Milliseconds per frame in each stage, from a pass of its own in which every stage is waited for."""
        clock, sam2 = StageClock(self._wait), self._models.sam2
        modules = {stage: [getattr(sam2, name) for name in names] for stage, names in STAGES.items()}
        with self._precision(), self._models.unhurried():
            predictor, state = self._models.prompted(
                contestant, num_objects, watch=lambda select: clock.timed("selection", select)
            )
            frames = predictor.propagate_in_video(state)
            next(frames)
            with clock.watching(modules):
                start = time.perf_counter()
                for _ in frames:
                    pass
                self._wait()
                total = time.perf_counter() - start
        num_tracked = self._num_frames - 1
        per_frame = {stage: 1000 * clock.seconds.get(stage, 0.0) / num_tracked for stage in STAGES}
        return {**per_frame, "rest": 1000 * total / num_tracked - sum(per_frame.values())}

    # -- together --------------------------------------------------------------------------------------------------

    def in_turns(self, contestants: Sequence[Contestant], num_objects: int) -> dict[Contestant, float]:
        """Seconds each contestant takes for the clip, all of them advancing frame by frame in turns.

        A machine whose speed drifts within minutes, as CPUs do, then slows all alike. Not on a GPU, whose queue would
        run empty after every frame. (Distinct pathways yield nothing before the clip ends, so they take one long turn.)
        """
        passes = {contestant: self._begin(contestant, num_objects) for contestant in contestants}
        seconds = dict.fromkeys(contestants, 0.0)
        for t in range(1, self._num_frames):
            for contestant in contestants if t % 2 else contestants[::-1]:
                start = time.perf_counter()
                next(passes[contestant])
                seconds[contestant] += time.perf_counter() - start
        return seconds

    def _pass(self, contestant: Contestant, num_objects: int, max_frames: int | None = None) -> float:
        """Seconds to track the frames after the prompted one."""
        with self._precision():
            frames = self._begin(contestant, num_objects, max_frames)
            self._wait()
            start = time.perf_counter()
            for _ in frames:
                pass
            self._wait()
            return time.perf_counter() - start

    def _begin(self, contestant: Contestant, num_objects: int, max_frames: int | None = None) -> Iterator[Any]:
        """A pass that has yielded the prompted frame, and has the contestant's selection from now on."""
        predictor, state = self._models.prompted(contestant, num_objects)
        frames: Iterator[Any] = predictor.propagate_in_video(state, max_frame_num_to_track=max_frames)
        next(frames)
        return frames

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
