"""One pass of the memory trees over the frames of a video: grow, select, decide, commit.

The trunk is SAM 2's own state: committed frames lie in `output_dict_per_obj[...]["non_cond_frame_outputs"]` in
SAM 2's format, so that its interactive API works on them unchanged. A tree holds only the frames above it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.sam2_utils import select_closest_cond_frames
from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.holes import fill_holes
from sam2long.hypotheses import FrameFeatures, Hypothesis, HypothesisModel
from sam2long.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.scores import FrameScores
from sam2long.selection import Candidate, ChooseMemoryFunction, SelectFunction, cumulative_score
from sam2long.tree import MemoryNode, MemoryTree, PendingFrame

Node = MemoryNode[FrameMemory, Hypothesis]
Tree = MemoryTree[FrameMemory, Hypothesis]
# Where a committed frame's entry in SAM 2's state carries its `FrameScores`.
SCORES_KEY = "scores"


@dataclass(slots=True)
class _Pathway:
    """A distinct tip of an object's tree, with the row it has in the frame's batch."""

    obj_id: Any
    tip: Node
    memory: PathwayMemory


class Propagation:
    """Tracks frames one after the other for all objects of a video, one memory tree per object.

    Args:
        predictor: the `SAM2LongVideoPredictor`.
        inference_state: its state, with the prompts consolidated (`propagate_in_video_preflight`).
        config: settings of the trees.
        select, choose_memory: the policies (see `sam2long.selection`).
        max_pending_frames: a frame that waits longer is decided for slot 0; None waits as long as it takes.
        reverse: whether time runs backwards.
    """

    def __init__(
        self,
        predictor: Any,
        inference_state: dict[str, Any],
        config: MemoryTreeConfig,
        *,
        select: SelectFunction,
        choose_memory: ChooseMemoryFunction[FrameMemory],
        max_pending_frames: int | None,
        reverse: bool,
    ) -> None:
        self._predictor = predictor
        self._state = inference_state
        self._config = config
        self._select = select
        self._choose_memory = choose_memory
        self._max_pending_frames = max_pending_frames
        self._reverse = reverse
        self.obj_ids: list[Any] = inference_state["obj_ids"]
        self._trees: dict[Any, Tree] = {}
        self._waiting: deque[int] = deque()  # frames tracked and not yet yielded, in processing order
        self._answers: dict[int, dict[Any, Tensor]] = {}
        self._conditioning: dict[tuple[Any, int], FrameMemory] = {}
        self._max_obj_ptrs: int = min(inference_state["num_frames"], predictor.max_obj_ptrs_in_encoder)
        bank = MemoryBank(
            predictor,
            inference_state["constants"]["maskmem_pos_enc"][-1],
            self._max_obj_ptrs,
            config.modulation,
            inference_state["device"],
        )
        self._model = HypothesisModel(predictor, bank)

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
        grown = self._forward(frame_idx, pathways) if pathways else {}
        # Nothing is changed before the frame's computation has succeeded: an unreadable frame loses no other.
        self._waiting.append(frame_idx)
        for obj_id in conditioned:
            self._pass_conditioning_frame(obj_id, frame_idx)
        for obj_id, slots in grown.items():
            self._trees[obj_id].grow(frame_idx, slots)
            self._decide(obj_id)

    def ready(self) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Frames decided for every object, in processing order: (frame_idx, obj_ids, low-res logits [N, 1, h, w])."""
        while self._waiting and len(self._answers.get(self._waiting[0], {})) == len(self.obj_ids):
            frame_idx = self._waiting.popleft()
            answers = self._answers.pop(frame_idx)
            yield frame_idx, self.obj_ids, torch.cat([answers[obj_id] for obj_id in self.obj_ids], dim=0)

    def settle(self) -> None:
        """Commit all pending frames to the pathway of slot 0. Tracking may go on afterwards."""
        for obj_id, tree in self._trees.items():
            tree.decide_all()
            self._commit_decided(obj_id)

    def _pass_conditioning_frame(self, obj_id: Any, frame_idx: int) -> None:
        """On a frame the user gave, the answer is known: the tree commits, and goes on from the corrected memory."""
        if obj_id in self._trees:
            self._trees[obj_id].decide_all()
            self._commit_decided(obj_id)
        output = self._outputs(obj_id)["cond_frame_outputs"][frame_idx]
        pred_masks = output["pred_masks"].to(self._state["device"], non_blocking=True)
        if self._predictor.clear_non_cond_mem_around_input:
            self._predictor._clear_obj_non_cond_mem_around_input(self._state, frame_idx, self._obj_idx(obj_id))
            self._forget_cleared(obj_id)
        self._mark_tracked(obj_id, frame_idx)
        self._answers.setdefault(frame_idx, {})[obj_id] = pred_masks

    def _forget_cleared(self, obj_id: Any) -> None:
        if obj_id in self._trees:
            trunk = self._outputs(obj_id)["non_cond_frame_outputs"]
            tip = self._trees[obj_id].slots[0]
            tip.remembered = tuple(memory for memory in tip.remembered if memory.frame_idx in trunk)

    # -- from memory to selected hypotheses --------------------------------------------------------------------

    def _pathways(self, obj_id: Any, frame_idx: int) -> list[_Pathway]:
        if obj_id not in self._trees:
            self._trees[obj_id] = MemoryTree.plant(self._root(obj_id, frame_idx), self._config.num_pathways)
        conditioning, pointers, unselected = self._conditioning_memories(obj_id, frame_idx)
        pathways = []
        for tip in self._trees[obj_id].tips:
            remembered = self._with_unselected(tip.remembered, unselected)
            # Rule 2: with nothing but conditioning frames in memory the step is SAM 2's own, so not modulated.
            memory = PathwayMemory(conditioning, pointers, remembered, modulated=len(remembered) > 0)
            pathways.append(_Pathway(obj_id, tip, memory))
        return pathways

    def _forward(self, frame_idx: int, pathways: list[_Pathway]) -> dict[Any, list[Node]]:
        """The nodes that fill each object's slots on this frame."""
        _, _, feats, pos, sizes = self._predictor._get_image_feature(self._state, frame_idx, 1)
        frame = FrameFeatures(feats, pos, sizes)
        decoded = self._model.decode(frame, [pathway.memory for pathway in pathways])
        ious, occlusions = decoded.scores()
        rows: dict[Any, dict[Node, int]] = {}
        for row, pathway in enumerate(pathways):
            rows.setdefault(pathway.obj_id, {})[pathway.tip] = row
        selected = {obj_id: self._selected(obj_id, tips, pathways, ious, occlusions) for obj_id, tips in rows.items()}
        # A pick is (row, mask_idx, cumulative score, predicted IoU, occlusion score); duplicates are one node.
        picks = list(dict.fromkeys(pick for object_picks in selected.values() for pick in object_picks))
        hypotheses = dict(zip(picks, self._model.encode(frame_idx, frame, decoded, picks), strict=True))
        nodes = {pick: self._node(pathways[pick[0]].tip, hypothesis) for pick, hypothesis in hypotheses.items()}
        return {obj_id: [nodes[pick] for pick in object_picks] for obj_id, object_picks in selected.items()}

    def _selected(
        self,
        obj_id: Any,
        rows: dict[Node, int],
        pathways: list[_Pathway],
        ious: list[list[float]],
        occlusions: list[float],
    ) -> list[tuple[int, int, float, float, float]]:
        slots = self._trees[obj_id].slots
        first_row = rows[slots[0]]
        if not pathways[first_row].memory.remembered:  # rule 2: all slots share the root, the best IoU is taken
            best = max(range(len(ious[first_row])), key=ious[first_row].__getitem__)
            pick = (first_row, best, slots[0].score, ious[first_row][best], occlusions[first_row])
            return [pick] * len(slots)
        candidates = [
            Candidate(slot_idx, mask_idx, cumulative_score(tip.score, iou), iou, occlusions[rows[tip]])
            for slot_idx, tip in enumerate(slots)
            for mask_idx, iou in enumerate(ious[rows[tip]])
        ]
        chosen = list(self._select(candidates, self._config))
        if len(chosen) != len(slots):
            raise ValueError(f"select= must return num_pathways={len(slots)} candidates, it returned {len(chosen)}")
        return [(rows[slots[c.slot_idx]], c.mask_idx, c.score, c.predicted_iou, c.occlusion_score) for c in chosen]

    def _node(self, parent: Node, hypothesis: Hypothesis) -> Node:
        remembered = self._remember(parent.remembered, hypothesis.memory)
        return MemoryNode(hypothesis.memory.frame_idx, hypothesis.score, hypothesis, remembered, parent)

    def _remember(self, remembered: tuple[FrameMemory, ...], newest: FrameMemory) -> tuple[FrameMemory, ...]:
        return self._choose_memory(remembered, newest, self._config, self._max_obj_ptrs - 1)

    # -- memories in SAM 2's state -----------------------------------------------------------------------------

    def _conditioning_memories(
        self, obj_id: Any, frame_idx: int
    ) -> tuple[list[FrameMemory], list[tuple[int, FrameMemory]], list[FrameMemory]]:
        """Conditioning frames attended to, their pointers with signed distance, and those that compete as memories."""
        model = self._predictor
        outputs = self._outputs(obj_id)["cond_frame_outputs"]
        selected, unselected = select_closest_cond_frames(frame_idx, outputs, model.max_cond_frames_in_attn)
        sign = -1 if self._reverse else 1
        pointers = []
        for t in selected:
            distance = (frame_idx - t) * sign
            if distance >= 0 or not model.only_obj_ptrs_in_the_past_for_eval:
                age = distance if model.use_signed_tpos_enc_to_obj_ptrs else abs(distance)
                pointers.append((age, self._conditioning_memory(obj_id, t)))
        behind = [t for t in unselected if (frame_idx - t) * sign > 0]
        return (
            [self._conditioning_memory(obj_id, t) for t in selected],
            pointers,
            [self._conditioning_memory(obj_id, t) for t in behind],
        )

    def _conditioning_memory(self, obj_id: Any, frame_idx: int) -> FrameMemory:
        key = (obj_id, frame_idx)
        if key not in self._conditioning:
            output = self._outputs(obj_id)["cond_frame_outputs"][frame_idx]
            self._conditioning[key] = _memory_of(frame_idx, output)
        return self._conditioning[key]

    def _with_unselected(
        self, remembered: tuple[FrameMemory, ...], unselected: list[FrameMemory]
    ) -> tuple[FrameMemory, ...]:
        """SAM 2 treats conditioning frames beyond `max_cond_frames_in_attn` as if they were tracked frames."""
        if not unselected:
            return remembered
        merged = sorted([*remembered, *unselected], key=lambda memory: memory.frame_idx, reverse=self._reverse)
        return tuple(merged[-self._max_obj_ptrs :])

    def _root(self, obj_id: Any, frame_idx: int) -> Node:
        """The committed past as a root: what its pathway remembers is folded from the trunk, oldest to newest."""
        trunk = self._outputs(obj_id)
        step = 1 if self._reverse else -1
        history, t, gap = [], frame_idx + step, 0
        # A gap as long as SAM 2's pointer window ends the history: SAM 2 could not see across it either.
        while 0 <= t < self._state["num_frames"] and gap < self._max_obj_ptrs:
            output = trunk["non_cond_frame_outputs"].get(t)
            if output is not None:
                history.append(_memory_of(t, output))
            gap = 0 if output is not None or t in trunk["cond_frame_outputs"] else gap + 1
            t += step
        remembered: tuple[FrameMemory, ...] = ()
        for memory in reversed(history):
            remembered = self._remember(remembered, memory)
        newest = trunk["non_cond_frame_outputs"].get(history[0].frame_idx, {}) if history else {}
        score = newest[SCORES_KEY].cumulative_score if SCORES_KEY in newest else 0.0
        return MemoryNode(history[0].frame_idx if history else frame_idx, score, remembered=remembered)

    # -- deciding and committing -------------------------------------------------------------------------------

    def _decide(self, obj_id: Any) -> None:
        tree = self._trees[obj_id]
        self._commit_decided(obj_id)
        if self._max_pending_frames is not None:
            while len(tree.pending) > self._max_pending_frames:
                tree.decide_oldest()
                self._commit_decided(obj_id)

    def _commit_decided(self, obj_id: Any) -> None:
        for pending in self._trees[obj_id].pop_decided():
            self._commit(obj_id, pending)

    def _commit(self, obj_id: Any, pending: PendingFrame[FrameMemory, Hypothesis]) -> None:
        """Write a decided frame into SAM 2's state, in SAM 2's format plus its scores."""
        hypothesis = pending.nodes[0].output
        assert hypothesis is not None
        memory, storage = hypothesis.memory, self._state["storage_device"]
        pred_masks = fill_holes(hypothesis.mask_logits, self._predictor.fill_hole_area)
        self._outputs(obj_id)["non_cond_frame_outputs"][pending.frame_idx] = {
            "maskmem_features": memory.features.to(storage, non_blocking=True),
            "maskmem_pos_enc": self._state["constants"]["maskmem_pos_enc"],
            "pred_masks": pred_masks.to(storage, non_blocking=True),
            "obj_ptr": memory.obj_ptr,
            "object_score_logits": hypothesis.object_score_logits,
            SCORES_KEY: FrameScores(
                memory.predicted_iou,
                memory.occlusion_score,
                hypothesis.score,
                pending.margin,
                pending.distinct_pathways,
            ),
        }
        self._mark_tracked(obj_id, pending.frame_idx)
        self._answers.setdefault(pending.frame_idx, {})[obj_id] = pred_masks

    def _mark_tracked(self, obj_id: Any, frame_idx: int) -> None:
        self._state["frames_tracked_per_obj"][self._obj_idx(obj_id)][frame_idx] = {"reverse": self._reverse}

    def _outputs(self, obj_id: Any) -> dict[str, dict[int, dict[str, Any]]]:
        return self._state["output_dict_per_obj"][self._obj_idx(obj_id)]

    def _obj_idx(self, obj_id: Any) -> int:
        try:
            return self._state["obj_id_to_idx"][obj_id]
        except KeyError:
            raise RuntimeError(
                f"object {obj_id!r} was removed while it was being tracked; start propagate_in_video again"
            ) from None


def _memory_of(frame_idx: int, output: dict[str, Any]) -> FrameMemory:
    """A frame in SAM 2's state as a memory; one without scores was given by the user or tracked by SAM 2 (IoU 1)."""
    scores: FrameScores | None = output.get(SCORES_KEY)
    return FrameMemory(
        frame_idx,
        predicted_iou=scores.predicted_iou if scores else 1.0,
        occlusion_score=scores.occlusion_score if scores else float(output["object_score_logits"]),
        features=output["maskmem_features"],
        obj_ptr=output["obj_ptr"],
    )
