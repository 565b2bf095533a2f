"""How a video is to be shown: when each frame, and how wide a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Display:
    """What frames alone do not say.

    Attributes:
        frame_rate: frames per second, on average; None where the source does not say.
        pixel_aspect: width of a pixel over its height, of frames as they are given (upright).
        ticks: [num_frames], when each frame is shown, in units of `tick` from the first; None where the frames are
            evenly spaced or the source does not say.
        tick: seconds.
    """

    frame_rate: Fraction | None = None
    pixel_aspect: Fraction = Fraction(1)
    ticks: npt.NDArray[np.int64] | None = None
    tick: Fraction = Fraction(1)
