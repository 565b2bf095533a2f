"""Copies from the device to the host that nobody waits for at once."""

from __future__ import annotations

import torch
from torch import Tensor


def unpinned(tensor: Tensor) -> Tensor:
    """The tensor in ordinary host memory, if it lies in pinned memory; else as it is."""
    return tensor.clone() if tensor.is_pinned() else tensor


class ToHost:
    """A small tensor on its way to the host; a GPU goes on with what is queued meanwhile.

    Args:
        tensor: on any device.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._arrived = tensor, None
        if tensor.is_cuda:
            self._tensor = tensor.to("cpu", non_blocking=True)
            self._arrived = torch.cuda.current_stream(tensor.device).record_event()

    def wait(self) -> Tensor:
        """The tensor on the host; waits for it alone, not for what was queued after it."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._tensor
