"""The frames of a pass that are tracked and not yet yielded."""

from __future__ import annotations

from collections import deque
from typing import Any


class FrameQueue:
    """Which frames wait to be yielded, and which an earlier pass, which this one continues, tracked ahead.

    Attributes:
        waiting: frames tracked and not yet yielded, in processing order.
    """

    def __init__(self) -> None:
        self.waiting: deque[int] = deque()
        self._ahead: deque[int] = deque()  # tracked by a pass that this one continues, not asked for yet
        self._again: int | None = None  # the last one it yielded

    def takes_again(self, frame_idx: int) -> bool:
        """Whether the frame is the last one the earlier pass yielded: it is answered as it was."""
        again = frame_idx == self._again
        if again:
            self.waiting.append(frame_idx)
        return again

    def takes_ahead(self, frame_idx: int) -> bool:
        """Whether the earlier pass has tracked the frame: it only has to be yielded."""
        ahead = bool(self._ahead) and self._ahead.popleft() == frame_idx
        if ahead:
            self.waiting.append(frame_idx)
        return ahead

    def go_on(self, last: int) -> None:
        """What was tracked by the earlier pass waits until it is asked for; `last` is the last frame it yielded."""
        self._ahead.extendleft(reversed(self.waiting))  # tracked before those the earlier pass itself went on from
        self.waiting.clear()
        self._again = last

    def forget(self) -> int | None:
        """Forget what is not yielded; returns the first of the frames forgotten."""
        first = self.waiting[0] if self.waiting else None
        self.waiting.clear()
        self._ahead.clear()
        self._again = None
        return first

    def unfinished(self) -> dict[str, Any]:
        """All that distinguishes it from a new one; nothing is copied."""
        return {"waiting": self.waiting, "ahead": self._ahead}

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on where another queue was `unfinished`."""
        self.waiting.extend(unfinished["waiting"])
        self._ahead.extend(unfinished.get("ahead", ()))
