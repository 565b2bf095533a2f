"""Recorded launches: a function over tensors that stay where they are, run again by one call.

A GPU runs SAM 2's kernels faster than a host launches them. `CudaGraph` records the kernels that a function launches
and launches all of them at once; nothing is compiled, so results are equal to the bit. `RerunGraph` runs the function
again instead, over the same static tensors and with the same lifetimes, so that all else can be tested on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Run = Callable[[], Sequence[Tensor]]


class Graph(Protocol):
    """One recording. Its inputs and outputs are static: their memory is read and written by every replay."""

    def warm_up(self, run: Run) -> None:
        """Run what will be recorded, so that whatever is made once is made before."""

    def capture(self, run: Run) -> Sequence[Tensor]:
        """Record `run`; returns its outputs, which hold nothing before the first replay.

        Raises:
            RuntimeError: if it does something that cannot be recorded.
        """

    def copy_in(self, static: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        """Give the static inputs new values, from any device."""

    def replay(self) -> None:
        """Run what was recorded."""


GraphFactory = Callable[[], Graph]


class CudaGraph:
    """Kernels recorded by `torch.cuda.graph`.

    Args:
        pool: the private memory pool that the graphs of one predictor share; they are replayed one after the other.
        stream: on which is warmed up and recorded.
    """

    _NUM_WARM_UPS = 2  # the first run chooses algorithms, the second finds them chosen

    def __init__(self, pool: Any, stream: torch.cuda.Stream) -> None:
        self._pool = pool
        self._stream = stream
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, run: Run) -> None:
        """See `Graph.warm_up`; on a side stream, as `torch.cuda.graph` asks for."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), _no_weight_cache():
            for _ in range(self._NUM_WARM_UPS):
                run()
        current.wait_stream(self._stream)

    def capture(self, run: Run) -> Sequence[Tensor]:
        """See `Graph.capture`."""
        # thread_local: the thread that reads frames ahead may go on allocating host memory meanwhile.
        recording = torch.cuda.graph(
            self._graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
        with _no_weight_cache(), recording:
            return run()

    def copy_in(self, static: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        """See `Graph.copy_in`."""
        copy_tensors(static, inputs)

    def replay(self) -> None:
        """See `Graph.replay`."""
        self._graph.replay()


def cuda_graphs(device: torch.device) -> GraphFactory:
    """Graphs of one predictor: they share a memory pool and a stream."""
    with torch.cuda.device(device):
        pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return lambda: CudaGraph(pool, stream)


def _no_weight_cache() -> torch.autocast:
    """The autocast there is, without the cache whose half-precision weights would not outlive it."""
    enabled, dtype = cuda_autocast()
    return torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False)


def cuda_autocast() -> tuple[bool, torch.dtype]:
    """Whether autocast is on for CUDA devices, and its type."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    return torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()  # before PyTorch 2.4


class RerunGraph:
    """A stand-in without a GPU: a replay runs the function again and writes its results into the first ones' memory."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._outputs: list[Tensor] = []

    def warm_up(self, run: Run) -> None:
        """See `Graph.warm_up`."""
        run()

    def capture(self, run: Run) -> Sequence[Tensor]:
        """See `Graph.capture`."""
        self._run = run
        self._outputs = [torch.empty_like(output) for output in run()]
        return self._outputs

    def copy_in(self, static: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        """See `Graph.copy_in`."""
        copy_tensors(static, inputs)

    def replay(self) -> None:
        """See `Graph.replay`."""
        assert self._run is not None
        for into, value in zip(self._outputs, self._run(), strict=True):
            into.copy_(value)


def copy_tensors(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy tensors into others of their shapes; many of one kind take one launch."""
    groups: dict[object, list[tuple[Tensor, Tensor]]] = {}
    for static, value in zip(into, values, strict=True):
        kind: object = (value.dtype, value.device)
        if value.device != static.device or value.stride() != static.stride():
            kind = id(static)
        groups.setdefault(kind, []).append((static, value))
    for pairs in groups.values():
        if len(pairs) == 1:
            pairs[0][0].copy_(pairs[0][1], non_blocking=True)
        else:
            torch._foreach_copy_([static for static, _ in pairs], [value for _, value in pairs], non_blocking=True)
