"""Hole filling with the result of SAM 2's CUDA kernel, where that kernel is not there.

sam2 fills holes with an extension (`sam2._C`) that most installations lack, and then silently does not; its
results so depend on the machine. This is the same post-processing in plain PyTorch, on any device.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
import torch.nn.functional as F
from sam2.utils.misc import fill_holes_in_mask_scores
from torch import Tensor

# What SAM 2 writes into a hole (`fill_holes_in_mask_scores`): barely foreground.
HOLE_LOGIT = 0.1


@cache
def has_sam2_kernel() -> bool:
    """Whether sam2 was installed with its CUDA extension."""
    return importlib.util.find_spec("sam2._C") is not None


def fill_holes(mask_logits: Tensor, max_area: int) -> Tensor:
    """Fill background components of at most `max_area` pixels (8-connected) with a small positive logit.

    Args:
        mask_logits: [N, 1, H, W] float; background is <= 0.
        max_area: in pixels of this resolution; <= 0 leaves the logits alone.

    Returns:
        [N, 1, H, W], a new tensor if anything may have changed.
    """
    if max_area <= 0:
        return mask_logits
    if mask_logits.is_cuda and has_sam2_kernel():
        return fill_holes_in_mask_scores(mask_logits, max_area)
    return torch.where(small_components(mask_logits <= 0, max_area), HOLE_LOGIT, mask_logits)


def small_components(mask: Tensor, max_area: int) -> Tensor:
    """The pixels of `mask` that lie in 8-connected components of at most `max_area` pixels.

    Every pixel takes the largest label among its neighbours, again and again. No two pixels of a component of
    `max_area` pixels are further apart than `max_area - 1` steps, so after as many rounds each such component
    has one label. A larger component may still have several; their regions touch, which gives them away.

    Args:
        mask: [N, 1, H, W] bool.
        max_area: >= 1.

    Returns:
        [N, 1, H, W] bool.
    """
    num_masks, _, height, width = mask.shape
    size = height * width + 1
    # Products, not `torch.where` with a number: a GPU launches one kernel more for every such number.
    inside = mask.float()
    # 1 .. HW in every image, 0 outside; float32 is exact up to 2^24 and is what max_pool2d is fast in
    start = torch.arange(1, size, device=mask.device, dtype=torch.float32).view(1, 1, height, width)
    labels = start * inside
    for step in range(1, max_area):
        grown = F.max_pool2d(labels, 3, stride=1, padding=1) * inside
        # Looking whether anything changed costs a synchronisation on a GPU: worth it for large areas only. A recording
        # cannot wait, and takes all steps.
        settled = step % 16 == 0 and not _is_recorded(mask) and torch.equal(grown, labels)
        labels = grown
        if settled:
            break
    falling = inside * size - labels  # largest where the label is lowest, 0 outside
    differs = (F.max_pool2d(labels, 3, stride=1, padding=1) != labels) | (
        F.max_pool2d(falling, 3, stride=1, padding=1) != falling
    )
    # A pixel that touches another region counts for more than a small component may have.
    weight = 1 + differs.view(num_masks, -1).long() * max_area
    index = labels.long().view(num_masks, -1)  # (N, HW), 0 is outside
    weights = weight.new_zeros(num_masks, size).scatter_add_(1, index, weight)
    return mask & (weights <= max_area).gather(1, index).view_as(mask)


def _is_recorded(tensor: Tensor) -> bool:
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()
