"""Random sequences of API calls, to three predictors at once: sam2's own, ours with one pathway, ours with a tree.

With one pathway ours must be sam2's to the bit: results, types of errors, state. With a tree the same calls must
hold to what SAM 2 promises (`CheckedPass`). CI runs a few sequences, `make test-all` two
hundred of seed 12 (`SAM2LONG_NUM_SEQUENCES`, `SAM2LONG_SEED`).
"""

from __future__ import annotations

import gc
import itertools
import math
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import assert_same, captured_golden

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.search.selection import EPSILON
from sam2long.search.tree import MemoryNode

NUM_SEQUENCES = int(os.environ.get("SAM2LONG_NUM_SEQUENCES", "8"))
NUM_STEPS = 15
SEED = os.environ.get("SAM2LONG_SEED")

State = dict[str, Any]
NUM_FRAMES, HEIGHT, WIDTH = 14, 96, 128
SAM2_ENTRY = {"maskmem_features", "maskmem_pos_enc", "pred_masks", "obj_ptr", "object_score_logits"}

# Few frames and objects, so that calls meet on them; the last frame of the clip is 13.
frame_idxs = st.sampled_from((0, 0, 3, 5, 5, 6, 9, 13))
obj_ids = st.sampled_from((1, 1, "hand", "hand", 7, 2))
clicks = st.lists(
    st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.sampled_from((1, 1, 0))), min_size=1, max_size=3
)
WEIGHTS = {
    "points": 4,
    "box": 2,
    "mask": 3,
    "wrong": 1,
    "clear_prompts": 2,
    "remove": 1,
    "reset": 1,
    "propagate": 6,
    "leave": 5,
    "resume": 5,
}


class Call(NamedTuple):
    """A method of `Sequence` and its arguments."""

    name: str
    arguments: dict[str, Any]


@st.composite
def calls(draw: st.DrawFn, names: Sequence[str] = tuple(name for name, n in WEIGHTS.items() for _ in range(n))) -> Call:
    name = draw(st.sampled_from(names))
    prompt = {"frame_idx": draw(frame_idxs), "obj_id": draw(obj_ids)}
    flag = draw(st.booleans())
    match name:
        case "points":
            return Call(name, {**prompt, "clicks": draw(clicks), "clear": flag})
        case "box":
            x, y = draw(st.integers(0, 70)), draw(st.integers(0, 50))
            return Call(name, {**prompt, "box": [x, y, x + draw(st.integers(8, 50)), y + draw(st.integers(8, 40))]})
        case "mask":
            return Call(name, {**prompt, "which": int(flag)})
        case "wrong":
            return Call(
                name, {**prompt, "kind": draw(st.sampled_from(("no labels", "late box", "no frame", "nothing")))}
            )
        case "clear_prompts":
            return Call(name, {**prompt, "need_output": flag})
        case "remove":
            return Call(name, {"obj_id": prompt["obj_id"], "strict": flag, "need_output": draw(st.booleans())})
        case "propagate" | "leave":
            where = {
                "start": draw(st.one_of(st.none(), frame_idxs)),
                "count": draw(st.sampled_from((None, None, None, 0, 2, 6))),
                "reverse": draw(st.sampled_from((False, False, True))),
            }
            return Call(
                name, where if name == "propagate" else {**where, "after": draw(st.integers(1, 5)), "close": flag}
            )
        case "resume":
            return Call(name, {"num_frames": draw(st.sampled_from((None, 1, 3))), "which": int(flag)})
    return Call(name, {})


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the type of what it raises (an error itself would keep its frames alive)."""
    try:
        return call()
    except Exception as error:
        return type(error)


def assert_same_as_sam2(ours: Any, theirs: Any) -> None:
    """Equal to the bit; where the two are states, our own key and the frames left out."""
    if isinstance(theirs, dict):
        ours, theirs = (
            {key: state[key] for key in sorted(state) if key not in ("sam2long", "images")} for state in (ours, theirs)
        )
    assert_same(ours, theirs)


def form(result: Any) -> Any:
    """A result without its numbers: tensors by shape and dtype."""
    if isinstance(result, torch.Tensor):
        return result.shape, result.dtype
    if isinstance(result, list | tuple):
        return [form(item) for item in result]
    return result


def frames_of(state: State) -> Any:
    """Which frames of which objects a state knows, and how."""
    outputs = {
        (where, obj_idx, kind): sorted(frames)
        for where in ("output_dict_per_obj", "temp_output_dict_per_obj")
        for obj_idx, kinds in state[where].items()
        for kind, frames in kinds.items()
    }
    return outputs, state["frames_tracked_per_obj"], state["obj_ids"], state["obj_id_to_idx"], state["obj_idx_to_id"]


def assert_entries_are_sam2s(state: State) -> None:
    for kinds in state["output_dict_per_obj"].values():
        for kind, frames in kinds.items():
            for output in frames.values():
                assert output.keys() - {"scores"} == SAM2_ENTRY
                assert kind == "non_cond_frame_outputs" or "scores" not in output


def num_hypotheses_alive() -> int:
    """By reference counts alone: no cycle may keep the tensors of a hypothesis until Python looks for cycles."""
    return sum(type(thing) is MemoryNode for thing in gc.get_objects())


def expected_order(start: int, count: int | None, reverse: bool) -> list[int]:
    """The frames SAM 2 promises: `count` frames after the first one, or all there are."""
    count = NUM_FRAMES if count is None else count
    if not reverse:
        return list(range(start, min(start + count, NUM_FRAMES - 1) + 1))
    return list(range(start, max(start - count, 0) - 1, -1)) if start > 0 else []


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


Passes = tuple[Generator[Any, None, None], Generator[Any, None, None], CheckedPass]


class ThreePredictors:
    """sam2's predictor, ours with one pathway and ours with a tree, given the same calls and compared after each."""

    def __init__(
        self,
        predictor: SAM2LongVideoPredictor,
        sam2_predictor: SAM2VideoPredictor,
        tree_predictor: SAM2LongVideoPredictor,
        folder: str,
        masks: np.ndarray,
        tree: MemoryTreeConfig,
        max_pending_frames: int | None,
        offload: bool,
    ) -> None:
        self.predictor, self.sam2_predictor, self.tree_predictor = predictor, sam2_predictor, tree_predictor
        self.masks = masks
        self.num_pathways, self.pending = tree.num_pathways, max_pending_frames
        self.theirs = sam2_predictor.init_state(folder, offload_state_to_cpu=offload)
        one = MemoryTreeConfig(num_pathways=1)
        self.ours = predictor.init_state(folder, offload_state_to_cpu=offload, memory_tree=one)
        self.tree = tree_predictor.init_state(
            folder, offload_state_to_cpu=offload, memory_tree=tree, max_pending_frames=max_pending_frames
        )
        # A tree tracks ahead of what it yields, so after a break its state knows more frames than SAM 2's; and it
        # changes nothing on a frame that fails, where SAM 2 may have tracked some objects.
        self.in_step = True
        self.suspended: list[Passes] = []
        self.alive_before = num_hypotheses_alive()  # of a sequence that failed: hypothesis keeps the traceback

    def run(self, call: Call) -> None:
        getattr(self, call.name)(**call.arguments)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> None:
        theirs = outcome(lambda: getattr(self.sam2_predictor, name)(self.theirs, *args, **kwargs))
        ours = outcome(lambda: getattr(self.predictor, name)(self.ours, *args, **kwargs))
        tree = outcome(lambda: getattr(self.tree_predictor, name)(self.tree, *args, **kwargs))
        assert_same_as_sam2(ours, theirs)
        if self.in_step:
            assert form(tree) == form(theirs)
        self._check_states()

    def _check_states(self) -> None:
        assert_same_as_sam2(self.ours, self.theirs)
        assert self.tree.keys() - {"sam2long"} == self.theirs.keys()
        assert_entries_are_sam2s(self.tree)
        if self.in_step:
            assert frames_of(self.tree) == frames_of(self.theirs)

    # -- prompts ---------------------------------------------------------------------------------------------------

    def points(self, frame_idx: int, obj_id: Any, clicks: list[tuple[int, int, int]], clear: bool) -> None:
        points, labels = [[float(x), float(y)] for x, y, _ in clicks], [label for _, _, label in clicks]
        self._call("add_new_points_or_box", frame_idx, obj_id, points=points, labels=labels, clear_old_points=clear)

    def box(self, frame_idx: int, obj_id: Any, box: list[int]) -> None:
        self._call("add_new_points_or_box", frame_idx, obj_id, box=box)

    def mask(self, frame_idx: int, obj_id: Any, which: int) -> None:
        self._call("add_new_mask", frame_idx, obj_id, self.masks[which, frame_idx])

    def wrong(self, frame_idx: int, obj_id: Any, kind: str) -> None:
        arguments: dict[str, Any] = {
            "no labels": {"points": [[1.0, 1.0]]},
            "late box": {"box": [1, 1, 9, 9], "clear_old_points": False},
            "no frame": {"points": [[1.0, 1.0]], "labels": [1]},
            "nothing": {},
        }[kind]
        frame_idx = NUM_FRAMES + 3 if kind == "no frame" else frame_idx
        self._call("add_new_points_or_box", frame_idx, obj_id, **arguments)

    def clear_prompts(self, frame_idx: int, obj_id: Any, need_output: bool) -> None:
        self._call("clear_all_prompts_in_frame", frame_idx, obj_id, need_output=need_output)

    def remove(self, obj_id: Any, strict: bool, need_output: bool) -> None:
        self._lose([obj_id])
        self._call("remove_object", obj_id, strict=strict, need_output=need_output)

    def reset(self) -> None:
        self._lose(self.tree["obj_ids"])
        self._call("reset_state")
        assert not any(self.tree[key] for key in self.tree if key.startswith("obj_") or key.endswith("_per_obj"))
        self.in_step = not self.suspended  # empty states are equal again
        self._check_states()

    # -- passes ----------------------------------------------------------------------------------------------------

    def propagate(self, start: int | None, count: int | None, reverse: bool) -> None:
        """A pass from its first frame to its last."""
        passes = self._open(start, count, reverse)
        self._advance(passes, None)
        self._close(passes)

    def leave(self, start: int | None, count: int | None, reverse: bool, after: int, close: bool) -> None:
        """A pass that is left after some frames: closed, or suspended for later."""
        passes = self._open(start, count, reverse)
        self.suspended.append(passes)
        self._advance(passes, after)
        if close:
            self._close(self.suspended.pop())

    def resume(self, num_frames: int | None, which: int) -> None:
        """A suspended pass goes on, whatever happened to the state since."""
        if self.suspended:
            self._advance(self.suspended[which % len(self.suspended)], num_frames)

    def let_go(self) -> None:
        while self.suspended:
            self._close(self.suspended.pop(0))

    def _lose(self, obj_ids: list[Any]) -> None:
        for _, _, tree in self.suspended:
            tree.lost_object |= any(obj_id in tree.ids for obj_id in obj_ids)

    def _open(self, start: int | None, count: int | None, reverse: bool) -> Passes:
        arguments = {"start_frame_idx": start, "max_frame_num_to_track": count, "reverse": reverse}
        order = expected_order(self._earliest_prompt() if start is None else start, count, reverse)
        tree = self.tree_predictor.propagate_in_video(self.tree, **arguments)
        return (
            self.sam2_predictor.propagate_in_video(self.theirs, **arguments),
            self.predictor.propagate_in_video(self.ours, **arguments),
            CheckedPass(self.tree_predictor, self.tree, self.num_pathways, order, tree),
        )

    def _earliest_prompt(self) -> int:
        outputs = (*self.tree["output_dict_per_obj"].values(), *self.tree["temp_output_dict_per_obj"].values())
        return min((frame_idx for kinds in outputs for frame_idx in kinds["cond_frame_outputs"]), default=0)

    def _advance(self, passes: Passes, num_frames: int | None) -> None:
        theirs, ours = (outcome(lambda one=one: take(one, num_frames)) for one in passes[:2])
        for other in self.suspended:
            other[2].overtaken |= other is not passes
        tree = passes[2].take(num_frames)
        assert_same_as_sam2(ours, theirs)
        failed = isinstance(theirs, type) or passes[2].lost_object
        ahead = num_frames is not None and self.pending != 0
        if self.in_step and not failed:
            assert form(tree) == form(theirs)
        self.in_step &= not (failed or ahead)
        self._check_states()

    def _close(self, passes: Passes) -> None:
        theirs, ours, tree = passes
        for generator in (theirs, ours, tree.generator):
            generator.close()
        self._check_states()
        if not self.suspended:
            assert "sam2long" not in self.tree or self.tree["sam2long"].propagation is None
            assert num_hypotheses_alive() == self.alive_before


def take(frames: Iterable[Any], num_frames: int | None) -> list[Any]:
    """The next frames of a pass, or all that are left."""
    return [(frame_idx, list(ids), masks.clone()) for frame_idx, ids, masks in itertools.islice(frames, num_frames)]


@pytest.mark.timeout(3600)
def test_random_calls(
    predictor: SAM2LongVideoPredictor,
    sam2_predictor: SAM2VideoPredictor,
    clip: tuple[np.ndarray, np.ndarray],
    clip_folder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaying = captured_golden()

    @given(
        first=calls(("points", "box", "mask")),
        rest=st.lists(calls(), min_size=NUM_STEPS - 1, max_size=NUM_STEPS - 1),
        num_pathways=st.sampled_from((3, 3, 2)),
        uncertainty=st.sampled_from((2.0, 100.0)),
        max_pending_frames=st.sampled_from((None, 0, 3)),
        offload=st.booleans(),
        only_past=st.sampled_from((False, False, True)),
        captured=st.booleans(),
    )
    @settings(
        max_examples=NUM_SEQUENCES,
        report_multiple_bugs=False,
        derandomize=SEED is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # shrinking takes minutes; the failing sequence is printed as it is
        suppress_health_check=list(HealthCheck),
    )
    def sequence(
        first: Call,
        rest: list[Call],
        num_pathways: int,
        uncertainty: float,
        max_pending_frames: int | None,
        offload: bool,
        only_past: bool,
        captured: bool,
    ) -> None:
        # True, as in SAM 2's configs, has sam2 fail on frames before an object's first prompt (in float32, a
        # memory of bfloat16 features and no pointer); False lets the calls after that be compared as well.
        for one in (predictor, sam2_predictor, replaying):
            monkeypatch.setattr(one, "only_obj_ptrs_in_the_past_for_eval", only_past)
        tree = MemoryTreeConfig(num_pathways=num_pathways, uncertainty_threshold=uncertainty)
        tree_predictor = replaying if captured else predictor
        three = ThreePredictors(
            predictor, sam2_predictor, tree_predictor, clip_folder, clip[1], tree, max_pending_frames, offload
        )
        for call in (first, *rest):
            note(f"{call}")
            three.run(call)
        three.let_go()
        three.reset()

    (sequence if SEED is None else seed(int(SEED))(sequence))()
