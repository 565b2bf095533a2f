"""How much the host launches per frame: where launching takes longer than computing, that is the frame rate.

On a GPU every operation that is not a view launches a kernel, so counting operations on the CPU tells, without a GPU
and without noise, what a frame asks of the host beside SAM 2's. A replayed recording is one launch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sam2long.bench.speed_models import Contestant, SpeedModels
from sam2long.model.graphs import RerunGraph, Run

# All memory slots are full after 17 frames; the difference of two passes is steady frames and nothing else.
SHORT_PASS, LONG_PASS = 19, 23

# fmt: off
_NO_KERNEL = (
    "view", "_unsafe_view", "_reshape_alias", "expand", "permute", "transpose", "t.", "select", "slice", "squeeze",
    "unsqueeze", "split", "unbind", "as_strided", "detach", "alias", "lift_fresh", "empty",
)
_READ_BY_HOST = ("_local_scalar_dense.", "is_nonzero.", "nonzero.", "equal.", "masked_select.", "unique", "_unique")
# fmt: on


@dataclass(frozen=True)
class Launches:
    """Of one steady frame: kernels launched, and operations whose result the host must read before it goes on."""

    kernels: float
    host_reads: float


class LaunchCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels = self.host_reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _Paused.depth:
            return func(*args, **kwargs)
        if func is not torch.ops.aten.scaled_dot_product_attention.default:  # one kernel, in parts many
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        name = f"{func._schema.name.removeprefix('aten::')}."
        self.kernels += not name.startswith(_NO_KERNEL)
        self.host_reads += name.startswith(_READ_BY_HOST)
        return func(*args, **kwargs)


class _Paused:
    """How many replays, whose operations no host launches, are under way."""

    depth = 0


@contextmanager
def _paused() -> Iterator[None]:
    _Paused.depth += 1
    try:
        yield
    finally:
        _Paused.depth -= 1


class UncountedGraph(RerunGraph):
    """A stand-in for a recording whose replay launches nothing: `Captures.num_replays` counts it."""

    def warm_up(self, run: Run) -> None:
        """See `Graph.warm_up`."""
        with _paused():
            super().warm_up(run)

    def capture(self, run: Run) -> Sequence[Tensor]:
        """See `Graph.capture`."""
        with _paused():
            return super().capture(run)

    def replay(self) -> None:
        """See `Graph.replay`."""
        with _paused():
            super().replay()


def launches_per_frame(models: SpeedModels, contestant: Contestant, num_objects: int) -> Launches:
    """What a contestant launches on a steady frame.

    Args:
        models: with a clip of more than `LONG_PASS` frames; recordings on a CPU must be `UncountedGraph`s.
        contestant: one that is not compiled.
        num_objects: how many objects are tracked.
    """
    captures = models.of(contestant)[1].captures if contestant.mode == "captured" else None
    # sam2's modules build constants when they first run, and sizes are recorded when they come back
    for _ in range(2 if captures is not None else 1):
        _track(models, contestant, num_objects, LONG_PASS if captures is not None else 2)
    counts = []
    for num_frames in (SHORT_PASS, LONG_PASS):
        count, replays = LaunchCount(), captures.num_replays if captures is not None else 0
        _track(models, contestant, num_objects, num_frames, count)
        counts.append((count.kernels + (captures.num_replays - replays if captures is not None else 0), count))
    frames = LONG_PASS - SHORT_PASS
    (short, short_count), (long, long_count) = counts
    return Launches((long - short) / frames, (long_count.host_reads - short_count.host_reads) / frames)


def _track(
    models: SpeedModels, contestant: Contestant, num_objects: int, num_frames: int, count: LaunchCount | None = None
) -> None:
    predictor, state = models.prompted(contestant, num_objects)
    with count or LaunchCount():
        for _ in predictor.propagate_in_video(state, max_frame_num_to_track=num_frames):
            pass
