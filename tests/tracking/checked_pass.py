"""A pass of a tree that is checked against what SAM 2 promises, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import torch
from stateful_calls import HEIGHT, WIDTH, State

from sam2long import SAM2LongVideoPredictor
from sam2long.search.selection import EPSILON


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the type of what it raises (an error itself would keep its frames alive)."""
    try:
        return call()
    except Exception as error:
        return type(error)


@dataclass
class CheckedPass:
    """A pass of `propagate_in_video` with a tree, checked frame by frame."""

    predictor: SAM2LongVideoPredictor
    state: State
    num_pathways: int
    order: list[int]
    generator: Generator[Any, None, None]
    yielded: list[int] = field(default_factory=list)
    last_scores: dict[Any, float] = field(default_factory=dict)
    ids: list[Any] = field(default_factory=list)
    failed: bool = False
    overtaken: bool = False  # another pass has run since it began, and may have committed other masks to its frames
    lost_object: bool = False  # one was removed meanwhile: SAM 2 goes on with whatever took its place, we say so

    def take(self, num_frames: int | None) -> list[Any] | type[Exception]:
        """The next frames, all that are left, or the type of the error that came."""
        frames: list[Any] = []
        while num_frames is None or len(frames) < num_frames:
            result = outcome(lambda: next(self.generator, None))
            if isinstance(result, type):
                assert not self.lost_object or result is RuntimeError
                self.failed = True
                return result
            if result is None:
                assert self.failed or self.yielded == self.order
                break
            frames.append(self._checked(result))
        return frames

    def _checked(self, result: Any) -> Any:
        frame_idx, self.ids, masks = result[0], list(result[1]), result[2]
        ids = self.ids
        self.yielded.append(frame_idx)
        assert self.yielded == self.order[: len(self.yielded)]
        assert masks.shape == (len(ids), 1, HEIGHT, WIDTH)
        assert masks.dtype == torch.float32
        assert torch.isfinite(masks).all()
        self._check_committed(frame_idx, ids)
        self._check_pending(ids)
        return frame_idx, ids, masks

    def _check_committed(self, frame_idx: int, ids: list[Any]) -> None:
        """A yielded frame lies in SAM 2's state already, its scores in line with the frames before."""
        for obj_id in ids:
            if obj_id not in self.state["obj_id_to_idx"]:
                assert self.lost_object
                continue
            outputs = self.state["output_dict_per_obj"][self.state["obj_id_to_idx"][obj_id]]
            if frame_idx in outputs["cond_frame_outputs"]:
                continue
            output = outputs["non_cond_frame_outputs"][frame_idx]
            if "scores" not in output:  # cleared or corrected by the user while the pass was suspended
                continue
            scores = self.predictor.get_scores(self.state, obj_id)[frame_idx]
            assert scores is output["scores"]
            assert 1 <= scores.distinct_pathways <= self.num_pathways
            assert scores.margin >= 0
            assert (scores.margin == math.inf) == (scores.distinct_pathways == 1)
            assert 0 <= scores.predicted_iou <= 1
            before = math.inf if self.overtaken else self.last_scores.get(obj_id, math.inf)
            assert scores.cumulative_score <= before + math.log(1 + EPSILON) + 1e-12
            self.last_scores[obj_id] = scores.cumulative_score
            (answer,) = self.predictor.get_hypotheses(self.state, obj_id, frame_idx)
            assert answer.cumulative_score == scores.cumulative_score
            assert answer.slots == tuple(range(self.num_pathways))

    def _check_pending(self, ids: list[Any]) -> None:
        propagation = self.state["sam2long"].propagation
        if self.overtaken and propagation is None:  # its frames were committed when the other pass began
            return
        for obj_id in ids:
            for frame_idx in propagation.pending(obj_id):
                alive = self.predictor.get_hypotheses(self.state, obj_id, frame_idx)
                assert 1 <= len(alive) <= self.num_pathways
                assert sorted(slot for hypothesis in alive for slot in hypothesis.slots) == list(
                    range(self.num_pathways)
                )
                assert alive[0].slots[0] == 0
                assert (
                    frame_idx
                    not in self.state["output_dict_per_obj"][self.state["obj_id_to_idx"][obj_id]]["cond_frame_outputs"]
                )
