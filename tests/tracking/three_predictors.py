"""The same calls to three predictors, which are compared after each."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import torch
from checked_pass import CheckedPass, outcome
from sam2.sam2_video_predictor import SAM2VideoPredictor
from stateful_calls import NUM_FRAMES, Call, State
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.search.tree import MemoryNode

SAM2_ENTRY = {"maskmem_features", "maskmem_pos_enc", "pred_masks", "obj_ptr", "object_score_logits"}


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


Passes = tuple[Generator[Any, None, None], Generator[Any, None, None], CheckedPass]


class ThreePredictors:
    """sam2's predictor, ours with one pathway and ours with a tree, given the same calls and compared after each.

    With one pathway ours must be sam2's to the bit: results, types of errors, state. With a tree the same calls must
    hold to what SAM 2 promises (`CheckedPass`).
    """

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
        corrections_condition: bool | None,
    ) -> None:
        self.predictor, self.sam2_predictor, self.tree_predictor = predictor, sam2_predictor, tree_predictor
        self.masks = masks
        self.num_pathways = tree.num_pathways
        self.theirs = sam2_predictor.init_state(folder, offload_state_to_cpu=offload)
        one = MemoryTreeConfig(num_pathways=1)
        self.ours = predictor.init_state(folder, offload_state_to_cpu=offload, memory_tree=one)
        self.tree = tree_predictor.init_state(
            folder, offload_state_to_cpu=offload, memory_tree=tree, max_pending_frames=max_pending_frames
        )
        # With a tree a corrected frame is a conditioning frame by default, with SAM 2 it is not. A tree changes nothing
        # on a frame that fails, where SAM 2 may have tracked some objects; and nothing for a prompt that is wrong.
        self.comparable = corrections_condition is not None
        self.in_step = self.comparable
        self.suspended: list[Passes] = []
        self.alive_before = num_hypotheses_alive()  # of a sequence that failed: hypothesis keeps the traceback

    def run(self, call: Call) -> None:
        getattr(self, call.name)(**call.arguments)

    def _call(self, name: str, *args: Any, tree_refuses: bool = False, **kwargs: Any) -> None:
        theirs = outcome(lambda: getattr(self.sam2_predictor, name)(self.theirs, *args, **kwargs))
        ours = outcome(lambda: getattr(self.predictor, name)(self.ours, *args, **kwargs))
        tree = outcome(lambda: getattr(self.tree_predictor, name)(self.tree, *args, **kwargs))
        assert_same_as_sam2(ours, theirs)
        if tree_refuses:
            assert tree is ValueError
        elif self.in_step:
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
        before = frames_of(self.tree)
        self.in_step &= obj_id in self.theirs["obj_ids"]  # SAM 2 registers the object nevertheless
        self._call("add_new_points_or_box", frame_idx, obj_id, tree_refuses=True, **arguments)
        assert frames_of(self.tree) == before

    def clear_prompts(self, frame_idx: int, obj_id: Any, need_output: bool) -> None:
        self._call("clear_all_prompts_in_frame", frame_idx, obj_id, need_output=need_output)

    def remove(self, obj_id: Any, strict: bool, need_output: bool) -> None:
        self._lose([obj_id])
        self._call("remove_object", obj_id, strict=strict, need_output=need_output)

    def reset(self) -> None:
        self._lose(self.tree["obj_ids"])
        self._call("reset_state")
        assert not any(self.tree[key] for key in self.tree if key.startswith("obj_") or key.endswith("_per_obj"))
        self.in_step = self.comparable and not self.suspended  # empty states are equal again
        self._check_states()
        if not self.suspended:
            assert num_hypotheses_alive() == self.alive_before

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
        if self.in_step and not failed:
            assert form(tree) == form(theirs)
        self.in_step &= not failed
        self._check_states()

    def _close(self, passes: Passes) -> None:
        theirs, ours, tree = passes
        for generator in (theirs, ours, tree.generator):
            generator.close()
        self._check_states()
        if not self.suspended:
            session = self.tree.get("sam2long")
            assert session is None or session.propagation is None
            if session is None or session.left is None:  # else the next pass may go on from there
                assert num_hypotheses_alive() == self.alive_before


def take(frames: Iterable[Any], num_frames: int | None) -> list[Any]:
    """The next frames of a pass, or all that are left."""
    return [(frame_idx, list(ids), masks.clone()) for frame_idx, ids, masks in itertools.islice(frames, num_frames)]
