"""Recorded launches: a function over tensors that stay where they are, run again by one call.

A GPU runs SAM 2's kernels faster than a host launches them. `CudaGraph` records the kernels that a function launches
and launches all of them at once; nothing is compiled, so results are equal to the bit. `RerunGraph` runs the function
again instead, over the same static tensors and with the same lifetimes, so that all else can be tested on a CPU.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

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


class CudaGraphs:
    """Makes the graphs of one predictor: they share a memory pool and a stream, and are replayed one after the other.

    Args:
        device: where they run.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        with torch.cuda.device(device):
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.pool = torch.cuda.graph_pool_handle()
        self._living: weakref.WeakSet[CudaGraph] = weakref.WeakSet()

    def __call__(self) -> CudaGraph:
        if not self._living:  # a pool is not to be used again once all its graphs are gone
            self.renew_pool()
        graph = CudaGraph(self)
        self._living.add(graph)
        return graph

    def renew_pool(self) -> None:
        """A capture that fails may leave its pool unfit for others."""
        self.pool = torch.cuda.graph_pool_handle()


class CudaGraph:
    """Kernels recorded by `torch.cuda.graph`.

    Args:
        shared: what it shares with the predictor's other graphs.
    """

    def __init__(self, shared: CudaGraphs) -> None:
        self._shared = shared
        with torch.cuda.device(shared.device):
            self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, run: Run) -> None:
        """See `Graph.warm_up`; on a side stream, as `torch.cuda.graph` asks for."""
        device, side = self._shared.device, self._shared.stream
        current = torch.cuda.current_stream(device)
        side.wait_stream(current)
        try:
            with torch.cuda.device(device), torch.cuda.stream(side), _no_weight_cache(device):
                run()
        finally:
            current.wait_stream(side)

    def capture(self, run: Run) -> Sequence[Tensor]:
        """See `Graph.capture`."""
        device, collects = self._shared.device, gc.isenabled()
        current = torch.cuda.current_stream(device)
        # thread_local: the thread that reads frames ahead may go on allocating host memory meanwhile.
        recording = torch.cuda.graph(
            self._graph, pool=self._shared.pool, stream=self._shared.stream, capture_error_mode="thread_local"
        )
        gc.disable()  # what a collection frees, it would free in the recording
        _forget_cublas_workspaces()
        try:
            with torch.cuda.device(device), _no_weight_cache(device), recording:
                return run()
        except BaseException:
            self._shared.renew_pool()
            raise
        finally:
            _forget_cublas_workspaces()
            with torch.cuda.device(device):  # `set_stream` makes its device the current one
                torch.cuda.set_stream(current)  # a capture that fails leaves the side stream current
            if collects:
                gc.enable()

    def copy_in(self, static: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        """See `Graph.copy_in`."""
        copy_tensors(static, inputs)

    def replay(self) -> None:
        """See `Graph.replay`."""
        with torch.cuda.device(self._shared.device):
            self._graph.replay()


def _forget_cublas_workspaces() -> None:
    """Around a capture, as PyTorch's own CUDA graph trees do: GEMMs then record a workspace of the graph's own pool.

    One made before lies in memory that may be freed while recordings still point to it.
    """
    if hasattr(torch._C, "_cuda_clearCublasWorkspaces"):
        torch._C._cuda_clearCublasWorkspaces()


def _no_weight_cache(device: torch.device) -> torch.autocast:
    """The autocast there is, without the cache whose half-precision weights would not outlive it."""
    enabled, dtype = autocast_of(device)
    return torch.autocast(device.type, dtype=dtype, enabled=enabled, cache_enabled=False)


def autocast_of(device: torch.device) -> tuple[bool, torch.dtype]:
    """Whether autocast is on for devices of this kind, and its type."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    if device.type == "cpu":  # before PyTorch 2.4
        return torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    return torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()


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
