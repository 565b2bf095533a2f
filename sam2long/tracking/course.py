"""Which frames a pass takes, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sam2long.search.records import OnFrame
from sam2long.state.inference_state import processing_order

Direction = Literal["forward", "reverse", "both"]
_DIRECTIONS = ("forward", "reverse", "both")


@dataclass(frozen=True, slots=True)
class Course:
    """The way through the video that a caller asked for.

    Attributes:
        start: the first frame; None is the earliest that is prompted.
        count: how many frames may follow it (in each direction); None is all.
        reverse: towards frame 0.
        returns: whether the frames before the first one follow, backwards from it.
        progress: whether a bar is shown.
        over: the frames themselves, where they are known already.
        on_frame: who is told what the trees do.
    """

    start: int | None
    count: int | None
    reverse: bool
    returns: bool = False
    progress: bool = True
    over: range | None = None
    on_frame: OnFrame | None = None

    @classmethod
    def asked_for(
        cls,
        start: int | None,
        count: int | None,
        reverse: bool,
        direction: Direction | None,
        progress: bool,
        on_frame: OnFrame | None = None,
    ) -> Course:
        """The arguments of `propagate_in_video`, checked.

        Raises:
            ValueError: for a direction that does not exist, or one that `reverse` contradicts; for a negative start.
        """
        if start is not None and start < 0:
            raise ValueError(f"start_frame_idx={start} is negative: frames count from 0")
        if direction is None:
            return cls(start, count, reverse, progress=progress, on_frame=on_frame)
        if direction not in _DIRECTIONS:
            raise ValueError(f"direction={direction!r} must be one of {_DIRECTIONS}, or None to go by `reverse`")
        if reverse and direction != "reverse":
            raise ValueError(f"direction={direction!r} contradicts reverse=True; leave `reverse` out")
        return cls(start, count, direction == "reverse", direction == "both", progress, on_frame=on_frame)

    @classmethod
    def back_over(cls, frames: range, progress: bool, on_frame: OnFrame | None = None) -> Course:
        """Over `frames`, which descend. (SAM 2's arguments cannot say "frame 0 alone, in reverse".)"""
        return cls(frames[0], None, reverse=True, progress=progress, over=frames, on_frame=on_frame)

    @property
    def is_sam2s(self) -> bool:
        """Whether SAM 2's own generator can be asked for it."""
        return self.progress and not self.returns and self.over is None

    def orders(self, inference_state: dict[str, Any], first: int | None = None) -> tuple[range, range]:
        """The frames in order, and those that follow backwards; `first`: where it began, if that is known."""
        if self.over is not None:
            return self.over, range(0)
        start = self.start if first is None else first
        order = processing_order(inference_state, start, self.count, self.reverse)
        if not self.returns or not order:
            return order, range(0)
        return order, processing_order(inference_state, order.start, self.count, reverse=True)[1:]
