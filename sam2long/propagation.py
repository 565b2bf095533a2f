"""One pass of the memory trees over the frames of a video: grow, select, decide, commit.

The trunk is SAM 2's own state: committed frames lie in `output_dict_per_obj[...]["non_cond_frame_outputs"]` in
SAM 2's format, so that its interactive API works on them unchanged. A tree holds only the frames above it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sam2long.holes import fill_holes
from sam2long.hypotheses import Hypothesis, HypothesisModel, unpinned
from sam2long.image_features import ImageFeatures
from sam2long.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.merging import Agreement
from sam2long.picking import Pick, Slot, picks_of_first_step, picks_of_step
from sam2long.scores import FrameScores
from sam2long.selection import ChooseMemoryFunction, SelectFunction
from sam2long.session import Session
from sam2long.state_memories import StateMemories
from sam2long.tree import MemoryNode, MemoryTree, PendingFrame
from sam2long.trunk import TrackedFrame

Node = MemoryNode[FrameMemory, Hypothesis]
Tree = MemoryTree[FrameMemory, Hypothesis]
Pending = PendingFrame[FrameMemory, Hypothesis]

# Frames that wait longer than this for their decision wait in host memory.
_PENDING_ON_DEVICE = 8


@dataclass(slots=True)
class _Pathway:
    """A distinct tip of an object's tree, and what it attends to on the frame."""

    obj_id: Any
    tip: Node
    memory: PathwayMemory


class Propagation:
    """Tracks frames one after the other for all objects of a video, one memory tree per object.

    Args:
        predictor: the `SAM2LongVideoPredictor`.
        inference_state: its state, with the prompts consolidated (`propagate_in_video_preflight`).
        session: the video's settings.
        reverse: whether time runs backwards.
        order: the frames to come, in order, if they are known.
        after: a settled pass that this one continues; what its pathways remember of frames that are no longer in
            the state is taken over.
    """

    def __init__(
        self,
        predictor: Any,
        inference_state: dict[str, Any],
        session: Session,
        *,
        reverse: bool,
        order: Sequence[int] = (),
        after: Propagation | None = None,
    ) -> None:
        self._predictor = predictor
        self._state = inference_state
        self._session = session
        self._select: SelectFunction = predictor.select
        self._choose_memory: ChooseMemoryFunction[FrameMemory] = predictor.choose_memory
        self._reverse = reverse
        self.obj_ids: list[Any] = list(inference_state["obj_ids"])  # SAM 2's `reset_state` empties its own list
        self._began_with = {
            obj_id: inference_state["output_dict_per_obj"][idx] for idx, obj_id in enumerate(self.obj_ids)
        }
        self._trees: dict[Any, Tree] = {}
        self._memories: dict[Any, StateMemories] = {}
        self._agreements: dict[Any, Agreement] = {}
        self._waiting: deque[int] = deque()  # frames tracked and not yet yielded, in processing order
        self._answers: dict[int, dict[Any, Tensor]] = {}
        self._max_obj_ptrs: int = min(inference_state["num_frames"], predictor.max_obj_ptrs_in_encoder)
        spatial_pos = inference_state["constants"]["maskmem_pos_enc"][-1]
        modulation, device = session.config.modulation, inference_state["device"]
        self._bank = MemoryBank(predictor, spatial_pos, self._max_obj_ptrs, modulation, device)
        self._model = HypothesisModel(predictor, self._bank)
        self._features = ImageFeatures(predictor, inference_state, order, predictor.encode_ahead)
        session.recent.keep_only(self.obj_ids)
        trees = after._trees if after else {}
        self._before = {obj_id: tree.slots[0].remembered for obj_id, tree in trees.items()}

    # -- one frame ---------------------------------------------------------------------------------------------

    def track(self, frame_idx: int) -> None:
        """Track one frame for all objects; afterwards `ready` yields what it decided."""
        pathways: list[_Pathway] = []
        conditioned: list[Any] = []
        for obj_id in self.obj_ids:
            if frame_idx in self._outputs(obj_id)["cond_frame_outputs"]:
                conditioned.append(obj_id)
            else:
                pathways += self._pathways(obj_id, frame_idx)
        if pathways:
            grown = self._forward(frame_idx, pathways)
        else:  # nothing waits for scores
            grown = {}
            self._wait_for_host_copies()
        # Nothing is changed before the frame's computation has succeeded: an unreadable frame loses no other.
        self._waiting.append(frame_idx)
        for obj_id in conditioned:
            self._pass_conditioning_frame(obj_id, frame_idx)
        for obj_id, slots in grown.items():
            tree, parents = self._trees[obj_id], {node: node.parent for node in slots if node.parent is not None}
            tree.grow(frame_idx, slots)
            self._decide(obj_id)
            self._agreements.setdefault(obj_id, Agreement(self._session.config)).compare(tree, parents)
        self._offload_long_waits()

    def ready(self) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Frames decided for every object, in processing order: (frame_idx, obj_ids, low-res logits [N, 1, h, w])."""
        while self._waiting and len(self._answers.get(self._waiting[0], {})) == len(self.obj_ids):
            frame_idx = self._waiting.popleft()
            answers = self._answers.pop(frame_idx)
            masks = [answers[obj_id].to(self._state["device"], non_blocking=True) for obj_id in self.obj_ids]
            yield frame_idx, self.obj_ids, torch.cat(masks, dim=0)

    def settle(self) -> None:
        """Commit all pending frames to the pathway of slot 0. Tracking may go on afterwards."""
        self._wait_for_host_copies()
        for obj_id, tree in self._trees.items():
            tree.decide_all()
            self._commit_decided(obj_id)

    def unfinished(self) -> dict[str, Any]:
        """All that distinguishes this pass from one just begun (for `saving`); nothing is copied or settled."""
        # The pending frames come first: whoever walks this meets a node's parent before the node.
        trees = {key: {"pending": tree.pending, "slots": tree.slots} for key, tree in self._trees.items()}
        agreements = {key: agreement.unfinished(self._trees[key]) for key, agreement in self._agreements.items()}
        current = {key: self._state["output_dict_per_obj"][idx] for key, idx in self._state["obj_id_to_idx"].items()}
        return {
            "trees": trees,
            "agreements": agreements,
            "waiting": self._waiting,
            "answers": self._answers,
            "removed": [key for key, outputs in self._began_with.items() if outputs is not current.get(key)],
        }

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on where another pass was `unfinished`."""
        self._waiting.extend(unfinished["waiting"])
        self._answers.update(unfinished["answers"])
        for obj_id, tree in unfinished["trees"].items():
            self._trees[obj_id] = MemoryTree(tree["slots"], deque(tree["pending"]))
        for obj_id, agreement in unfinished["agreements"].items():
            self._agreements[obj_id] = Agreement(self._session.config)
            self._agreements[obj_id].take_up(agreement)
        for obj_id in unfinished["removed"]:
            self._began_with.pop(obj_id, None)

    def pending(self, obj_id: Any) -> dict[int, Pending]:
        """The object's undecided frames."""
        tree = self._trees.get(obj_id)
        return {frame.frame_idx: frame for frame in tree.pending} if tree else {}

    def pending_hypotheses(self, obj_id: Any, frame_idx: int) -> list[tuple[tuple[int, ...], Hypothesis]]:
        """(slots that descend from it, hypothesis) for all hypotheses alive on a pending frame, best first."""
        ancestors = [slot.ancestor(frame_idx) for slot in self._trees[obj_id].slots]
        slots: dict[Node, list[int]] = {}
        for slot_idx, node in enumerate(ancestors):
            slots.setdefault(node, []).append(slot_idx)
        return [(tuple(idxs), node.output) for node, idxs in slots.items() if node.output is not None]

    def _wait_for_host_copies(self) -> None:
        """Pending masks may still be on their way to the host; while tracking, waiting for the scores sees to it."""
        if self._state["device"].type == "cuda":
            torch.cuda.current_stream(self._state["device"]).synchronize()

    def _offload_long_waits(self) -> None:
        """Frames that have waited long start for the host; one frame later they have arrived there."""
        leaving, arrived = -(_PENDING_ON_DEVICE + 1), -(_PENDING_ON_DEVICE + 2)
        for tree in self._trees.values():
            for position, move in ((leaving, Hypothesis.leave_device), (arrived, Hypothesis.unpin)):
                if len(tree.pending) >= -position:
                    for node in tree.pending[position].nodes:
                        assert node.output is not None
                        move(node.output)
        if len(self._waiting) >= -leaving:
            answers = self._answers.get(self._waiting[leaving], {})
            answers.update({obj_id: mask.to("cpu", non_blocking=True) for obj_id, mask in answers.items()})
        if len(self._waiting) >= -arrived:
            answers = self._answers.get(self._waiting[arrived], {})
            answers.update({obj_id: unpinned(mask) for obj_id, mask in answers.items()})

    def _pass_conditioning_frame(self, obj_id: Any, frame_idx: int) -> None:
        """On a frame the user gave, the answer is known: the tree commits, and goes on from the corrected memory."""
        if obj_id in self._trees:
            self._wait_for_host_copies()
            self._trees[obj_id].decide_all()
            self._commit_decided(obj_id)
        output = self._outputs(obj_id)["cond_frame_outputs"][frame_idx]
        if self._predictor.clear_non_cond_mem_around_input:
            self._predictor._clear_obj_non_cond_mem_around_input(self._state, frame_idx, self._obj_idx(obj_id))
            self._forget_cleared(obj_id)
        self._mark_tracked(obj_id, frame_idx)
        self._answers.setdefault(frame_idx, {})[obj_id] = output["pred_masks"]

    def _forget_cleared(self, obj_id: Any) -> None:
        if obj_id in self._trees:
            tip = self._trees[obj_id].slots[0]
            tip.remembered = self._still_tracked(obj_id, tip.remembered)

    def _still_tracked(self, obj_id: Any, remembered: tuple[FrameMemory, ...]) -> tuple[FrameMemory, ...]:
        tracked = self._outputs(obj_id)["non_cond_frame_outputs"]
        return tuple(memory for memory in remembered if memory.frame_idx in tracked)

    # -- from memory to selected hypotheses --------------------------------------------------------------------

    def _pathways(self, obj_id: Any, frame_idx: int) -> list[_Pathway]:
        if obj_id not in self._trees:
            self._plant(obj_id, frame_idx)
        memories = self._state_memories(obj_id)
        pathways = [
            _Pathway(obj_id, tip, memories.of_pathway(frame_idx, tip.remembered)) for tip in self._trees[obj_id].tips
        ]
        for pathway in pathways:
            self._restore_attended(pathway)
        return pathways

    def _restore_attended(self, pathway: _Pathway) -> None:
        """Compute the spatial memories of committed frames again where they were let go; older frames only point."""
        for memory in self._bank.spatial_memories(pathway.memory):
            if memory.features is None and memory.frame_idx in self._outputs(pathway.obj_id)["non_cond_frame_outputs"]:
                memory.features = self._predictor.restore_features(self._state, pathway.obj_id, memory.frame_idx)

    def _plant(self, obj_id: Any, frame_idx: int) -> None:
        """A tree that grows from the committed past."""
        memories = self._state_memories(obj_id)
        remembered, score = memories.recall(frame_idx, self._remember, self._before.pop(obj_id, ()))
        root: Node = MemoryNode(frame_idx, score, remembered=remembered)
        self._trees[obj_id] = MemoryTree.plant(root, self._session.config.num_pathways)

    def _state_memories(self, obj_id: Any) -> StateMemories:
        if obj_id not in self._memories:
            num_frames = self._state["num_frames"]
            self._memories[obj_id] = StateMemories(
                self._predictor, self._outputs(obj_id), num_frames, self._max_obj_ptrs, self._reverse
            )
        return self._memories[obj_id]

    def _forward(self, frame_idx: int, pathways: list[_Pathway]) -> dict[Any, list[Node]]:
        """The nodes that fill each object's slots on this frame; those that its decisions will drop have no output."""
        frame = self._features.of(frame_idx)
        decoded = self._model.decode(frame, [pathway.memory for pathway in pathways])
        selected = self._selected(pathways, *decoded.scores())
        picks = list(dict.fromkeys(pick for object_picks in selected.values() for pick in object_picks))
        nodes = {pick: Node(frame_idx, pick.score, parent=pathways[pick.row].tip) for pick in picks}
        grown = {obj_id: [nodes[pick] for pick in object_picks] for obj_id, object_picks in selected.items()}
        limit = self._session.max_pending_frames
        lasting = {node for obj_id, slots in grown.items() for node in self._trees[obj_id].outlasting(slots, limit)}
        picks = [pick for pick in picks if nodes[pick] in lasting]  # no memory is encoded that nothing will read
        for pick, hypothesis in zip(picks, self._model.encode(frame_idx, frame, decoded, picks), strict=True):
            node, parent = nodes[pick], pathways[pick.row].tip
            node.output = hypothesis
            node.remembered = self._remember(parent.remembered, hypothesis.memory)
        return grown

    def _selected(
        self, pathways: list[_Pathway], ious: list[list[float]], occlusions: list[float]
    ) -> dict[Any, list[Pick]]:
        """Per object one pick per slot; slots with equal picks (same parent, same mask) will share a node."""
        for obj_id, agreement in self._agreements.items():
            agreement.merge(self._trees[obj_id])
        rows = {pathway.tip: row for row, pathway in enumerate(pathways)}
        selected = {}
        for obj_id in dict.fromkeys(pathway.obj_id for pathway in pathways):
            slots = [Slot(tip.score, rows[tip]) for tip in self._trees[obj_id].slots]
            if pathways[slots[0].row].memory.modulated:
                selected[obj_id] = picks_of_step(slots, ious, occlusions, self._select, self._session.config)
            else:  # rule 2
                selected[obj_id] = picks_of_first_step(slots, ious, occlusions)
        return selected

    def _remember(self, remembered: tuple[FrameMemory, ...], newest: FrameMemory) -> tuple[FrameMemory, ...]:
        return tuple(self._choose_memory(remembered, newest, self._session.config, self._max_obj_ptrs - 1))

    # -- deciding and committing -------------------------------------------------------------------------------

    def _decide(self, obj_id: Any) -> None:
        tree, max_pending_frames = self._trees[obj_id], self._session.max_pending_frames
        self._commit_decided(obj_id)
        if max_pending_frames is not None:
            while len(tree.pending) > max_pending_frames:
                tree.decide_oldest()
                self._commit_decided(obj_id)

    def _commit_decided(self, obj_id: Any) -> None:
        for pending in self._trees[obj_id].pop_decided():
            self._commit(obj_id, pending)

    def _commit(self, obj_id: Any, pending: Pending) -> None:
        """Write a decided frame into SAM 2's state, in SAM 2's format plus its scores."""
        hypothesis = pending.nodes[0].output
        assert hypothesis is not None
        memory = hypothesis.memory
        waited_on_host = hypothesis.mask_logits.device.type != self._state["device"].type
        mask_logits = hypothesis.mask_logits.to(self._state["device"], non_blocking=True)
        pred_masks = fill_holes(mask_logits, self._predictor.fill_hole_area)
        scores = FrameScores(
            memory.predicted_iou, memory.occlusion_score, hypothesis.score, pending.margin, pending.distinct_pathways
        )
        frame = TrackedFrame(
            features=memory.features,
            pos_enc=self._state["constants"]["maskmem_pos_enc"],
            pred_masks=pred_masks,
            obj_ptr=memory.obj_ptr,
            object_score_logits=hypothesis.object_score_logits,
            scores=scores,
            storage_device=self._state["storage_device"],
        )
        self._outputs(obj_id)["non_cond_frame_outputs"][pending.frame_idx] = frame
        self._session.recent.add(obj_id, frame)
        self._mark_tracked(obj_id, pending.frame_idx)
        self._answers.setdefault(pending.frame_idx, {})[obj_id] = pred_masks.cpu() if waited_on_host else pred_masks

    def _mark_tracked(self, obj_id: Any, frame_idx: int) -> None:
        self._state["frames_tracked_per_obj"][self._obj_idx(obj_id)][frame_idx] = {"reverse": self._reverse}

    def _outputs(self, obj_id: Any) -> dict[str, dict[int, dict[str, Any]]]:
        return self._state["output_dict_per_obj"][self._obj_idx(obj_id)]

    def _obj_idx(self, obj_id: Any) -> int:
        obj_idx: int | None = self._state["obj_id_to_idx"].get(obj_id)
        # An object removed and added again is another one, whatever its id.
        if obj_idx is None or self._state["output_dict_per_obj"][obj_idx] is not self._began_with.get(obj_id):
            raise RuntimeError(
                f"object {obj_id!r} was removed while it was being tracked; start propagate_in_video again"
            )
        return obj_idx
