"""Hole filling against scipy's labelling, which defines what SAM 2's kernel computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sam2long.model.holes import HOLE_LOGIT, fill_holes, small_components


def by_scipy(mask: np.ndarray, max_area: int) -> np.ndarray:
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    return mask & (areas[labels] <= max_area)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.05, 0.95), st.integers(1, 24), st.integers(1, 24))
def test_equals_scipy(seed: int, max_area: int, density: float, height: int, width: int) -> None:
    masks = np.random.default_rng(seed).random((3, height, width)) < density
    got = small_components(torch.from_numpy(masks)[:, None], max_area)[:, 0].numpy()
    assert np.array_equal(got, np.stack([by_scipy(mask, max_area) for mask in masks]))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_long_thin_components(device: str) -> None:
    """A diagonal line is one 8-connected component, and as long as its area."""
    mask = torch.eye(32, dtype=torch.bool, device=device)[None, None]
    assert small_components(mask, 32).sum() == 32
    assert small_components(mask, 31).sum() == 0
    big = torch.eye(200, dtype=torch.bool, device=device)[None, None]
    assert small_components(big, 100).sum() == 0
    assert small_components(big, 200).sum() == 200


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_fill_holes(device: str) -> None:
    logits = torch.full((2, 1, 16, 16), 5.0, device=device)
    logits[0, 0, 4:6, 4:8] = -3.0  # 8 pixels
    logits[0, 0, 10:13, 10:13] = 0.0  # 9 pixels; a logit of 0 is background
    filled = fill_holes(logits, 8)
    assert torch.all(filled[0, 0, 4:6, 4:8] == HOLE_LOGIT)
    assert torch.equal(filled[0, 0, 10:13, 10:13], logits[0, 0, 10:13, 10:13])
    assert torch.equal(filled[1], logits[1])
    assert fill_holes(logits, 0) is logits


def test_random_logits_as_sam2_composes_them() -> None:
    logits = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) + 1.0
    expected = logits.clone()
    for k in range(4):
        holes = torch.from_numpy(by_scipy((logits[k, 0] <= 0).numpy(), 8))
        expected[k, 0][holes] = 0.1
    assert torch.equal(fill_holes(logits, 8), expected)
