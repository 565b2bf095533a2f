"""The track of one object: its memory tree, and how a frame goes through it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sam2long.config import MemoryTreeConfig
from sam2long.model.hypotheses import Hypothesis, Node, Pending, Tree
from sam2long.model.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.search.picking import Pick, Picking, Proposal, ScoredProposal
from sam2long.search.policy import Policy
from sam2long.search.records import Cause
from sam2long.search.tree import MemoryNode, MemoryTree
from sam2long.state.memories import FrameMemories
from sam2long.state.object_past import ObjectPast, Sight
from sam2long.state.recording import Recording
from sam2long.state.review import Review
from sam2long.tracking.answers import Answers
from sam2long.tracking.merging import Agreement
from sam2long.tracking.waiting import offload


@dataclass(frozen=True, slots=True)
class PassSettings:
    """What holds for every object of a pass.

    Attributes:
        config: of the trees.
        policy: what is put forward, selected and remembered.
        max_pending_frames: see `SAM2LongVideoPredictor`.
        max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`.
        review: where doubtful frames are kept, if they are.
        recording: who is told what the trees do.
    """

    config: MemoryTreeConfig
    policy: Policy
    max_pending_frames: int | None
    max_obj_ptrs: int
    review: Review | None = None
    recording: Recording = field(default_factory=Recording)

    def remember(self, memory: FrameMemories, newest: FrameMemory) -> FrameMemories:
        """What a pathway remembers after `newest`."""
        return FrameMemories(*self.policy.remember(memory, newest, self.config, self.max_obj_ptrs - 1))


@dataclass(slots=True)
class Step:
    """One object's step to the next frame; nothing is committed before the track takes it.

    Attributes:
        frame_idx: the frame.
        tree: the object's.
        tips: the distinct pathways, best first.
        pathways: what each of them attends to.
        parents: the tips by their rows in the frame's batch.
        picking: chooses among what they propose.
        slots: the nodes that fill the slots next.
        chosen: the masks of those nodes.
        picks: those whose memory something will read; the frame's own decisions drop the others.
    """

    frame_idx: int
    tree: Tree
    tips: list[Node]
    pathways: list[PathwayMemory]
    parents: dict[int, Node] = field(default_factory=dict)
    picking: Picking | None = None
    slots: list[Node] = field(default_factory=list)
    chosen: dict[Node, Pick] = field(default_factory=dict)
    picks: dict[Node, Pick] = field(default_factory=dict)


class ObjectTrack:
    """Takes one object from frame to frame: `step`, `select`, `remember`, `take`; on a conditioning frame it passes.

    What is decided waits in `decided` until the frame can be answered for all objects; only then it is committed to
    SAM 2's state, which so never knows more than has been yielded.

    Args:
        past: the object in SAM 2's state.
        settings: of the pass.
        bank: says which memories a pathway attends to.
        before: what was remembered of a past that the state does not hold any more (a stream's).
    """

    def __init__(
        self, past: ObjectPast, settings: PassSettings, bank: MemoryBank, before: FrameMemories | None = None
    ) -> None:
        self.past = past
        self._settings = settings
        self._bank = bank
        self._before = before
        self.restart()

    def restart(self) -> None:
        """Forget what is not committed; the next step plants a new tree."""
        self.tree: Tree | None = None  # before the first tracked frame
        self._agreement = Agreement(self._settings.config)
        self.answers = Answers(self.past)

    @property
    def remembered(self) -> FrameMemories:
        """What the best pathway remembers, for the pass that continues this one."""
        return self.tree.slots[0].memory if self.tree else FrameMemories()

    # -- one frame, in order ---------------------------------------------------------------------------------------

    def step(self, frame_idx: int) -> Step:
        """Begin a frame: what the pathways attend to on it."""
        tree = self.tree or self._plant(frame_idx)
        wait = self._settings.policy.anchors_wait
        read = [tree.settled(tip.memory) if wait else tip.memory for tip in tree.tips]
        pathways = [self.past.memories.of_pathway(frame_idx, memory.recent, memory.anchors) for memory in read]
        for pathway in pathways:
            for memory in self._bank.spatial_memories(pathway):  # older frames only point
                self.past.restore(memory)
        return Step(frame_idx, tree, tree.tips, pathways)

    def _plant(self, frame_idx: int) -> Tree:
        """A tree that grows from the committed past."""
        before, self._before = self._before, None
        settings, memories = self._settings, self.past.memories
        memory, score, carry = memories.recall(frame_idx, settings.remember, before, settings.policy.across)
        root: Node = MemoryNode(frame_idx, score, carry=carry)
        root.memory = memory
        self.tree = MemoryTree.plant(root, settings.config.num_pathways)
        return self.tree

    def select(self, step: Step, proposals: Sequence[Proposal]) -> None:
        """Choose what fills the slots; equal picks (same parent, same mask) share a node."""
        tree = step.tree
        self._agreement.merge(tree)
        proposed = dict(zip(step.tips, proposals, strict=True))
        slots = [ScoredProposal(tip.score, proposed[tip], tip.carry) for tip in tree.slots]
        settings = self._settings
        picking = Picking(slots, settings.policy, settings.config, step.frame_idx, self.past.obj_id)
        step.picking, step.parents = picking, {proposal.row: tip for tip, proposal in proposed.items()}
        modulated = step.pathways[step.tips.index(tree.slots[0])].modulated
        self.fill(step, picking.of_step() if modulated else picking.of_first_step())  # rule 2

    def fill(self, step: Step, picks: Sequence[Pick]) -> None:
        """Let `picks`, one per slot, fill the slots next."""
        nodes: dict[Pick, Node] = {
            pick: MemoryNode(step.frame_idx, pick.score, parent=step.parents[pick.row], carry=pick.carry)
            for pick in dict.fromkeys(picks)
        }
        step.slots = [nodes[pick] for pick in picks]
        step.chosen = {node: pick for pick, node in nodes.items()}
        lasting = set(step.tree.outlasting(step.slots, self._settings.max_pending_frames))
        step.picks = {node: pick for node, pick in step.chosen.items() if node in lasting}

    def remember(self, step: Step, hypotheses: Sequence[Hypothesis]) -> None:
        """Give the nodes what was encoded for `step.picks`, and to remember what their pathways choose to."""
        for node, hypothesis in zip(step.picks, hypotheses, strict=True):
            assert node.parent is not None
            node.output = hypothesis
            node.memory = self._settings.remember(node.parent.memory, hypothesis.memory)

    def take(self, step: Step) -> None:
        """Move to the frame, and decide what that decides."""
        tree, recording = step.tree, self._settings.recording
        considered = step.picking.considered if step.picking else ()
        draft = recording.draft(step.frame_idx, self.past.obj_id, tree.slots, considered, step.slots, step.chosen)
        parents = {node: node.parent for node in step.slots if node.parent is not None}
        tree.grow(step.frame_idx, step.slots)
        self._review(tree.pending[-1])
        self._pop_decided("agreement")
        if self._settings.max_pending_frames is not None:
            while len(tree.pending) > self._settings.max_pending_frames:
                tree.decide_oldest()
                self._pop_decided("limit")
        self._agreement.compare(tree, parents)
        recording.took(draft)

    def _review(self, frame: Pending) -> None:
        # Those that the frame's own decisions drop were not encoded and cannot be shown.
        alive = [node.output for node in frame.nodes if node.output is not None]
        if self._settings.review is not None:
            config = self._settings.config
            self._settings.review.consider(self.past.obj_id, frame.frame_idx, alive, frame.margin, config)

    def pass_conditioning_frame(self, frame_idx: int) -> None:
        """Where the user gave the answer, it is known: the tree is decided, and goes on from the corrected memory."""
        self.decide_all("prompt")
        self.answers.pass_conditioning_frame(frame_idx)
        self._settings.recording.passed(frame_idx, self.past.obj_id)
        if self.tree is not None:
            tip = self.tree.slots[0]
            tip.memory = FrameMemories(*(self.past.beyond_reach(frame_idx, frames) for frames in tip.memory))
            tip.carry = None  # learned of what the user has now corrected

    def decide_all(self, by: Cause = "end") -> None:
        """Decide all pending frames for the pathway of slot 0."""
        if self.tree is not None:
            self.tree.decide_all()
            self._pop_decided(by)

    def _pop_decided(self, by: Cause) -> None:
        for frame in self.tree.pop_decided() if self.tree else ():
            self.answers.decide(frame)
            self._settings.recording.decided(self.past.obj_id, frame, frame.nodes[0], by)

    def answer_early(self, frame_idx: int) -> None:
        """A frame that may be pending is asked for now: the best pathway so far answers."""
        frame = self.pending().get(frame_idx)
        if frame is not None and self.tree is not None and not self.answers.knows(frame_idx):
            best = self.tree.slots[0].ancestor(frame_idx)
            self.answers.answer_early(frame, best)
            self._settings.recording.decided(self.past.obj_id, frame, best, "end")

    def seen(self, tip: Node, frame_idx: int) -> Sight | None:
        """What the pathway of `tip` has on an earlier frame: its memory (None: prompted), and its logits when called.

        None where the object was not tracked, or is not known any more.
        """
        pending = (
            next((frame for frame in self.tree.pending if frame.frame_idx == frame_idx), None) if self.tree else None
        )
        decided = self.answers.waiting(frame_idx)
        node = tip.ancestor(frame_idx) if pending else decided.nodes[0] if decided else None
        if node is None:
            return self.past.seen(frame_idx)
        output = node.output
        return (output.memory, lambda: output.mask_logits) if output else None

    # -- waiting ---------------------------------------------------------------------------------------------------

    def pending(self) -> dict[int, Pending]:
        """The undecided frames, without those that are answered nevertheless."""
        frames = {frame.frame_idx: frame for frame in self.tree.pending} if self.tree else {}
        return {frame_idx: frame for frame_idx, frame in frames.items() if not self.answers.early(frame_idx)}

    def pending_hypotheses(self, frame_idx: int) -> list[tuple[tuple[int, ...], Hypothesis]]:
        """(slots that descend from it, hypothesis) for all hypotheses alive on a pending frame, best first."""
        slots: dict[Node, list[int]] = {}
        for slot_idx, slot in enumerate(self.tree.slots if self.tree else ()):
            slots.setdefault(slot.ancestor(frame_idx), []).append(slot_idx)
        return [(tuple(idxs), node.output) for node, idxs in slots.items() if node.output is not None]

    def offload_long_waits(self, waiting: deque[int]) -> None:
        """Frames that have waited long start for the host; one frame later they have arrived there.

        Args:
            waiting: the frames not yet yielded: decided ones wait too, for other objects.
        """
        offload(self.tree.pending if self.tree else ())
        offload([self.answers.waiting(t) for t in waiting])

    # -- saving ----------------------------------------------------------------------------------------------------

    def unfinished(self) -> dict[str, Any] | None:
        """The tree and the agreement of its pathways, if it has begun; nothing is copied or settled."""
        if self.tree is None:
            return None
        # The pending frames come first: whoever walks this meets a node's parent before the node.
        tree = {"pending": self.tree.pending, "slots": self.tree.slots}
        return {"tree": tree, "agreement": self._agreement.unfinished(self.tree)}

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on where another track was `unfinished`."""
        tree = unfinished["tree"]
        self.tree = MemoryTree(tree["slots"], deque(tree["pending"]))
        if unfinished["agreement"] is not None:
            self._agreement.take_up(unfinished["agreement"])
