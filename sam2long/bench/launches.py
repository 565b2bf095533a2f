"""How much the host launches per frame: where launching takes longer than computing, that is the frame rate.

On a GPU every operation that is not a view launches a kernel, so counting operations on the CPU tells, without a GPU
and without noise, what a frame asks of the host beside SAM 2's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sam2long.bench.speed_run import Contestant, Race

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
        if func is not torch.ops.aten.scaled_dot_product_attention.default:  # one kernel, in parts many
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        name = f"{func._schema.name.removeprefix('aten::')}."
        self.kernels += not name.startswith(_NO_KERNEL)
        self.host_reads += name.startswith(_READ_BY_HOST)
        return func(*args, **kwargs)


def launches_per_frame(race: Race, contestant: Contestant, num_objects: int) -> Launches:
    """What a contestant launches on a steady frame.

    Args:
        race: with a clip of more than `LONG_PASS` frames.
        contestant: see `Race`.
        num_objects: how many objects are tracked.
    """
    race.track(contestant, num_objects, 2, LaunchCount())  # sam2's modules build constants when they first run
    counts = []
    for num_frames in (SHORT_PASS, LONG_PASS):
        count = LaunchCount()
        race.track(contestant, num_objects, num_frames, count)
        counts.append(count)
    short, long = counts
    frames = LONG_PASS - SHORT_PASS
    return Launches((long.kernels - short.kernels) / frames, (long.host_reads - short.host_reads) / frames)
