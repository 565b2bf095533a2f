"""Soft edges in maps of object ids: what a resize leaves that mixes ids as if they were brightness."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MaskArray = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]


def soft_edges(labels: Labels, void: int | None = None) -> list[int]:
    """The labels that are the steps of a soft edge: thin everywhere, and between two others (not `void`) everywhere."""
    values = [int(value) for value in np.unique(labels) if value not in (0, void)]
    found = []
    for value in values:
        here = labels == value
        if num_solid(here) > 0.05 * here.sum():
            continue
        rows, columns = np.nonzero(here)
        around = np.lib.stride_tricks.sliding_window_view(np.pad(labels, 2, mode="edge"), (5, 5))[rows, columns]
        others = np.where(np.isin(around, (value, value if void is None else void)), -1, around).reshape(len(rows), -1)
        first = others.max(axis=1)
        second = np.where(others == first[:, None], -1, others).max(axis=1)
        if np.mean(second >= 0) >= 0.9:
            found.append(value)
    return found


def soft_rims(labels: Labels, void: int | None = None) -> list[int]:
    """The labels that lie as steps around larger ones, though they may be objects elsewhere.

    A resize that mixes ids 0 and 5 puts thin 1 to 4 between them: around half of some object and more, where honest
    neighbours are thick, or another object's tips.
    """
    ids = np.where(labels == void, 0, labels)
    values = [int(value) for value in np.unique(ids) if value != 0]
    solid = np.zeros(ids.shape, dtype=np.bool_)
    rims = {}
    for value in values:
        here = ids == value
        at = _around(here, margin=2)
        thick = _opened(here[at])
        solid[at] |= thick
        rims[value] = at, _widest(thick, 1) & ~here[at]
    lowest = -_widest(-ids, 2)
    found: set[int] = set()
    for value, (at, rim) in rims.items():
        steps = rim & ~solid[at] & (ids[at] < value) & (lowest[at] < ids[at])
        if steps.sum() > 0.4 * rim.sum():
            found |= set(np.unique(ids[at][steps]).tolist())
    return sorted(found)


def _around(here: MaskArray, margin: int) -> tuple[slice, slice]:
    """Where a mask lies that has pixels, and a margin."""
    down, across = (np.flatnonzero(here.any(axis=axis)) for axis in (1, 0))
    top, left = max(down[0] - margin, 0), max(across[0] - margin, 0)
    return slice(top, down[-1] + margin + 1), slice(left, across[-1] + margin + 1)


def num_solid(here: MaskArray) -> int:
    """How many pixels have all their neighbours in a mask."""
    return int(_inside(here).sum())


def _inside(here: MaskArray) -> MaskArray:
    across = here[:, :-2] & here[:, 1:-1] & here[:, 2:]
    return across[:-2] & across[1:-1] & across[2:]


def _opened(here: MaskArray) -> MaskArray:
    """What is left of a mask without its parts that are thinner than 3 pixels."""
    return _widest(_inside(np.pad(here, 1)), 1)


def _widest(values: npt.NDArray[Any], reach: int) -> npt.NDArray[Any]:
    """The largest value within `reach` pixels of each, across and down."""
    padded = np.pad(values, reach, mode="edge")
    for axis in (0, 1):
        padded = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=axis).max(axis=-1)
    return padded
