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
    # 1 .. HW in every image, 0 outside; float32 is exact up to 2^24 and is what max_pool2d is fast in
    start = torch.arange(1, height * width + 1, device=mask.device, dtype=torch.float32).view(1, 1, height, width)
    labels = torch.where(mask, start, 0.0)
    for step in range(1, max_area):
        grown = torch.where(mask, F.max_pool2d(labels, 3, stride=1, padding=1), 0.0)
        # Looking whether anything changed costs a synchronisation on a GPU: worth it for large areas only.
        settled = step % 16 == 0 and torch.equal(grown, labels)
        labels = grown
        if settled:
            break
    highest = F.max_pool2d(labels, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(torch.where(mask, -labels, -float("inf")), 3, stride=1, padding=1)
    touches = mask & ((highest != labels) | (lowest != labels))
    index = labels.long().view(num_masks, -1)  # (N, HW), 0 is outside
    size = height * width + 1
    area = mask.new_zeros(num_masks, size, dtype=torch.int32)
    area.scatter_add_(1, index, torch.ones_like(index, dtype=torch.int32))
    open_regions = mask.new_zeros(num_masks, size, dtype=torch.int32)
    open_regions.scatter_add_(1, index, touches.view(num_masks, -1).int())
    is_small = (area <= max_area) & (open_regions == 0)
    return mask & is_small.gather(1, index).view_as(mask)
