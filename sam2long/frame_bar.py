"""A progress bar over frames whose time left can be believed from its first minute on."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class FrameBar(tqdm):
    """tqdm over frames: the speed is the mean since the first frame, which is left out.

    The first frame takes far longer than others (libraries are loaded, kernels chosen), and frames come in bursts where
    hypotheses compete: tqdm's own estimate would follow both.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_warm = False
        super().__init__(*args, **{"unit": "frame", "smoothing": 0, **kwargs})

    def update(self, n: float | None = 1) -> bool | None:
        if self.disable or self._is_warm or not n:
            return super().update(n)
        self._is_warm = True
        # What came until now is no measure of speed: the clock starts here.
        self.initial += n
        self.n = self.initial
        self.start_t = self.last_print_t = self._time()
        self.last_print_n = self.n
        return self.refresh()


def frame_bar(num_frames: int, description: str, *, shown: bool) -> FrameBar:
    """A bar over so many frames; not `shown`, it is there and silent."""
    # `disable` is given only where it is meant: it would override the variable TQDM_DISABLE
    return FrameBar(total=num_frames, desc=description, **({} if shown else {"disable": True}))
