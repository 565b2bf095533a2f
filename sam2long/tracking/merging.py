"""Merging hypotheses that have become the same (opt-in): on certain frames the cost falls back to SAM 2's.

After an uncertain stretch several pathways often show the same masks for good, and each costs a forward pass
until the scores prune it. With `merge_iou` set, hypotheses that have agreed long enough are taken for one (on
the next uncertain frame it branches again).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.model.hypotheses import Node, Tree
from sam2long.search.tree import MemoryNode


class Agreement:
    """For how many frames the pathways of one tree have agreed, pair by pair.

    The masks of a frame are compared on the device, and the numbers are read when the host waits for the next
    frame's scores anyway; so pathways merge one frame after they have agreed long enough.
    """

    def __init__(self, config: MemoryTreeConfig) -> None:
        self._merge_iou = config.merge_iou
        self._merge_frames = config.merge_frames
        self._frames: dict[tuple[int, int], int] = {}  # by positions in `_tips`
        self._tips: list[Node] = []
        self._ious: Tensor | None = None

    def unfinished(self, tree: Tree) -> dict[str, Any]:
        """What `take_up` needs to go on in another process."""
        tips = [tip if tip in tree.slots else None for tip in self._tips]
        return {"tips": tips, "frames": self._frames, "ious": self._ious}

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on where another agreement was `unfinished`."""
        # A tip that no slot points to any more only keeps its place.
        self._tips = [MemoryNode(-1, -math.inf) if tip is None else tip for tip in unfinished["tips"]]
        self._frames, self._ious = unfinished["frames"], unfinished["ious"]

    def compare(self, tree: Tree, parents: dict[Node, Node]) -> None:
        """Look at the masks of the newest frame; `parents` are the tips' nodes on the frame before."""
        if self._merge_iou is None:
            return
        before = {node: position for position, node in enumerate(self._tips)}
        agreed, self._frames = self._frames, {}
        self._tips = tree.tips
        for j, later in enumerate(self._tips):
            for i, earlier in enumerate(self._tips[:j]):
                pair = before.get(parents[earlier], -1), before.get(parents[later], -1)
                # Siblings have parted just now, whatever their common past.
                self._frames[i, j] = agreed.get((min(pair), max(pair)), 0) if pair[0] != pair[1] else 0
        self._ious = None
        if len(self._tips) > 1:
            masks = [node.output.mask_logits for node in self._tips if node.output is not None]
            self._ious = pairwise_iou(torch.cat(masks)).to("cpu", non_blocking=True)

    def merge(self, tree: Tree) -> None:
        """Call after the host has waited for the device: counts the agreement seen last and merges."""
        if self._ious is None or self._merge_iou is None:
            return
        ious: list[list[float]] = self._ious.tolist()
        self._ious = None
        for (i, j), frames in self._frames.items():
            self._frames[i, j] = frames + 1 if ious[i][j] >= self._merge_iou else 0
        stands_for: dict[Node, Node] = {}
        for j, tip in enumerate(self._tips):  # slot order is score order: the better of two survives
            if tip not in tree.slots:  # dropped since, where a frame was decided before its time
                continue
            twins = (earlier for i, earlier in enumerate(self._tips[:j]) if self._frames[i, j] >= self._merge_frames)
            stands_for[tip] = next((stands_for[twin] for twin in twins if twin in stands_for), tip)
        if any(tip is not survivor for tip, survivor in stands_for.items()):
            tree.merge(stands_for)


def pairwise_iou(mask_logits: Tensor) -> Tensor:
    """IoU of every pair of masks (logits > 0), [N, 1, h, w] -> [N, N]; two empty masks agree fully."""
    masks = (mask_logits > 0).flatten(1).float()  # (N, hw)
    intersection = masks @ masks.T
    area = masks.sum(dim=1)
    union = area[:, None] + area[None, :] - intersection
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
