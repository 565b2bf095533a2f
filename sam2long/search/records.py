"""What a memory tree did on a frame, written down: frozen plain numbers, one line of JSON each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Cause = Literal["agreement", "limit", "prompt", "end"]
Kind = Literal["tracked", "prompted", "ended"]


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """A mask that a pathway proposed.

    Attributes:
        pathway: which hypothesis of the frame before proposed it, by its place there.
        mask_idx: which of the decoder's masks, 0-2.
        predicted_iou, occlusion_score, cumulative_score: as in `FrameScores`, if it were the answer.
    """

    pathway: int
    mask_idx: int
    predicted_iou: float
    occlusion_score: float
    cumulative_score: float


@dataclass(frozen=True, slots=True)
class HypothesisRecord:
    """A mask that was selected. Its place among the frame's hypotheses is its name, 0 the best.

    Attributes:
        parent: the place of the hypothesis it grows from, on the frame before.
        mask_idx, predicted_iou, occlusion_score, cumulative_score: as of a candidate.
        slots: the slots of the tree that it fills, in order.
    """

    parent: int
    mask_idx: int
    predicted_iou: float
    occlusion_score: float
    cumulative_score: float
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A frame that got its answer.

    Attributes:
        frame_idx: which frame.
        hypothesis: the place of the answer among that frame's hypotheses.
        by: "agreement" of all pathways, the "limit" `max_pending_frames`, a "prompt", or the "end" of the pass. A
            frame answered at the end may be decided otherwise by a pass that goes on from there: the later word holds.
    """

    frame_idx: int
    hypothesis: int
    by: Cause


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """What the tree of one object did on one frame.

    Attributes:
        kind: "tracked"; "prompted" on a frame where the user gave the answer; "ended" once a pass is over, if frames
            were decided by that.
        frame_idx: the frame; of an "ended" one the last that was tracked.
        obj_id: the object.
        grows_from: the frame whose hypotheses proposed; None where the tree begins, from a single root.
        candidates: what they proposed, each mask once.
        hypotheses: the survivors, best first.
        decided: the frames that got their answer by this, oldest first.
        margin: the best one's lead in cumulative score over the next; `inf` where it is alone.
    """

    kind: Kind
    frame_idx: int
    obj_id: Any
    grows_from: int | None = None
    candidates: tuple[CandidateRecord, ...] = ()
    hypotheses: tuple[HypothesisRecord, ...] = ()
    decided: tuple[DecisionRecord, ...] = ()
    margin: float = math.inf

    @property
    def distinct_pathways(self) -> int:
        """How many different hypotheses fill the slots."""
        return len(self.hypotheses)

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON knows it: what is not finite is None, an id that is no number is its text."""
        content: dict[str, Any] = _plain(asdict(self))
        return {**content, "distinct_pathways": self.distinct_pathways}

    def to_json(self) -> str:
        """One line, without its end."""
        return json.dumps(self.as_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> TreeRecord:
        """What `to_json` wrote.

        Raises:
            ValueError: if it is something else.
        """
        try:
            return _read(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no record of a tree: {line.strip():.80} ({error})") from None


OnFrame = Callable[[TreeRecord], Any]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, int | float | str) else _text(value)


def _text(obj_id: Any) -> Any:
    """NumPy's integers are integers."""
    return int(obj_id) if hasattr(obj_id, "__index__") else str(obj_id)


def _read(content: Mapping[str, Any]) -> TreeRecord:
    of = {name: content[name] for name in ("kind", "frame_idx", "obj_id", "grows_from")}
    return TreeRecord(
        **of,
        candidates=tuple(CandidateRecord(**_numbers(each)) for each in content["candidates"]),
        hypotheses=tuple(
            HypothesisRecord(**{**_numbers(each), "slots": tuple(each["slots"])}) for each in content["hypotheses"]
        ),
        decided=tuple(DecisionRecord(**each) for each in content["decided"]),
        margin=math.inf if content["margin"] is None else content["margin"],
    )


def _numbers(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in content.items()}
