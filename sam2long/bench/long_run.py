"""One contestant of the long benchmark, in a process of its own: endless frames in, time and memory per frame out."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from sam2long.frames.source import Frame, FrameSource
from sam2long.model_choice import ModelChoice
from sam2long.views.visualize import BoolArray

# Frames between which times are compared: early, and the last hundred.
EARLY = (100, 200)
_ALONGSIDE = 200
_DISK_COLOURS = np.array([(235, 80, 60), (60, 120, 235), (240, 210, 70), (90, 200, 120)], dtype=np.uint8)
Item = TypeVar("Item")


class EndlessDisks(FrameSource):
    """Disks that drift in front of a moving texture, meet and part: each frame is drawn when it is read.

    Args:
        num_frames, num_objects: how many.
        first: the frame of the same scene that is frame 0 here.
    """

    height, width = 144, 192

    def __init__(self, num_frames: int, num_objects: int, first: int = 0) -> None:
        self._num_frames = num_frames
        self._num_objects = num_objects
        self._first = first
        coarse = np.random.default_rng(0).integers(30, 140, (self.height // 8, 2 * self.width // 8, 3), dtype=np.uint8)
        self._texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
        self._ys, self._xs = np.ogrid[: self.height, : self.width]

    def __len__(self) -> int:
        return self._num_frames

    def visible(self, frame_idx: int, obj_idx: int) -> BoolArray:
        """The part of an object that can be seen, [H, W]: where two meet, the later one is in front."""
        visible = self._disk(frame_idx, obj_idx)
        for later in range(obj_idx + 1, self._num_objects):
            visible &= ~self._disk(frame_idx, later)
        return visible

    def _disk(self, frame_idx: int, obj_idx: int) -> BoolArray:
        t = self._first + frame_idx
        x = self.width * (0.5 + 0.35 * np.sin(t / 37 + 2.1 * obj_idx))
        y = self.height * (0.5 + 0.25 * np.sin(t / 53 + 1.3 * obj_idx))
        inside: BoolArray = (self._xs - x) ** 2 + (self._ys - y) ** 2 < (self.height / 7) ** 2
        return inside

    def _read(self, frame_idx: int) -> Frame:
        frame = np.roll(self._texture, -(self._first + frame_idx), axis=1)[:, : self.width].copy()
        for obj_idx in range(self._num_objects):
            frame[self._disk(frame_idx, obj_idx)] = _DISK_COLOURS[obj_idx % len(_DISK_COLOURS)]
        return frame


@dataclass(frozen=True)
class Contestant:
    """What runs: SAM 2's own class, or the memory tree.

    Attributes:
        name: as the figures call it.
        num_frames: how many frames it is given.
        max_pending: of the tree.
    """

    name: str
    model: ModelChoice
    num_frames: int
    num_objects: int
    is_sam2: bool
    max_pending: int | None = None


@dataclass
class Meter:
    """Time and memory at every frame. SAM 2 and the tree encode each frame's image once: that is the tick."""

    device: torch.device
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    host_bytes: list[int] = field(default_factory=list)
    device_bytes: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    pathways: list[int] = field(default_factory=list)
    num_yielded: int = 0
    _running_since: tuple[float, float] | None = None
    _elapsed: tuple[float, float] = (0.0, 0.0)

    def watch(self, frames: Iterator[Item]) -> Iterator[Item]:
        """Pass the items on; the clock runs only while the iterator computes."""
        while True:
            self._running_since = self._now()
            item = next(frames, None)
            self._elapsed = self._clock()
            self._running_since = None
            if item is None:
                return
            self.num_yielded += 1
            yield item

    def tick(self, *_: Any) -> None:
        """A forward hook of the image encoder."""
        if self._running_since is None:
            return
        wall, cpu = self._clock()
        self.wall_s.append(wall)
        self.cpu_s.append(cpu)
        self.pending.append(len(self.wall_s) - self.num_yielded)
        self.host_bytes.append(resident_bytes())
        if self.device.type == "cuda":
            self.device_bytes.append(torch.cuda.memory_allocated(self.device))

    def frame_ms(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Milliseconds from each tick to the next, by clock."""
        return {"wall": 1000 * np.diff(self.wall_s), "cpu": 1000 * np.diff(self.cpu_s)}

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()

    def _clock(self) -> tuple[float, float]:
        now, since = self._now(), self._running_since
        assert since is not None
        return self._elapsed[0] + now[0] - since[0], self._elapsed[1] + now[1] - since[1]


def resident_bytes() -> int:
    """Host memory of this process (Linux; elsewhere its peak so far)."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_contestant(contestant: Contestant) -> dict[str, Any]:
    """Track the scene from end to end; all figures, ready for JSON.

    Over its last frames the long video takes turns with a fresh one of 200 frames that shows the same scene:
    what differs between the two is the length of the past alone, not what else the machine does meanwhile.
    """
    ours = contestant.model.build()
    predictor = _as_sam2(ours) if contestant.is_sam2 else ours
    meter, fresh_meter = Meter(ours.device), Meter(ours.device)
    for each in (meter, fresh_meter):
        ours.image_encoder.register_forward_pre_hook(each.tick)
    alongside_from = contestant.num_frames - _ALONGSIDE
    source = EndlessDisks(contestant.num_frames, contestant.num_objects)
    again = EndlessDisks(_ALONGSIDE, contestant.num_objects, first=alongside_from)
    fresh: Iterator[Any] = iter(())
    overlaps = []
    with torch.inference_mode(), _precision(ours.device):
        state = _prompted_state(predictor, ours, contestant, source)
        for frame_idx, _, masks in meter.watch(iter(predictor.propagate_in_video(state))):
            overlaps.append(_overlap(source, frame_idx, masks))
            if frame_idx == alongside_from:
                fresh_state = _prompted_state(predictor, ours, contestant, again)
                fresh = fresh_meter.watch(iter(predictor.propagate_in_video(fresh_state)))
            next(fresh, None)
        for _ in fresh:
            pass
    for each, of_state in ((meter, state), (fresh_meter, fresh_state)):
        each.pathways = [score.distinct_pathways for score in ours.get_scores(of_state, 1).values()]
    return {**summary(meter, fresh_meter, contestant), "mean_iou": float(np.mean(overlaps))}


def _overlap(source: EndlessDisks, frame_idx: int, masks: torch.Tensor) -> float:
    """Mean IoU of a frame's masks: memory of masks that are lost and empty would be no measure."""
    ious = []
    for obj_idx, mask in enumerate((masks[:, 0] > 0).cpu().numpy()):
        truth = source.visible(frame_idx, obj_idx)
        ious.append(float((mask & truth).sum() / max((mask | truth).sum(), 1)))
    return float(np.mean(ious))


def _as_sam2(ours: Any) -> SAM2VideoPredictor:
    """SAM 2's own class around the same modules."""
    theirs: SAM2VideoPredictor = SAM2VideoPredictor.__new__(SAM2VideoPredictor)
    theirs.__dict__.update(ours.__dict__)
    return theirs


def _prompted_state(
    predictor: SAM2VideoPredictor, ours: Any, contestant: Contestant, source: EndlessDisks
) -> dict[str, Any]:
    state: dict[str, Any] = ours.init_state(source, max_pending_frames=contestant.max_pending)
    if contestant.is_sam2:
        lazy, size = state["images"], ours.image_size
        # As SAM 2's own loader holds a video: one float tensor of all frames, on the device.
        state["images"] = torch.zeros(len(lazy), 3, size, size, device=ours.device)
        for t in range(len(lazy)):
            state["images"][t] = lazy[t]
        gc.collect()
    for obj_idx in range(contestant.num_objects):
        predictor.add_new_mask(state, 0, obj_idx + 1, source.visible(0, obj_idx))
    return state


def _precision(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def summary(meter: Meter, fresh_meter: Meter, contestant: Contestant) -> dict[str, Any]:
    """The figures of one contestant: medians, growth per object and frame, and a curve thinned to 200 points."""
    result: dict[str, Any] = {"name": contestant.name, "frames": contestant.num_frames}
    fresh = fresh_meter.frame_ms()
    for clock, times in meter.frame_ms().items():
        early, late = float(np.median(times[EARLY[0] : EARLY[1]])), float(np.median(times[-100:]))
        beside = float(np.median(fresh[clock][-100:]))
        result[f"{clock}_ms"] = {
            "early": early,
            "late": late,
            "late_over_early": late / early,
            "fresh_video_meanwhile": beside,
            "late_over_fresh": late / beside,
        }
    result["mean_pathways"] = meter.pathways and {
        "early": float(np.mean(meter.pathways[EARLY[0] : EARLY[1]])),
        "late": float(np.mean(meter.pathways[-100:])),
        "fresh_video_meanwhile": float(np.mean(fresh_meter.pathways[-100:])),
    }
    start, end = min(1000, len(meter.host_bytes) // 4), len(meter.host_bytes) - _ALONGSIDE
    for kind, used in {"host": meter.host_bytes, "device": meter.device_bytes}.items():
        slope = float(np.polyfit(np.arange(start, end), used[start:end], 1)[0]) if used else None
        result[f"{kind}_bytes_per_object_and_frame"] = slope and slope / contestant.num_objects
    result["most_pending"] = max(meter.pending)
    result["curve"] = _curve(meter)
    return result


def _curve(meter: Meter) -> dict[str, list[float]]:
    wall, cpu = meter.frame_ms().values()
    step = max(len(wall) // 200, 1)
    spans = [slice(i, i + step) for i in range(0, len(wall) - step + 1, step)]
    return {
        "frame": [span.stop for span in spans],
        "wall_ms": [round(float(np.median(wall[span])), 3) for span in spans],
        "cpu_ms": [round(float(np.median(cpu[span])), 3) for span in spans],
        "host_mb": [round(max(meter.host_bytes[span]) / 2**20, 2) for span in spans],
        "device_mb": [round(max(meter.device_bytes[span]) / 2**20, 2) for span in spans if meter.device_bytes],
        "pending": [max(meter.pending[span]) for span in spans],
    }
