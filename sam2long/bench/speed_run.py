"""The contestants of the speed benchmark, their clip, and their race."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.bench.speed_clock import StageClock
from sam2long.search.selection import Candidate, select_candidates

# The stages whose time is shown, and the modules of SAM 2 they are.
STAGES = {
    "encoder": ("image_encoder",),
    "attention": ("memory_attention",),
    "decoder": ("sam_prompt_encoder", "sam_mask_decoder"),
    "memory encoder": ("memory_encoder",),
    "selection": (),
}
# Far beyond the paper's uncertainty threshold: the object is visible and every frame certain.
_VISIBLE_BIAS = 10.0
# Enough for all memory slots to fill, after which shapes stay the same; eager on a CPU nothing depends on shapes.
_WARM_UP_FRAMES, _WARM_UP_FRAMES_CPU = 20, 2


@dataclass(frozen=True)
class Contestant:
    """SAM 2 (`regime="sam2"`), or a tree with `num_pathways` slots that are `shared` or `distinct`."""

    num_pathways: int
    regime: str

    @property
    def name(self) -> str:
        return "SAM 2" if self.regime == "sam2" else f"P={self.num_pathways} {self.regime}"


@dataclass
class Result:
    """Figures of one contestant; `ratio` is its frame rate over SAM 2's in the same round (median over rounds)."""

    name: str
    objects: int
    rounds: int
    frames_per_second: float
    ratio: float
    ratio_range: tuple[float, float]
    peak_mb: float | None
    stages_ms: dict[str, float]


def select_distinct(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
    """Keep the slots on distinct pathways: each slot goes on with the best of its masks that is not taken."""
    taken: list[Candidate] = []
    for slot_idx in range(config.num_pathways):
        ranked = sorted((c for c in candidates if c.slot_idx == slot_idx), key=lambda c: -c.score)
        scores = {c.score for c in taken}  # slots that share a node propose equal scores
        taken.append(next((c for c in ranked if c.score not in scores), ranked[0]))
    return taken


class Race:
    """Runs contestants over one synthetic clip with the same weights.

    Args:
        config, checkpoint: the model; random weights without a checkpoint.
        device: where to run; on CUDA in bfloat16 autocast, as SAM 2 recommends.
        num_frames: length of the clip.
        compiled: compile all components.
        encode_ahead: see `SAM2LongVideoPredictor`.
        overrides: Hydra overrides of the model.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str | None,
        device: torch.device,
        *,
        num_frames: int,
        compiled: bool = False,
        encode_ahead: int = 0,
        overrides: Sequence[str] = (),
    ) -> None:
        self.device = device
        self._num_frames = num_frames
        self._compiled = compiled
        torch.manual_seed(0)
        target = "SAM2VideoPredictorVOS" if compiled else "SAM2VideoPredictor"
        overrides = [*overrides, f"++model._target_=sam2.sam2_video_predictor.{target}"]
        overrides += ["++model.compile_image_encoder=true"] if compiled else []
        self._sam2: Any = build_sam2long_video_predictor(
            config, checkpoint, device=device, hydra_overrides_extra=overrides
        )
        head = self._sam2.sam_mask_decoder.pred_obj_score_head
        with torch.no_grad():
            (head.layers[-1] if hasattr(head, "layers") else head).bias.fill_(_VISIBLE_BIAS)
        self._ours = SAM2LongVideoPredictor.from_sam2(self._sam2)
        self._ours.encode_ahead = encode_ahead
        self._frames = _clip(num_frames, self._sam2.image_size)

    @property
    def precision(self) -> str:
        return "bfloat16 autocast" if self.device.type == "cuda" else "float32"

    def run(self, contestants: Sequence[Contestant], num_objects: int, rounds: int) -> Iterator[list[Result]]:
        """Warm up, then each contestant alone stage by stage, then all of them once per round.

        Yields what is known after each round, in the order of the contestants, the first of them being SAM 2.
        """
        eager_cpu = self.device.type == "cpu" and not self._compiled
        for contestant in contestants:
            self._pass(contestant, num_objects, max_frames=_WARM_UP_FRAMES_CPU if eager_cpu else _WARM_UP_FRAMES)
        stages = {contestant: self._stages_ms(contestant, num_objects) for contestant in contestants}
        times: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
        peaks: dict[Contestant, float | None] = dict.fromkeys(contestants)
        for number in range(rounds):
            # there and back again: a machine that slows down while it runs favours nobody
            order = contestants if number % 2 == 0 else contestants[::-1]
            if self.device.type == "cpu":
                seconds = self._in_turns(order, num_objects)
            else:
                seconds = {}
                for contestant in order:
                    seconds[contestant], peaks[contestant] = self._pass(contestant, num_objects)
            for contestant in contestants:
                times[contestant].append(seconds[contestant])
            yield [
                self._result(c, num_objects, times[contestants[0]], times[c], peaks[c], stages[c]) for c in contestants
            ]

    def _result(
        self,
        contestant: Contestant,
        num_objects: int,
        baseline: list[float],
        times: list[float],
        peak_mb: float | None,
        stages_ms: dict[str, float],
    ) -> Result:
        ratios = [theirs / ours for theirs, ours in zip(baseline, times, strict=True)]
        return Result(
            name=contestant.name,
            objects=num_objects,
            rounds=len(times),
            frames_per_second=(self._num_frames - 1) / statistics.median(times),
            ratio=statistics.median(ratios),
            ratio_range=(min(ratios), max(ratios)),
            peak_mb=peak_mb,
            stages_ms=stages_ms,
        )

    def _in_turns(self, contestants: Sequence[Contestant], num_objects: int) -> dict[Contestant, float]:
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

    def _pass(
        self, contestant: Contestant, num_objects: int, max_frames: int | None = None
    ) -> tuple[float, float | None]:
        """Seconds to track the frames after the prompted one, and the peak of device memory in MB."""
        on_gpu = self.device.type == "cuda"
        with self._precision():
            frames = self._begin(contestant, num_objects, max_frames)
            self._wait()
            if on_gpu:
                torch.cuda.reset_peak_memory_stats(self.device)
            start = time.perf_counter()
            for _ in frames:
                pass
            self._wait()
            seconds = time.perf_counter() - start
        return seconds, torch.cuda.max_memory_allocated(self.device) / 2**20 if on_gpu else None

    def _begin(self, contestant: Contestant, num_objects: int, max_frames: int | None = None) -> Iterator[Any]:
        """A pass that has yielded the prompted frame, and has the contestant's selection from now on."""
        predictor, state = self._prompted(contestant, num_objects)
        frames: Iterator[Any] = predictor.propagate_in_video(state, max_frame_num_to_track=max_frames)
        next(frames)
        return frames

    def track(
        self, contestant: Contestant, num_objects: int, max_frames: int, watch: contextlib.AbstractContextManager[Any]
    ) -> None:
        """Track the first frames after the prompt, `watch` entered."""
        with self._precision():
            predictor, state = self._prompted(contestant, num_objects)
            with watch:
                for _ in predictor.propagate_in_video(state, max_frame_num_to_track=max_frames):
                    pass

    def _prompted(self, contestant: Contestant, num_objects: int) -> tuple[SAM2VideoPredictor, dict[str, Any]]:
        # SAM 2's memory holds all frames, and so shall the tree's, however little random weights trust their masks.
        tree = MemoryTreeConfig(num_pathways=max(contestant.num_pathways, 1), iou_threshold=0.0)
        state = self._ours.init_state(self._frames, memory_tree=tree)
        predictor: SAM2VideoPredictor = self._ours
        if contestant.regime == "sam2":
            predictor = self._sam2
            # SAM 2 holds the whole video as float tensors on the device
            frames = state["images"]
            state["images"] = torch.empty(self._num_frames, *frames[0].shape, device=self.device)
            for t in range(self._num_frames):
                state["images"][t] = frames[t]
        self._ours.select = select_distinct if contestant.regime == "distinct" else select_candidates
        size = self._frames.shape[1]
        for obj_id in range(num_objects):
            left = size // 8 + obj_id * size // 10
            mask = np.zeros((size, size), dtype=bool)
            mask[size // 3 : size // 2, left : left + size // 8] = True
            predictor.add_new_mask(state, 0, obj_id, mask)
        return predictor, state

    def _stages_ms(self, contestant: Contestant, num_objects: int) -> dict[str, float]:
        """Milliseconds per frame in each stage, from a pass of its own in which every stage is waited for."""
        clock = StageClock(self._wait)
        modules = {stage: [getattr(self._sam2, name) for name in names] for stage, names in STAGES.items()}
        encode_ahead, self._ours.encode_ahead = self._ours.encode_ahead, 0
        try:
            with self._precision():
                predictor, state = self._prompted(contestant, num_objects)
                self._ours.select = clock.timed("selection", self._ours.select)
                frames = predictor.propagate_in_video(state)
                next(frames)
                with clock.watching(modules):
                    start = time.perf_counter()
                    for _ in frames:
                        pass
                    self._wait()
                    total = time.perf_counter() - start
        finally:
            self._ours.encode_ahead = encode_ahead
        num_tracked = self._num_frames - 1
        per_frame = {stage: 1000 * clock.seconds.get(stage, 0.0) / num_tracked for stage in STAGES}
        return {**per_frame, "rest": 1000 * total / num_tracked - sum(per_frame.values())}

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _clip(num_frames: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth random texture that drifts, [T, size, size, 3] uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (size // 32 + num_frames // 8 + 2, size // 32, 3), dtype=np.uint8)
    texture = coarse.repeat(32, axis=0).repeat(32, axis=1)
    return np.stack([texture[4 * t : 4 * t + size, :size] for t in range(num_frames)])
