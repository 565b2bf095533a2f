"""The tree's structure, with numbers instead of tensors."""

from __future__ import annotations

import gc
import math
import weakref
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam2long.search.policy import Memory
from sam2long.search.tree import MemoryNode, MemoryTree

Node = MemoryNode[int, str]
Tree = MemoryTree[int, str]


def plant(num_pathways: int = 3) -> Tree:
    return MemoryTree.plant(MemoryNode(frame_idx=0, score=0.0, remembered=(0,)), num_pathways)


def grow(
    tree: Tree,
    frame_idx: int,
    parents: list[int],
    distinct: list[int] | None = None,
    max_pending_frames: int | None = None,
) -> list[Node]:
    """Grow slot k from the tip in slot parents[k]; slots with equal (parent tip, distinct) share a node.

    Returns what the tree expects to outlast the decisions that `max_pending_frames` asks for.
    """
    made: dict[tuple[int, int], Node] = {}
    slots = []
    for k, parent_slot in enumerate(parents):
        parent = tree.slots[parent_slot]
        key = (id(parent), k if distinct is None else distinct[k])
        if key not in made:
            made[key] = MemoryNode(frame_idx, parent.score - k - 0.5, f"{frame_idx}.{k}", (frame_idx,), parent)
        slots.append(made[key])
    lasting = tree.outlasting(slots, max_pending_frames)
    tree.grow(frame_idx, slots)
    return lasting


def decided(tree: Tree) -> list[str | None]:
    return [pending.nodes[0].output for pending in tree.pop_decided()]


def test_shared_slots_decide_at_once() -> None:
    tree = plant()
    for t in range(1, 4):
        grow(tree, t, [0, 1, 2], [0, 0, 0])
        assert len(tree.tips) == 1
        assert tree.pending[0].distinct_pathways == 1
        assert tree.pending[0].margin == math.inf
        assert decided(tree) == [f"{t}.0"]
    assert not tree.pending


def test_branch_waits_until_one_ancestor_is_left() -> None:
    tree = plant()
    grow(tree, 1, [0, 0, 0])
    assert decided(tree) == []
    assert tree.pending[0].margin == 1.0
    assert tree.pending[0].distinct_pathways == 3
    grow(tree, 2, [0, 0, 1])
    assert decided(tree) == []
    assert len(tree.pending[0].nodes) == 2
    grow(tree, 3, [2, 2, 2])  # all from the pathway 1.1 -> 2.2
    assert decided(tree) == ["1.1", "2.2"]
    assert [pending.frame_idx for pending in tree.pending] == [3]
    assert all(node.parent is None for node in tree.pending[0].nodes)


def test_decide_all_keeps_the_best_pathway() -> None:
    tree = plant()
    grow(tree, 1, [0, 0, 0])
    grow(tree, 2, [1, 0, 2])
    tree.decide_all()
    assert decided(tree) == ["1.1", "2.0"]
    assert len(tree.tips) == 1
    grow(tree, 3, [0, 0, 0])
    assert len(tree.tips) == 3


def test_decide_oldest_reseeds_only_strangers() -> None:
    tree = plant()
    grow(tree, 1, [0, 0, 0])
    grow(tree, 2, [0, 1, 0])
    best, stranger, sibling = tree.slots
    tree.decide_oldest()
    assert tree.slots == [best, best, sibling]
    assert stranger not in tree.pending[-1].nodes
    assert decided(tree) == ["1.0"]
    assert [len(pending.nodes) for pending in tree.pending] == [2]


def test_what_outlasts_the_decisions_of_a_frame() -> None:
    tree = plant()
    grow(tree, 1, [0, 0, 0])
    slots = [MemoryNode(2, -float(k), parent=tree.slots[parent]) for k, parent in enumerate([0, 1, 0])]
    assert tree.outlasting(slots, None) == tree.outlasting(slots, 2) == slots
    assert tree.outlasting(slots, 1) == [slots[0], slots[2]]  # frame 1 is due, and slot 1 has another past
    assert tree.outlasting(slots, 0) == [slots[0]]
    assert tree.outlasting([slots[2], slots[0], slots[2]], 0) == [slots[2]]


def test_only_tips_remember() -> None:
    tree = plant()
    root = tree.slots[0]
    grow(tree, 1, [0, 0, 0])
    first = tree.tips
    grow(tree, 2, [0, 0, 1])
    assert root.remembered == ()
    assert all(node.remembered == () for node in first)
    assert all(node.remembered == (2,) for node in tree.tips)
    before = tree.tips[0]
    before.memory = Memory((0,), (2,), (1,))
    grow(tree, 3, [0, 0, 1])
    assert before.memory == Memory(), "nor of what is read as a prompt, nor of what lies aside"


def test_growing_from_elsewhere_is_refused() -> None:
    tree = plant()
    with pytest.raises(ValueError, match="frame 1"):
        tree.grow(1, [MemoryNode(1, 0.0, parent=MemoryNode(0, 0.0))] * 3)


class Probe:
    """An output whose death can be watched."""


def test_dead_hypotheses_are_freed() -> None:
    gc.disable()  # reference counts alone must do
    try:
        tree: MemoryTree[int, Probe] = MemoryTree.plant(MemoryNode(0, 0.0), 2)
        probes: list[weakref.ref[Probe]] = []
        for t in range(1, 50):
            slots = []
            for k in range(2):
                slots.append(MemoryNode(t, -k, Probe(), (), tree.slots[0]))
                probes.append(weakref.ref(slots[-1].output))
            tree.grow(t, slots)
            tree.pop_decided()
            del slots
        assert sum(probe() is not None for probe in probes) <= 4
    finally:
        gc.enable()


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), max_size=40),
    st.none() | st.integers(0, 5),
)
def test_against_a_naive_tree(num_pathways: int, steps: list[tuple[int, bool]], max_pending: int | None) -> None:
    """Whatever grows: frames come out once and in order, as the common ancestor a naive history names."""
    tree = plant(num_pathways)
    histories: list[tuple[str, ...]] = [()] * num_pathways  # of each slot, from frame 1
    out: list[str | None] = []
    for t, (code, share) in enumerate(steps, start=1):
        parents = [(code // (7**k)) % num_pathways for k in range(num_pathways)]
        lasting = grow(tree, t, parents, [0] * num_pathways if share else None, max_pending)
        histories = [(*histories[p], str(tree.slots[k].output)) for k, p in enumerate(parents)]
        out += decided(tree)
        if max_pending is not None:
            while len(tree.pending) > max_pending:
                oldest = len(out)
                tree.decide_oldest()
                same = [h[oldest] == histories[0][oldest] for h in histories]
                histories = [h if ok else histories[0] for h, ok in zip(histories, same, strict=True)]
                out += decided(tree)
        assert lasting == tree.tips
        common = 0
        while common < t and len({h[common] for h in histories}) == 1:
            common += 1
        assert out == list(histories[0][:common])
        assert len(tree.pending) == t - common
        assert len(tree.tips) <= num_pathways
        assert all(1 <= len(pending.nodes) <= num_pathways for pending in tree.pending)
    tree.decide_all()
    out += decided(tree)
    assert out == list(histories[0])


class Frame(NamedTuple):
    frame_idx: int


def test_anchors_on_pending_frames_wait_among_the_recent_ones() -> None:
    tree = plant()
    grow(tree, 8, [0, 1, 2], [0, 0, 0])
    assert decided(tree) == ["8.0"]
    for t in (7, 6, 5):  # time may run backwards; from frame 7 on two pathways stay apart
        grow(tree, t, [0, 1, 2], [0, 1, 1])
    assert decided(tree) == []
    nine, eight, seven, six, five = (Frame(t) for t in (9, 8, 7, 6, 5))
    memory = Memory((nine, seven), (eight, six, five), (nine,))
    assert tree.settled(memory) == Memory((nine,), (eight, seven, six, five), (nine,))
    twice = Memory((nine, five), (eight, five))
    assert tree.settled(twice) == Memory((nine,), (eight, five)), "the newest is read as both: it waits as one"
    assert tree.settled(Memory((nine, eight), (six,))) == Memory((nine, eight), (six,))
    tree.decide_all()
    assert len(decided(tree)) == 3
    assert tree.settled(memory) == memory
