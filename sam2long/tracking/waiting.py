"""Frames that wait long for their decision, or decided for other objects, wait in host memory."""

from __future__ import annotations

from collections.abc import Sequence

from sam2long.model.hypotheses import Hypothesis, Pending

# Frames that wait longer than this leave the device.
NUM_ON_DEVICE = 8


def offload(queue: Sequence[Pending | None]) -> None:
    """Start the frame for the host that has now waited too long; the one before has arrived there meanwhile.

    Args:
        queue: frames that wait, in order; called each time it is one longer. None has nothing on the device.
    """
    if len(queue) > NUM_ON_DEVICE:
        for hypothesis in _hypotheses(queue[-NUM_ON_DEVICE - 1]):
            hypothesis.leave_device()
    if len(queue) > NUM_ON_DEVICE + 1:
        for hypothesis in _hypotheses(queue[-NUM_ON_DEVICE - 2]):
            hypothesis.unpin()


def _hypotheses(frame: Pending | None) -> list[Hypothesis]:
    return [node.output for node in frame.nodes if node.output is not None] if frame else []
