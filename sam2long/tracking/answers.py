"""What one object answers on the frames of a pass, from the decision to the yield."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sam2long.model.hypotheses import Hypothesis, Node, Pending
from sam2long.search.scores import FrameScores
from sam2long.search.tree import PendingFrame
from sam2long.state.object_past import ObjectPast


class Answers:
    """Frames that are answered and wait until all objects are: SAM 2's state learns of them when they are yielded.

    Args:
        past: the object in SAM 2's state.

    Attributes:
        overruled: frames that were answered before they were decided, and are decided otherwise.
    """

    def __init__(self, past: ObjectPast) -> None:
        self._past = past
        self._decided: dict[int, Pending] = {}  # not yet committed
        self._conditioning: set[int] = set()  # conditioning frames passed and not yet committed
        self._committed: dict[int, Tensor] = {}  # low-res logits of frames committed and not yet yielded
        self._early: dict[int, Node] = {}  # of frames answered before they were decided: what was answered
        self.overruled: set[int] = set()

    def decide(self, frame: Pending) -> None:
        """A frame is decided: one node is left."""
        answered = self._early.pop(frame.frame_idx, None)
        if answered is frame.nodes[0]:
            return
        self._decided[frame.frame_idx] = frame
        if answered is not None:
            self.overruled.add(frame.frame_idx)

    def answer_early(self, frame: Pending, node: Node) -> None:
        """A frame is asked for before it is decided: `node` is the best so far."""
        self._early[frame.frame_idx] = node
        self._decided[frame.frame_idx] = PendingFrame(frame.frame_idx, [node], frame.margin, frame.distinct_pathways)

    def answer_again(self, frame_idx: int) -> None:
        """A frame that is in SAM 2's state is asked for once more."""
        self._committed[frame_idx] = self._past.committed_masks(frame_idx)

    def pass_conditioning_frame(self, frame_idx: int) -> None:
        """The user gave the answer."""
        self._conditioning.add(frame_idx)

    def early(self, frame_idx: int) -> bool:
        """Whether a frame was answered, and is not decided."""
        return frame_idx in self._early

    def knows(self, frame_idx: int) -> bool:
        """Whether the object's answer on a frame is known."""
        return frame_idx in self._decided or frame_idx in self._conditioning or frame_idx in self._committed

    def waiting(self, frame_idx: int) -> Pending | None:
        """The decision on a frame, if it is not committed."""
        return self._decided.get(frame_idx)

    def due(self, frame_idx: int) -> Hypothesis | None:
        """The hypothesis to be committed on a frame, if there is one."""
        frame = self._decided.get(frame_idx)
        return frame.nodes[0].output if frame else None

    def commit(self, frame_idx: int, pred_masks: Tensor, levels: Tensor) -> None:
        """Write what is `due` into SAM 2's state.

        Args:
            frame_idx: the frame.
            pred_masks, levels: of that hypothesis, as `HypothesisModel.finish` gives them.
        """
        frame = self._decided.pop(frame_idx)
        hypothesis = frame.nodes[0].output
        assert hypothesis is not None
        memory = hypothesis.memory
        scores = FrameScores(
            memory.predicted_iou,
            memory.occlusion_score,
            hypothesis.score,
            frame.margin,
            frame.distinct_pathways,
            memory.note,
        )
        self._past.commit(frame_idx, hypothesis, pred_masks, levels, scores, frame.nodes[0].carry)
        waited_on_host = hypothesis.mask_logits.device.type != pred_masks.device.type
        self._committed[frame_idx] = pred_masks.cpu() if waited_on_host else pred_masks

    def take(self, frame_idx: int) -> Tensor:
        """Low-res logits [1, 1, h, w] of a frame that is committed, and handed out once."""
        if frame_idx in self._conditioning:
            self._conditioning.discard(frame_idx)
            return self._past.pass_conditioning_frame(frame_idx)
        return self._committed.pop(frame_idx)

    def settle(self) -> None:
        """Let SAM 2's state know the conditioning frames passed; decided frames are committed before."""
        for frame_idx in list(self._conditioning):
            self._committed[frame_idx] = self.take(frame_idx)

    # -- saving ----------------------------------------------------------------------------------------------------

    def unfinished(self) -> dict[str, Any]:
        """All that is not handed out; nothing is copied."""
        return {
            "decided": self._decided,
            "conditioning": list(self._conditioning),
            "answers": self._committed,
            "early": self._early,
        }

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on with what was `unfinished`."""
        self._decided = dict(unfinished.get("decided", {}))
        self._conditioning = set(unfinished.get("conditioning", ()))
        self._committed = dict(unfinished.get("answers", {}))
        self._early = dict(unfinished.get("early", {}))
