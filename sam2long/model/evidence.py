"""What a policy wants to know of every candidate mask besides its scores: computed on the device, read on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2long.model.colours import hue_saturation
from sam2long.model.host_copies import ToHost
from sam2long.model.image_features import ImageFeatures
from sam2long.search.policy import Want
from sam2long.search.selection import Evidence

# Keeps the standardisation of a channel that is the same everywhere finite.
_EPSILON = 1e-6


class EvidenceOfMasks:
    """Evidence of a frame's candidate masks, on the way to the host.

    Args:
        wants: what is computed.
        logits: low-res mask logits [B, M, h, w], not yet emptied where the object is absent.
        features: of the frame.
    """

    def __init__(self, wants: Iterable[Want], logits: Tensor, features: ImageFeatures) -> None:
        masks = logits > 0
        image = features.image
        compute: dict[Want, Callable[[], Tensor]] = {
            "masks": lambda: masks,
            "maskness": lambda: maskness(logits.float(), masks),
            "appearance": lambda: appearance(masks, features),
        }
        if image is not None:
            compute["colours"] = lambda: hue_saturation(image)
        self._num_rows, self._num_masks = logits.shape[:2]
        self._wanted = {want: ToHost(compute[want]()) for want in sorted(wants) if want in compute}

    def of_rows(self) -> list[list[Evidence]]:
        """By row and mask; waits for the device."""
        arrived = {want: copy.wait() for want, copy in self._wanted.items()}
        masks = arrived["masks"].numpy() if "masks" in arrived else None
        quality = arrived["maskness"].tolist() if "maskness" in arrived else None
        looks = arrived["appearance"].numpy() if "appearance" in arrived else None
        colours = arrived["colours"].numpy() if "colours" in arrived else None
        return [
            [
                Evidence(
                    None if masks is None else masks[row, k],
                    None if quality is None else quality[row][k],
                    None if looks is None else looks[row, k],
                    colours=colours,
                )
                for k in range(self._num_masks)
            ]
            for row in range(self._num_rows)
        ]


def evidence_or_none(evidence: EvidenceOfMasks | None) -> Iterable[Sequence[Evidence]]:
    """By row, endless empty ones where nothing is wanted."""
    return repeat(()) if evidence is None else evidence.of_rows()


def maskness(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of sigmoid(logit) over the pixels of each mask, [B, M, h, w] -> [B, M]; 0 for an empty mask."""
    inside = (logits.sigmoid() * masks).sum(dim=(-2, -1))
    return inside / masks.sum(dim=(-2, -1)).clamp(min=1)


def appearance(masks: Tensor, features: ImageFeatures) -> Tensor:
    """Mean of the frame's coarsest and finest features under each mask, channels standardised over the frame.

    Args:
        masks: bool [B, M, h, w].
        features: of the frame, shared by all masks.

    Returns:
        float32 [B, M, C + c], each of the two parts of length 1, so that a cosine is the mean of both; zeros for an
        empty mask.
    """
    return torch.cat([F.normalize(_mean_under(masks, features, level), dim=-1) for level in (-1, 0)], dim=-1)


def _mean_under(masks: Tensor, features: ImageFeatures, level: int) -> Tensor:
    """Mean of one level's features under masks [B, M, h, w]: float32 [B, M, C]."""
    feats = features.vision_feats[level][:, 0].float()  # (HW, C)
    feats = feats - feats.mean(dim=0)
    # Several times faster on a CPU than `std`, and as exact about a mean of zero.
    deviation = (feats.square().sum(dim=0) / (len(feats) - 1)).sqrt()
    height, width = features.feat_sizes[level]
    share = F.adaptive_avg_pool2d(masks.float(), (height, width))  # of each cell, (B, M, H, W)
    share = share.flatten(2)  # (B, M, HW)
    mean = (share @ feats) / share.sum(dim=-1, keepdim=True).clamp(min=_EPSILON)
    return mean / (deviation + _EPSILON)
