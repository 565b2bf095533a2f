"""The colours of a frame, as a histogram of hue and saturation."""

from __future__ import annotations

import torch
from torch import Tensor

# SAM 2 normalises images by these (`sam2.utils.misc.load_video_frames`).
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
NUM_HUES, NUM_SATURATIONS = 60, 80


def hue_saturation(image: Tensor) -> Tensor:
    """The share of pixels of each hue and saturation.

    Args:
        image: float [1, 3, S, S] RGB, normalised as SAM 2 reads it.

    Returns:
        float32 [NUM_HUES * NUM_SATURATIONS], hue the slower index; sums to 1. Greys have hue 0 and saturation 0.
    """
    mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    rgb = (image * std + mean).clamp(0, 1)[0].flatten(1)  # (3, S*S)
    most, brightest = rgb.max(dim=0)
    spread = most - rgb.min(dim=0).values
    red, green, blue = rgb
    steps = torch.stack([green - blue, blue - red, red - green]) / spread.clamp(min=1e-6)
    hue = (steps.gather(0, brightest[None])[0] + 2 * brightest).remainder(6) / 6  # [0, 1)
    saturation = spread / most.clamp(min=1e-6)
    # A difference of one step of 8 bits is noise: a grey.
    grey = spread < 1.5 / 255
    hues = (torch.where(grey, 0, hue) * NUM_HUES).long().clamp(max=NUM_HUES - 1)
    saturations = (torch.where(grey, 0, saturation) * NUM_SATURATIONS).long().clamp(max=NUM_SATURATIONS - 1)
    counts = torch.bincount(hues * NUM_SATURATIONS + saturations, minlength=NUM_HUES * NUM_SATURATIONS)
    return counts.float() / counts.sum()
