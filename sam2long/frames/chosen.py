"""Some frames of a video, as a video of their own."""

from __future__ import annotations

from dataclasses import replace

from sam2long.frames.display import Display
from sam2long.frames.source import Frame, FrameSource, normalise_index


class ChosenFrames(FrameSource):
    """The frames `chosen` of a source, numbered from 0; names and reading errors keep the numbers of the source.

    Args:
        source: it stays the caller's to close.
        chosen: ascending frame indices of it, at least one.

    Raises:
        ValueError: if they are none, or not all in the source.
    """

    def __init__(self, source: FrameSource, chosen: range) -> None:
        if not chosen or chosen.step < 1 or chosen[0] < 0 or chosen[-1] >= len(source):
            raise ValueError(f"{chosen} chooses no frames of a video that has frames 0 to {len(source) - 1}")
        self.chosen = chosen
        self._source = source
        self.height, self.width = source.height, source.width
        self.display = _display(source.display, chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    def _read(self, frame_idx: int) -> Frame:
        return self._source[self.chosen[frame_idx]]

    def name(self, frame_idx: int) -> str:
        return self._source.name(self.chosen[normalise_index(frame_idx, len(self))])


def _display(display: Display, chosen: range) -> Display:
    """Frames stay as long as those that were left out between them took."""
    rate = None if display.frame_rate is None else display.frame_rate / chosen.step
    ticks = display.ticks
    if ticks is not None:
        ticks = ticks[chosen.start : chosen.stop : chosen.step] - ticks[chosen.start]
    return replace(display, frame_rate=rate, ticks=ticks)
