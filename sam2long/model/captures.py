"""The recordings of one predictor: which stage, for which sizes, and for how long."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam2long.model.graphs import Graph, GraphFactory, cuda_autocast

logger = logging.getLogger(__name__)

# How many recordings live at once; a video under way uses three to six.
MAX_GRAPHS = 24
# A size that came once may never come again (memories fill up over the first frames): record it when it comes back.
_USES_BEFORE_CAPTURE = 1
_MAX_SIZES_COUNTED = 1024

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(slots=True)
class _Recording:
    graph: Graph
    inputs: list[Tensor]
    outputs: Sequence[Tensor]
    # What was recorded holds on to what it reads besides its inputs (encodings made at the warm-up).
    function: Function


class Captures:
    """Runs functions over tensors by replaying what they launched before.

    Args:
        graphs: makes recordings.
        device: where static tensors lie.
        uses_before_capture: how often a size runs eagerly before it is recorded.
    """

    def __init__(
        self, graphs: GraphFactory, device: torch.device, uses_before_capture: int = _USES_BEFORE_CAPTURE
    ) -> None:
        self.device = device
        self._graphs = graphs
        self._uses_before_capture = uses_before_capture
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._uses: dict[Hashable, int] = {}
        self._eager: set[str] = set()  # stages that cannot be recorded
        self._named: set[tuple[str, str]] = set()  # reasons that were logged
        self._submodules: dict[tuple[int, ...], list[nn.Module]] = {}
        self.num_replays = 0

    def __len__(self) -> int:
        return len(self._recordings)

    def clear(self) -> None:
        """Forget all recordings: the weights they read have moved."""
        self._recordings.clear()

    def run(
        self, stage: str, key: Hashable, modules: Sequence[nn.Module], function: Function, inputs: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], bool]:
        """What `function` makes of `inputs`.

        Args:
            stage: a name.
            key: all that `function` depends on but its inputs' values, shapes and types.
            modules: what the stage runs. Forward hooks on them, which a replay would skip, have it run eagerly.
            function: tensors to tensors; it must read nothing else that changes.
            inputs: its arguments, on any device.

        Returns:
            The results, and whether they are static: valid until this stage runs again.
        """
        if stage in self._eager or self._has_hook(stage, modules):
            return function(inputs), False
        whole_key = (stage, key, _weights(modules), cuda_autocast(), *((value.shape, value.dtype) for value in inputs))
        if whole_key not in self._recordings and (
            self._is_new(whole_key) or not self._record(stage, whole_key, function, inputs)
        ):
            return function(inputs), False
        self._recordings.move_to_end(whole_key)
        recording = self._recordings[whole_key]
        recording.graph.copy_in(recording.inputs, inputs)
        recording.graph.replay()
        self.num_replays += 1
        return recording.outputs, True

    def _is_new(self, key: Hashable) -> bool:
        uses = self._uses[key] = self._uses.get(key, 0) + 1
        if len(self._uses) > _MAX_SIZES_COUNTED:
            self._uses = {key: uses}
        return uses <= self._uses_before_capture

    def _record(self, stage: str, key: Hashable, function: Function, inputs: Sequence[Tensor]) -> bool:
        while len(self._recordings) >= MAX_GRAPHS:
            if self.device.type == "cuda":
                torch.cuda.current_stream(self.device).synchronize()  # it may still be running
            self._recordings.popitem(last=False)
        graph = self._graphs()
        static = [torch.empty_like(value, device=self.device) for value in inputs]
        graph.copy_in(static, inputs)
        try:
            graph.warm_up(lambda: function(static))
            outputs = graph.capture(lambda: function(static))
        except RuntimeError as error:
            self._eager.add(stage)
            self._name(stage, str(error).splitlines()[0])
            return False
        self._recordings[key] = _Recording(graph, static, outputs, function)
        self._uses.pop(key, None)
        logger.debug("captured %s, %d graphs", stage, len(self._recordings))
        return True

    def _has_hook(self, stage: str, modules: Sequence[nn.Module]) -> bool:
        key = tuple(id(module) for module in modules)
        if key not in self._submodules:
            self._submodules[key] = [submodule for module in modules for submodule in module.modules()]
        for module in self._submodules[key]:
            if module._forward_hooks or module._forward_pre_hooks:
                self._name(stage, f"{type(module).__name__} has a forward hook, which a replay would skip")
                return True
        return False

    def _name(self, stage: str, reason: str) -> None:
        if (stage, reason) not in self._named:
            self._named.add((stage, reason))
            logger.warning("the stage %r runs eagerly, it is not captured: %s", stage, reason)


def checked_capture(capture: bool | None, *, compiled: bool) -> bool:
    """`capture=`: None is off.

    Raises:
        ValueError: if it is neither None nor a bool, or the predictor is a compiled one.
    """
    if capture is not None and not isinstance(capture, bool):
        raise ValueError(f"capture must be None or True, got {capture!r}")
    if capture and compiled:
        raise ValueError("capture=True replays eager kernels; a compiled predictor has recordings of its own: drop one")
    return bool(capture)


def check_device_captures(device: torch.device) -> None:
    """Refuse a device whose launches cannot be recorded.

    Raises:
        ValueError: naming the device and the mend.
    """
    if device.type != "cuda":
        raise ValueError(f"capture=True needs a CUDA device, and the model is on {device}: move it, or drop capture")


def _weights(modules: Sequence[nn.Module]) -> tuple[int, ...]:
    """Where the weights lie: a recording reads them there, even if their module has moved."""
    firsts = (next(module.parameters(), None) for module in modules)
    return tuple(0 if first is None else first.data_ptr() for first in firsts)
