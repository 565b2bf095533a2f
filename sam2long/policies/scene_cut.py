"""A scene cut makes a frame uncertain, whatever the occlusion score says (the trigger of SeC, arXiv 2507.15852).

Where the colours of the frame are far from those of the frame before, candidates are put forward and chosen as on any
uncertain frame: different ones, so that the pathways part. The frame after a prompt is compared with nothing.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate

# Bhattacharyya distance of the histograms of two frames, beyond which a cut lies between them.
_CUT = 0.35

Histogram = NDArray[np.float32]


def bhattacharyya(one: Histogram, other: Histogram) -> float:
    """Distance of two histograms that sum to 1: sqrt(1 - sum of sqrt(p q)), 0 (equal) to 1 (nothing in common)."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(one.astype(np.float64) * other).sum()))))


def is_after_cut(candidates: Sequence[Candidate], situation: Situation) -> bool:
    """Whether a cut lies between the frame before and this one."""
    colours = candidates[0].evidence.colours
    if colours is None or not isinstance(situation.carry, str):
        return False
    return bhattacharyya(colours, _from_text(situation.carry)) > _CUT


def advance_colours(chosen: Candidate, situation: Situation) -> str | None:
    """The frame's colours, as text."""
    colours = chosen.evidence.colours
    return None if colours is None else b64encode(zlib.compress(colours.astype(np.float16).tobytes())).decode()


def _from_text(text: str) -> Histogram:
    return np.frombuffer(zlib.decompress(b64decode(text)), dtype=np.float16).astype(np.float32)


POLICY = Policy("scene-cut", frozenset({"colours"}), advance=advance_colours, uncertain=is_after_cut)
