"""Hypotheses that agree for long enough become one; by default none do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from support import build_golden, moving_disks, prompts

from sam2long import MemoryTreeConfig
from sam2long.model.hypotheses import Hypothesis
from sam2long.model.memory_bank import FrameMemory
from sam2long.search.selection import Candidate, select_candidates
from sam2long.search.tree import MemoryNode, MemoryTree
from sam2long.tracking.merging import Agreement, pairwise_iou

Node = MemoryNode[FrameMemory, Hypothesis]


def test_pairwise_iou() -> None:
    logits = torch.full((4, 1, 2, 4), -1.0)
    logits[0, 0, 0] = 1.0  # the upper row
    logits[1, 0, 0, :2] = 1.0  # its left half
    expected = [[1.0, 0.5, 0.0, 0.0], [0.5, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    assert pairwise_iou(logits).tolist() == expected


def hypothesis(left: int) -> Hypothesis:
    """A square of 8x8 pixels, `left` pixels from the border."""
    logits = torch.full((1, 1, 8, 32), -1.0)
    logits[..., left : left + 8] = 1.0
    memory = FrameMemory(0, 0.9, 5.0, None, torch.zeros(1, 4))
    return Hypothesis(memory, logits, torch.zeros(1, 1), 0.0)


def step(tree: MemoryTree[FrameMemory, Hypothesis], agreement: Agreement, frame_idx: int, lefts: list[int]) -> None:
    agreement.merge(tree)
    nodes: dict[tuple[Node, int], Node] = {}
    slots = []
    for slot, left in zip(tree.slots, lefts, strict=True):
        key = (slot, left)
        if key not in nodes:
            nodes[key] = MemoryNode(frame_idx, slot.score - 0.1 * (1 + left), hypothesis(left), (), slot)
        slots.append(nodes[key])
    parents = {node: node.parent for node in slots if node.parent is not None}
    tree.grow(frame_idx, slots)
    agreement.compare(tree, parents)


def test_merges_after_enough_frames_of_agreement() -> None:
    config = MemoryTreeConfig(merge_iou=0.7, merge_frames=3)
    tree: MemoryTree[FrameMemory, Hypothesis] = MemoryTree.plant(MemoryNode(0, 0.0), 3)
    agreement = Agreement(config)
    step(tree, agreement, 1, [0, 1, 20])  # 0 and 1 agree at 7/9, the third is elsewhere
    step(tree, agreement, 2, [0, 1, 20])
    step(tree, agreement, 3, [0, 5, 20])  # one frame of disagreement: counting begins again
    for t in (4, 5, 6):
        assert len(tree.tips) == 3
        step(tree, agreement, t, [0, 1, 20])
    agreement.merge(tree)
    assert len(tree.tips) == 2
    assert tree.slots[0] is tree.slots[1]
    assert tree.slots[0].output is not None
    assert tree.slots[0].output.mask_logits[0, 0, 0, 0] == 1.0  # the better score survived
    assert [pending.frame_idx for pending in tree.pending] == [1, 2, 3, 4, 5, 6]
    assert all(len(pending.nodes) == 2 for pending in tree.pending)


def test_off_by_default() -> None:
    tree: MemoryTree[FrameMemory, Hypothesis] = MemoryTree.plant(MemoryNode(0, 0.0), 2)
    agreement = Agreement(MemoryTreeConfig(num_pathways=2))
    step(tree, agreement, 1, [0, 1])
    for t in range(2, 20):
        step(tree, agreement, t, [0, 0])
    agreement.merge(tree)
    assert len(tree.tips) == 2


def test_merging_saves_forward_passes() -> None:
    """Diverse at first, then every slot stays on its pathway: without merging the cost would stay at P for good."""
    clip = moving_disks(40)

    def stay(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
        if len({candidate.score for candidate in candidates}) == 3:  # all slots share a node
            return select_candidates(candidates, config)
        return [max((c for c in candidates if c.slot_idx == k), key=lambda c: c.score) for k in range(3)]

    config = MemoryTreeConfig(uncertainty_threshold=100.0)
    rows, answers = [], []
    for settings in (config, dataclasses.replace(config, merge_iou=0.8, merge_frames=2)):
        predictor = build_golden(memory_tree=settings)
        predictor.select = stay
        batches: list[int] = []
        predictor.sam_mask_decoder.register_forward_hook(
            lambda _module, _args, output, seen=batches: seen.append(output[0].shape[0])
        )
        state = predictor.init_state(clip[0])
        prompts(clip)["mask"](predictor, state)
        answers.append([(masks > 0).numpy() for _, _, masks in predictor.propagate_in_video(state)])
        rows.append(sum(batches))
    assert rows[1] < rows[0]
    assert len(answers[1]) == len(answers[0]) == 40
    agreement = [np.mean(a == b) for a, b in zip(*answers, strict=True)]
    assert min(agreement) > 0.95


@pytest.mark.parametrize("value", [0.0, 1.5, -1.0, True, math.nan])
def test_bad_values_are_named(value: float) -> None:
    with pytest.raises(ValueError, match="merge_iou"):
        MemoryTreeConfig(merge_iou=value)
    with pytest.raises(ValueError, match="merge_frames"):
        MemoryTreeConfig(merge_frames=0)
