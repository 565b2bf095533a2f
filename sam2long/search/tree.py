"""The structure of a memory tree: nodes, slots, and which frames are decided. No tensors are touched here.

Nodes know their parent and not their children, so a hypothesis that no slot descends from any more is freed
by Python as soon as it is cut from its frame's layer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sam2long.search.policy import Memory

MemoryT = TypeVar("MemoryT")
OutputT = TypeVar("OutputT")


@dataclass(slots=True, eq=False)
class MemoryNode(Generic[MemoryT, OutputT]):
    """One hypothesis on one frame; with its ancestors it is a pathway.

    Attributes:
        frame_idx: the frame; of a tree's root, the newest frame tracked before the tree began.
        score: cumulative score of the pathway up to here.
        output: what this frame's result is if the pathway answers (opaque here); None for a root, and for a node
            that the decisions of its own frame drop.
        remembered: the frames this pathway remembers for the next frame, oldest first. Only the newest node
            of a pathway carries them, so that memory features of the past are freed.
        anchors: those it remembers as a prompted frame is remembered, which only a policy chooses.
        aside: those a policy keeps for later (`Memory`).
        carry: what a policy carries along the pathway.
        place: among the hypotheses of its frame when that was tracked, 0 the best.
        parent: the hypothesis on the frame before; None for a root and for the oldest pending frame.
    """

    frame_idx: int
    score: float
    output: OutputT | None = None
    remembered: tuple[MemoryT, ...] = ()
    parent: MemoryNode[MemoryT, OutputT] | None = None
    num_children: int = 0
    anchors: tuple[MemoryT, ...] = ()
    carry: Hashable = None
    place: int = 0
    aside: tuple[MemoryT, ...] = ()

    @property
    def memory(self) -> Memory[Any]:
        """What the pathway remembers, as a policy sees it."""
        return Memory(self.anchors, self.remembered, self.aside)

    @memory.setter
    def memory(self, memory: Memory[Any]) -> None:
        self.anchors, self.remembered, self.aside = memory

    def ancestor(self, frame_idx: int) -> MemoryNode[MemoryT, OutputT]:
        """The node of this pathway on a frame that is still pending."""
        node = self
        while node.frame_idx != frame_idx:
            if node.parent is None:
                raise ValueError(f"frame {frame_idx} is not pending")
            node = node.parent
        return node


@dataclass(slots=True)
class PendingFrame(Generic[MemoryT, OutputT]):
    """The hypotheses still alive on a frame that is not committed, and how the race stood there.

    Attributes:
        nodes: at most P hypotheses, in slot order when the frame was tracked.
        margin: score of slot 0 minus the best slot on another node; inf if there was none.
        distinct_pathways: number of distinct nodes among the slots.
    """

    frame_idx: int
    nodes: list[MemoryNode[MemoryT, OutputT]]
    margin: float
    distinct_pathways: int


@dataclass(slots=True)
class MemoryTree(Generic[MemoryT, OutputT]):
    """P ordered slots over a tree of hypotheses, slot 0 the best; several slots may point to the same node."""

    slots: list[MemoryNode[MemoryT, OutputT]]
    pending: deque[PendingFrame[MemoryT, OutputT]] = field(default_factory=deque)

    @classmethod
    def plant(cls, root: MemoryNode[MemoryT, OutputT], num_pathways: int) -> MemoryTree[MemoryT, OutputT]:
        """A tree whose slots all share `root`, which belongs to the committed past."""
        return cls(slots=[root] * num_pathways)

    @property
    def tips(self) -> list[MemoryNode[MemoryT, OutputT]]:
        """The distinct nodes the slots point to, best first."""
        return list(dict.fromkeys(self.slots))

    def settled(self, memory: Memory[Any]) -> Memory[Any]:
        """The memory of a tip as it is read while anchors on pending frames wait: they are recent frames, in order."""
        order = {frame.frame_idx: place for place, frame in enumerate(self.pending)}
        waiting = [anchor for anchor in memory.anchors if anchor.frame_idx in order]
        if not waiting:
            return memory
        anchors = tuple(anchor for anchor in memory.anchors if anchor.frame_idx not in order)
        recent = sorted((*memory.recent, *waiting), key=lambda frame: order.get(frame.frame_idx, -1))
        once = {frame.frame_idx: frame for frame in recent}  # a frame may be recent besides
        return Memory(anchors, tuple(once.values()), memory.aside)

    def grow(self, frame_idx: int, slots: Sequence[MemoryNode[MemoryT, OutputT]]) -> None:
        """Move to the next frame: `slots` are children of the present tips, in their new slot order."""
        old_tips, self.slots = self.tips, list(slots)
        new_tips = self.tips
        for place, node in enumerate(new_tips):
            node.place = place
            if node.parent is None or node.parent not in old_tips:
                raise ValueError(f"the node for frame {frame_idx} does not grow from a slot of the tree")
            node.parent.num_children += 1
        best = self.slots[0]
        runner_up = max((node.score for node in new_tips if node is not best), default=-math.inf)
        if not self.pending:  # the root is committed: nothing may reach the past through it
            for node in new_tips:
                node.parent = None
        self.pending.append(PendingFrame(frame_idx, new_tips, best.score - runner_up, len(new_tips)))
        for tip in old_tips:
            tip.memory = Memory()
        if len(self.pending) > 1:
            self._prune(len(self.pending) - 2)

    def _prune(self, layer: int) -> None:
        """Cut the childless nodes of a pending frame, and then those they leave childless before it."""
        while layer >= 0:
            nodes = self.pending[layer].nodes
            alive = [node for node in nodes if node.num_children > 0]
            if len(alive) == len(nodes):
                return
            for node in nodes:
                if node.num_children == 0 and node.parent is not None:
                    node.parent.num_children -= 1
            self.pending[layer].nodes = alive
            layer -= 1

    def pop_decided(self) -> list[PendingFrame[MemoryT, OutputT]]:
        """Take out the oldest frames on which all slots share one ancestor: nothing can change them."""
        decided = []
        while self.pending and len(self.pending[0].nodes) == 1:
            decided.append(self.pending.popleft())
            if self.pending:
                for node in self.pending[0].nodes:
                    node.parent = None
        return decided

    def outlasting(
        self, slots: Sequence[MemoryNode[MemoryT, OutputT]], max_pending_frames: int | None
    ) -> list[MemoryNode[MemoryT, OutputT]]:
        """The distinct nodes among `slots`, about to grow, that `decide_oldest` will leave if frames must not wait."""
        num_due = 0 if max_pending_frames is None else len(self.pending) + 1 - max_pending_frames
        if num_due > 0:
            # Pathways that part before or on the newest frame that is due lose to slot 0; the others share its node.
            frame_idx = (self.pending[num_due - 1] if num_due <= len(self.pending) else slots[0]).frame_idx
            due = slots[0].ancestor(frame_idx)
            slots = [node for node in slots if node.ancestor(frame_idx) is due]
        return list(dict.fromkeys(slots))

    def decide_oldest(self) -> None:
        """Decide the oldest pending frame for slot 0; slots that do not descend from its node join slot 0."""
        keep = self._ancestor_on_oldest(self.slots[0])
        self._set_slots([s if self._ancestor_on_oldest(s) is keep else self.slots[0] for s in self.slots])

    def decide_all(self) -> None:
        """Decide every pending frame for the pathway of slot 0; all slots join it."""
        self._set_slots([self.slots[0]] * len(self.slots))

    def merge(self, stands_for: dict[MemoryNode[MemoryT, OutputT], MemoryNode[MemoryT, OutputT]]) -> None:
        """Let tips stand for others: the slots of each key point to its value, also a tip, from now on."""
        self._set_slots([stands_for[slot] for slot in self.slots])

    def _set_slots(self, slots: list[MemoryNode[MemoryT, OutputT]]) -> None:
        """Point the slots to a subset of the present tips and drop what no slot descends from."""
        self.slots = slots
        if not self.pending:
            return
        newest = self.pending[-1]
        alive = self.tips
        for node in newest.nodes:
            if node not in alive and node.parent is not None:
                node.parent.num_children -= 1
        newest.nodes = alive
        self._prune(len(self.pending) - 2)

    def _ancestor_on_oldest(self, node: MemoryNode[MemoryT, OutputT]) -> MemoryNode[MemoryT, OutputT]:
        while node.parent is not None:
            node = node.parent
        return node
