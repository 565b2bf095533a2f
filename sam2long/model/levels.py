"""Mask logits as a few levels of probability: what is kept of masks that are long past."""

from __future__ import annotations

import torch
from torch import Tensor

NUM_LEVELS = 16


def quantise(mask_logits: Tensor) -> Tensor:
    """Logits as one of 16 levels of probability, uint8 of the same shape; level >= 8 is foreground (> 0)."""
    levels = (mask_logits.sigmoid() * NUM_LEVELS).floor().clamp(0, NUM_LEVELS - 1)
    # sigmoid rounds tiny logits to 0.5: which side of the boundary they are on comes from their sign
    half = NUM_LEVELS // 2
    return torch.where(mask_logits > 0, levels.clamp(min=half), levels.clamp(max=half - 1)).to(torch.uint8)
