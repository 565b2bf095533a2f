"""A pass over frames, with a model that proposes what is written down: what is shared, selected, decided, yielded."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fake_model import FakeModel, prompted_state

from sam2long.config import MemoryTreeConfig
from sam2long.search.selection import EPSILON
from sam2long.state.session import Session
from sam2long.tracking.propagation import Propagation

CERTAIN, UNSURE = 8.0, 0.5
BEST = (0.9, 0.8, 0.7)


def propagation(model: FakeModel, state: dict[str, Any], max_pending: int | None = None) -> Propagation:
    return Propagation(model, state, Session(MemoryTreeConfig(), max_pending), reverse=False)


def track(passing: Propagation, frames: range) -> list[list[int]]:
    """Which frames each step yields."""
    yielded = []
    for frame_idx in frames:
        passing.track(frame_idx)
        yielded.append([t for t, _, _ in passing.ready()])
    return yielded


def test_certain_frames_are_one_row_an_object_and_decided_at_once() -> None:
    model = FakeModel([BEST] * 6, [CERTAIN] * 6)
    state = prompted_state(6, {1: 0, "hand": 0})
    assert track(propagation(model, state), range(6)) == [[t] for t in range(6)]
    assert [len(rows) for rows in model.attended] == [2] * 5, "two objects, a row each, in one call a frame"
    for obj_idx in (0, 1):
        outputs = state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"]
        assert sorted(outputs) == [1, 2, 3, 4, 5]
        assert outputs[1]["scores"].cumulative_score == 0.0, "the first step is SAM 2's own and adds no score"
        assert outputs[5]["scores"].cumulative_score == pytest.approx(4 * math.log(0.9 + EPSILON))
        assert (outputs[5]["pred_masks"] == 1).all(), "the mask of the best predicted IoU"
        assert state["frames_tracked_per_obj"][obj_idx][5] == {"reverse": False}


def test_an_uncertain_frame_branches_and_waits_until_one_pathway_is_left() -> None:
    # Frame 2 is unsure: its three masks live on. On frame 3 every pathway proposes the same, and the best three of the
    # nine all grow from the best of frame 2: 0.9 x 0.89 beats 0.8 x 0.9.
    model = FakeModel([BEST, BEST, BEST, (0.9, 0.895, 0.89)], [CERTAIN, CERTAIN, UNSURE, CERTAIN])
    state = prompted_state(4, {1: 0})
    passing = propagation(model, state)
    assert track(passing, range(3)) == [[0], [1], []]
    assert sorted(passing.pending(1)) == [2]
    hypotheses = passing.pending_hypotheses(1, 2)
    assert [slots for slots, _ in hypotheses] == [(0,), (1,), (2,)]
    assert [hypothesis.memory.predicted_iou for _, hypothesis in hypotheses] == pytest.approx(list(BEST))
    assert track(passing, range(3, 4)) == [[2]], "frame 2 is decided, of frame 3 three masks are left"
    assert [len(rows) for rows in model.attended] == [1, 1, 3], "three pathways, one call"
    scores = state["output_dict_per_obj"][0]["non_cond_frame_outputs"][2]["scores"]
    assert (scores.distinct_pathways, scores.margin) == (3, pytest.approx(math.log(0.9 / 0.8), abs=1e-4))
    passing.settle()
    assert [t for t, _, _ in passing.ready()] == [3]


def test_with_no_patience_the_best_answers_at_once() -> None:
    model = FakeModel([BEST] * 5, [UNSURE] * 5)
    state = prompted_state(5, {1: 0})
    assert track(propagation(model, state, max_pending=0), range(5)) == [[t] for t in range(5)]
    assert [len(rows) for rows in model.attended] == [1] * 4, "pathways that lost are gone"


def test_a_frame_that_is_given_to_one_object_waits_for_the_other() -> None:
    model = FakeModel([BEST] * 3, [CERTAIN, UNSURE, UNSURE])
    state = prompted_state(3, {1: 0, 2: 2})
    passing = propagation(model, state)
    # Object 1 takes its first step on frame 1 and branches on frame 2, object 2 a frame earlier each: frame 1 waits.
    assert track(passing, range(3)) == [[0], [], [1]]
    assert sorted(passing.pending(1)) == [2]
    assert passing.pending(2) == {}, "where it is given its tree commits"
    passing.settle()
    ((frame_idx, obj_ids, masks),) = passing.ready()
    assert (frame_idx, obj_ids) == (2, [1, 2])
    assert (masks[0] == 1).all()
    assert (masks[1] == 9).all(), "what the user gave"


def test_an_object_that_is_removed_is_named() -> None:
    model = FakeModel([BEST] * 3, [CERTAIN] * 3)
    state = prompted_state(3, {1: 0})
    passing = propagation(model, state)
    passing.track(0)
    state["obj_id_to_idx"].clear()
    with pytest.raises(RuntimeError, match="object 1 was removed while it was being tracked"):
        passing.track(1)


def test_a_failing_frame_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeModel([BEST] * 4, [CERTAIN] * 4)
    state = prompted_state(4, {1: 0})
    passing = propagation(model, state)
    track(passing, range(3))
    with monkeypatch.context() as patch:
        patch.setattr(model, "remember", None)
        with pytest.raises(TypeError):
            passing.track(3)
    assert list(passing.ready()) == []
    assert sorted(state["output_dict_per_obj"][0]["non_cond_frame_outputs"]) == [1, 2]
    assert track(passing, range(3, 4)) == [[3]]


def test_memory_is_what_the_policy_says() -> None:
    model = FakeModel([BEST] * 8, [CERTAIN] * 8)
    model.choose_memory = lambda remembered, newest, config, capacity: (*remembered, newest)[-2:]
    state = prompted_state(8, {1: 0})
    track(propagation(model, state), range(8))
    assert model.attended == [[[]], [[1]], [[1, 2]], [[2, 3]], [[3, 4]], [[4, 5]], [[5, 6]]]


def test_a_pass_goes_on_where_another_was_unfinished() -> None:
    model = FakeModel([BEST] * 6, [CERTAIN, CERTAIN, UNSURE, UNSURE, UNSURE, CERTAIN])
    states = [prompted_state(6, {1: 0}) for _ in range(2)]
    whole, first = (propagation(model, state) for state in states)
    expected = track(whole, range(6))
    before = track(first, range(4))
    second = propagation(model, states[1])
    second.take_up(first.unfinished())
    assert before + track(second, range(4, 6)) == expected
    for passing in (whole, second):
        passing.settle()
    assert [t for t, _, _ in second.ready()] == [t for t, _, _ in whole.ready()]
    scores = [
        [entry["scores"] for entry in s["output_dict_per_obj"][0]["non_cond_frame_outputs"].values()] for s in states
    ]
    assert scores[0] == scores[1]


def test_what_a_stream_no_longer_holds_is_taken_over() -> None:
    model = FakeModel([BEST] * 6, [CERTAIN] * 6)
    state = prompted_state(6, {1: 0})
    first = propagation(model, state)
    track(first, range(4))
    tracked = state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    for frame_idx in (1, 2):
        del tracked[frame_idx]
    second = Propagation(model, state, Session(MemoryTreeConfig(), None), reverse=False, before=first.remembered())
    second.track(4)
    assert model.attended[-1] == [[1, 2, 3]]
