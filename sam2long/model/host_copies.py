"""Copies from the device to the host that nobody waits for at once."""

from __future__ import annotations

import torch
from torch import Tensor


def unpinned(tensor: Tensor) -> Tensor:
    """The tensor in ordinary host memory, if it lies in pinned memory; else as it is."""
    return tensor.clone() if tensor.is_pinned() else tensor


class RowsToHost:
    """A few numbers on their way to the host; a GPU goes on with what is queued meanwhile.

    Args:
        rows: [N, M], on any device.
    """

    def __init__(self, rows: Tensor) -> None:
        self._rows, self._arrived = rows, None
        if rows.is_cuda:
            self._rows = rows.to("cpu", non_blocking=True)
            self._arrived = torch.cuda.current_stream(rows.device).record_event()

    def wait(self) -> list[list[float]]:
        """The numbers; waits for them alone, not for what was queued after them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        numbers: list[list[float]] = self._rows.tolist()
        return numbers
