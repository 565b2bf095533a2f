"""The recordings of one predictor: which stage, for which sizes, and for how long."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from sam2long.model.graphs import Graph, GraphFactory, autocast_of
from sam2long.model.half_weights import HalfWeights

logger = logging.getLogger(__name__)

# How many recordings live at once. A video uses some twenty while memories fill up, and then three or four; their
# inputs are shared.
MAX_GRAPHS = 96
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
        # A stage's recordings read the same static inputs where they are of the same kind: one is replayed at a time.
        self._static: WeakValueDictionary[Hashable, Tensor] = WeakValueDictionary()
        self._half_weights = HalfWeights()
        self._weights: Hashable = None
        self._uses: dict[Hashable, int] = {}
        self._eager: set[str] = set()  # stages that cannot be recorded
        self._named: set[tuple[str, str]] = set()  # reasons that were logged
        self._submodules: dict[tuple[int, ...], list[nn.Module]] = {}
        self.num_replays = 0

    def __len__(self) -> int:
        return len(self._recordings)

    def follow(self, model: nn.Module) -> None:
        """Forget all recordings if weights have moved or changed since the last call; a pass begins with this."""
        tensors = (*model.parameters(), *model.buffers())
        # Tensors made in inference mode keep no count of their changes.
        weights = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
        if weights != self._weights:
            self._weights = weights
            self.wait()
            self._recordings.clear()
            self._half_weights.clear()
            self._submodules.clear()

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
            The results, and whether they are static: valid until any stage runs again, since recordings share memory.
        """
        if stage in self._eager or self._has_hook(stage, modules):
            return function(inputs), False
        whole_key = (stage, key, self._numerics(), *((value.shape, value.dtype) for value in inputs))
        if whole_key not in self._recordings and (
            self._is_new(whole_key) or not self._record(stage, whole_key, modules, function, inputs)
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

    def _numerics(self) -> Hashable:
        """What kernels depend on besides their inputs."""
        return (
            autocast_of(self.device),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.are_deterministic_algorithms_enabled(),
        )

    def _record(
        self, stage: str, key: Hashable, modules: Sequence[nn.Module], function: Function, inputs: Sequence[Tensor]
    ) -> bool:
        while len(self._recordings) >= MAX_GRAPHS:
            self.wait()  # it may still be running
            self._recordings.popitem(last=False)
        graph = self._graphs()
        static = [self._static_input(stage, idx, value) for idx, value in enumerate(inputs)]
        graph.copy_in(static, inputs)
        enabled, dtype = autocast_of(self.device)
        half_weights = self._half_weights

        def run() -> Sequence[Tensor]:
            with half_weights.in_place(modules if enabled else (), dtype):
                return function(static)

        try:
            graph.warm_up(run)
            outputs = graph.capture(run)
        except RuntimeError as error:
            self._eager.add(stage)
            self._name(stage, str(_first_cause(error)).splitlines()[0])
            return False
        self._recordings[key] = _Recording(graph, static, outputs, function)
        self._uses.pop(key, None)
        logger.debug("captured %s, %d graphs", stage, len(self._recordings))
        return True

    def _static_input(self, stage: str, idx: int, value: Tensor) -> Tensor:
        fresh = torch.empty_like(value, device="meta")  # what `empty_like` makes of its strides
        key = stage, idx, value.dtype, value.shape, fresh.stride()
        static = self._static.get(key)
        if static is None:
            static = self._static[key] = torch.empty_like(value, device=self.device)
        return static

    def wait(self) -> None:
        """Until no recording runs any more: then they can be dropped."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

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


def checked_capture(capture: bool | None, *, compiled: bool, encode_ahead: int = 0) -> bool:
    """`capture=`: None is off.

    Raises:
        ValueError: if it is neither None nor a bool, the predictor is a compiled one, or frames are encoded ahead.
    """
    if capture is not None and not isinstance(capture, bool):
        raise ValueError(f"capture must be None or True, got {capture!r}")
    if capture and compiled:
        raise ValueError("capture=True replays eager kernels; a compiled predictor has recordings of its own: drop one")
    if capture and encode_ahead:
        # Recordings share their memory: none may run beside another, on a stream of its own.
        raise ValueError(
            f"encode_ahead={encode_ahead} with capture=True: a captured predictor encodes the next frame while the "
            "host selects; drop one"
        )
    return bool(capture)


def check_device_captures(device: torch.device) -> None:
    """Refuse a device whose launches cannot be recorded.

    Raises:
        ValueError: naming the device and the mend.
    """
    if device.type != "cuda":
        raise ValueError(f"capture=True needs a CUDA device, and the model is on {device}: move it, or drop capture")


def _first_cause(error: BaseException) -> BaseException:
    """Of a capture: ending it fails, too, and says only that something failed before."""
    while error.__context__ is not None:
        error = error.__context__
    return error
