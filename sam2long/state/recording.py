"""Who is told what the trees of a video do, frame by frame."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sam2long.model.hypotheses import Node, Pending
from sam2long.search.picking import Pick
from sam2long.search.records import (
    CandidateRecord,
    Cause,
    DecisionRecord,
    HypothesisRecord,
    OnFrame,
    TreeRecord,
)
from sam2long.search.selection import Candidate


class Recording:
    """Makes a `TreeRecord` of every frame and object while somebody listens; else it does nothing.

    Records are told when a frame is tracked for all objects: a listener that raises finds the pass intact. It is not
    called again in that pass.
    """

    def __init__(self) -> None:
        self._on_frame: OnFrame | None = None
        self._untold: deque[TreeRecord] = deque()
        self._decided: dict[Any, list[DecisionRecord]] = {}
        self._newest = 0
        self._is_telling = False

    def listen(self, on_frame: OnFrame | None) -> None:
        """Tell `on_frame` from now on; None: nobody listens.

        Raises:
            ValueError: if it cannot be called.
        """
        if on_frame is not None and not callable(on_frame):
            raise ValueError(f"on_frame= takes a function of one record, got {on_frame!r}")
        if on_frame is not self._on_frame:
            self._untold.clear()
            self._decided.clear()
        self._on_frame = on_frame

    def tell(self) -> None:
        """Hand out what is written down."""
        while self._on_frame is not None and self._untold:
            self._is_telling = True
            try:
                self._on_frame(self._untold.popleft())
            except BaseException:
                self.listen(None)
                raise
            finally:
                self._is_telling = False

    def forbid_changes(self) -> None:
        """Raises RuntimeError within a listener: what it is told of is under way, and would begin again and again."""
        if self._is_telling:
            raise RuntimeError(
                "within on_frame= nothing can be prompted, removed or tracked: do it between frames, where they are "
                "taken from the pass"
            )

    # -- what tracks say -------------------------------------------------------------------------------------------

    def draft(
        self,
        frame_idx: int,
        obj_id: Any,
        before: Sequence[Node],
        considered: Sequence[Candidate],
        slots: Sequence[Node],
        chosen: Mapping[Node, Pick],
    ) -> TreeRecord | None:
        """A step that is about to be taken; None where nobody listens.

        Args:
            frame_idx, obj_id: which.
            before: the nodes in the slots now.
            considered: what they proposed.
            slots: the nodes that are in the slots next, whose parents are known.
            chosen: their picks.
        """
        if self._on_frame is None:
            return None
        nodes = list(dict.fromkeys(slots))
        return TreeRecord(
            "tracked",
            frame_idx,
            obj_id,
            None if before[0].frame_idx == frame_idx else before[0].frame_idx,  # a root has the frame it is planted for
            tuple(dict.fromkeys(_candidate(before[each.slot_idx], each) for each in considered)),
            tuple(_hypothesis(node, chosen[node], slots) for node in nodes),
            margin=nodes[0].score - max((node.score for node in nodes[1:]), default=-math.inf),
        )

    def took(self, record: TreeRecord | None) -> None:
        """The step of a draft was taken; what it decided was said before."""
        if record is not None:
            self._write(record)

    def passed(self, frame_idx: int, obj_id: Any) -> None:
        """The user gave an object's answer on a frame."""
        if self._on_frame is not None:
            self._write(TreeRecord("prompted", frame_idx, obj_id))

    def decided(self, obj_id: Any, frame: Pending, node: Node, by: Cause) -> None:
        """A frame's answer is `node`."""
        if self._on_frame is not None:
            decision = DecisionRecord(frame.frame_idx, node.place, by)
            self._decided.setdefault(obj_id, []).append(decision)

    def end(self) -> None:
        """The pass is over."""
        for obj_id in list(self._decided):
            self._write(TreeRecord("ended", self._newest, obj_id))

    def _write(self, record: TreeRecord) -> None:
        self._newest, decided = record.frame_idx, self._decided.pop(record.obj_id, [])
        self._untold.append(replace(record, decided=tuple(decided)))


def _candidate(pathway: Node, of: Candidate) -> CandidateRecord:
    return CandidateRecord(pathway.place, of.mask_idx, of.predicted_iou, of.occlusion_score, of.score)


def _hypothesis(node: Node, pick: Pick, slots: Sequence[Node]) -> HypothesisRecord:
    assert node.parent is not None
    filled = tuple(k for k, slot in enumerate(slots) if slot is node)
    scores = pick.predicted_iou, pick.occlusion_score, node.score
    return HypothesisRecord(node.parent.place, pick.mask_idx, *scores, filled)
