"""`on_frame=`: what is told of the trees, and that nothing else changes."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_model import FakeModel, prompted_state
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, committed, disk_centre, start, track
from support import assert_same, moving_disks

from sam2long import SAM2LongVideoPredictor, TreeRecord
from sam2long.config import MemoryTreeConfig
from sam2long.search.records import CandidateRecord, DecisionRecord, HypothesisRecord
from sam2long.search.selection import EPSILON
from sam2long.state.session import Session
from sam2long.tracking.propagation import Propagation

BEST = (0.9, 0.8, 0.7)


def ln(*ious: float) -> float:
    return sum(math.log(iou + EPSILON) for iou in ious)


@pytest.fixture
def disks() -> Clip:
    return moving_disks(NUM_FRAMES)


def told_by(model: FakeModel, state: dict[str, Any], num_frames: int, pending: int | None = None) -> list[TreeRecord]:
    told: list[TreeRecord] = []
    session = Session(MemoryTreeConfig(), pending)
    session.recording.listen(told.append)
    passing = Propagation(model, state, session, reverse=False)
    for frame_idx in range(num_frames):
        passing.track(frame_idx)
        session.recording.tell()
    list(passing.ready(early=True))
    session.recording.end()
    session.recording.tell()
    return told


def test_a_branch_on_literal_values() -> None:
    """Frame 2 is unsure: its three masks live on; on frame 3 the best three of nine all grow from its best."""
    occlusion = (8.0, 8.0, 0.5, 8.0)
    model = FakeModel([BEST, BEST, BEST, (0.9, 0.895, 0.89)], occlusion)
    prompted, first, second, third, ended = told_by(model, prompted_state(4, {1: 0}), 4)
    assert prompted == TreeRecord("prompted", 0, 1)

    assert (first.kind, first.frame_idx, first.obj_id, first.grows_from) == ("tracked", 1, 1, None)
    assert [c.predicted_iou for c in first.candidates] == pytest.approx(list(BEST))
    ((hypothesis),) = first.hypotheses
    assert (hypothesis.parent, hypothesis.mask_idx, hypothesis.slots) == (0, 0, (0, 1, 2))
    assert hypothesis.cumulative_score == 0.0, "SAM 2's own step adds none"
    assert first.decided == (DecisionRecord(1, 0, "agreement"),)
    assert (first.margin, first.distinct_pathways) == (math.inf, 1)

    assert second.grows_from == 1
    assert second.candidates == tuple(
        CandidateRecord(0, k, pytest.approx(iou), 0.5, pytest.approx(ln(iou), abs=1e-6)) for k, iou in enumerate(BEST)
    ), "three slots share a pathway: each of its masks once"
    assert second.hypotheses == tuple(
        HypothesisRecord(0, k, pytest.approx(iou), 0.5, pytest.approx(ln(iou), abs=1e-6), (k,))
        for k, iou in enumerate(BEST)
    )
    assert second.decided == ()
    assert second.margin == pytest.approx(ln(0.9) - ln(0.8), abs=1e-6)

    assert (third.grows_from, len(third.candidates)) == (2, 9)
    assert [c.pathway for c in third.candidates] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [(h.parent, h.mask_idx, h.slots) for h in third.hypotheses] == [(0, 0, (0,)), (0, 1, (1,)), (0, 2, (2,))]
    assert [h.cumulative_score for h in third.hypotheses] == pytest.approx(
        [ln(0.9, 0.9), ln(0.9, 0.895), ln(0.9, 0.89)], abs=1e-6
    )
    assert third.decided == (DecisionRecord(2, 0, "agreement"),)

    assert ended == TreeRecord("ended", 3, 1, decided=(DecisionRecord(3, 0, "end"),))


def test_the_limit_and_a_prompt_decide_too() -> None:
    limited = told_by(FakeModel([BEST] * 4, [0.5] * 4), prompted_state(4, {1: 0}), 4, pending=0)
    assert [[(d.frame_idx, d.hypothesis, d.by) for d in record.decided] for record in limited] == [
        [],
        [(1, 0, "agreement")],
        [(2, 0, "limit")],
        [(3, 0, "limit")],
    ]
    state = prompted_state(5, {1: 0})
    state["output_dict_per_obj"][0]["cond_frame_outputs"][3] = state["output_dict_per_obj"][0]["cond_frame_outputs"][0]
    prompted = told_by(FakeModel([BEST] * 5, [0.5] * 5), state, 5)
    assert [(record.kind, [(d.frame_idx, d.by) for d in record.decided]) for record in prompted] == [
        ("prompted", []),
        ("tracked", [(1, "agreement")]),
        ("tracked", []),
        ("prompted", [(2, "prompt")]),
        ("tracked", []),
        ("ended", [(4, "end")]),
    ]
    assert prompted[4].grows_from == 2


def test_a_record_is_one_line_of_json() -> None:
    told = told_by(FakeModel([BEST] * 3, [8.0, 8.0, 0.5]), prompted_state(3, {"hand": 0}), 3)
    for record in told:
        line = record.to_json()
        assert "\n" not in line
        assert TreeRecord.from_json(line) == record
        assert pickle.loads(pickle.dumps(record)) == record
    content = json.loads(told[1].to_json())
    assert (content["obj_id"], content["margin"], content["distinct_pathways"]) == ("hand", None, 1)
    numbered = TreeRecord("prompted", 0, np.int64(7))
    assert json.loads(numbered.to_json())["obj_id"] == 7
    for line in ("", "{}", "[1]", '{"kind": "tracked"}'):
        with pytest.raises(ValueError, match="no record of a tree"):
            TreeRecord.from_json(line)


MERGING = MemoryTreeConfig(uncertainty_threshold=100.0, merge_iou=0.5, merge_frames=1)


@pytest.mark.parametrize("options", [{}, {"max_pending_frames": 2}, {"memory_tree": MERGING}])
def test_records_agree_with_what_is_yielded(
    either: SAM2LongVideoPredictor, disks: Clip, options: dict[str, Any]
) -> None:
    quiet = start(either, disks, **options)
    expected = track(either, quiet, start_frame_idx=5, direction="both")
    state, told = start(either, disks, **options), []
    got = track(either, state, start_frame_idx=5, direction="both", on_frame=told.append)
    assert_same(got, expected)
    assert list(got) == list(expected)
    scores = either.get_scores(state, 1)
    by_frame = {record.frame_idx: record for record in told if record.kind == "tracked"}
    assert by_frame.keys() == scores.keys()
    decided = [decision for record in told for decision in record.decided]
    assert sorted(decision.frame_idx for decision in decided) == sorted(scores), "each once"
    for decision in decided:
        answer, of = by_frame[decision.frame_idx].hypotheses[decision.hypothesis], scores[decision.frame_idx]
        assert answer.predicted_iou == of.predicted_iou
        assert answer.cumulative_score == of.cumulative_score
        assert by_frame[decision.frame_idx].margin == of.margin
        assert by_frame[decision.frame_idx].distinct_pathways == of.distinct_pathways
    for record in told:  # who grows from whom
        if record.grows_from is not None:
            parents = by_frame[record.grows_from].hypotheses
            for one in record.hypotheses:
                added = one.cumulative_score - parents[one.parent].cumulative_score
                assert added == pytest.approx(ln(one.predicted_iou), abs=1e-9)


class ToldEnoughError(Exception):
    pass


def raising(at: int) -> Callable[[TreeRecord], None]:
    def on_frame(record: TreeRecord) -> None:
        if record.frame_idx == at:
            raise ToldEnoughError

    return on_frame


def test_a_listener_that_raises_ends_the_pass_as_a_damaged_frame_does(
    predictor: SAM2LongVideoPredictor, disks: Clip
) -> None:
    whole = start(predictor, disks)
    expected = track(predictor, whole)
    state, got = start(predictor, disks), {}
    frames = predictor.propagate_in_video(state, on_frame=raising(6))
    with pytest.raises(ToldEnoughError):
        got.update((frame_idx, masks.clone()) for frame_idx, _, masks in frames)
    assert list(got) == list(range(7)), "what was tracked is answered before the error"
    got |= track(predictor, state, start_frame_idx=7)
    assert_same({t: got[t] for t in range(7, NUM_FRAMES)}, {t: expected[t] for t in range(7, NUM_FRAMES)})
    assert_same(committed(state), committed(whole))


def test_a_stream(predictor: SAM2LongVideoPredictor, disks: Clip) -> None:
    def run(on_frame: Any) -> tuple[dict[str, Any], dict[int, torch.Tensor]]:
        state = predictor.init_stream(disks[0][0], memory_tree=BRANCHING, on_frame=on_frame)
        predictor.add_new_mask(state, 0, 1, disks[1][0, 0])
        answers = [a for frame in disks[0][1:] for a in predictor.track_frame(state, frame)]
        return state, {t: masks.clone() for t, _, masks in [*answers, *predictor.finish_stream(state)]}

    told: list[TreeRecord] = []
    _, expected = run(None)
    state, got = run(told.append)
    assert_same(got, expected)
    assert [r.frame_idx for r in told if r.kind == "tracked"] == list(range(1, NUM_FRAMES))
    assert sorted(d.frame_idx for r in told for d in r.decided) == list(range(1, NUM_FRAMES))
    assert (told[-1].kind, told[-1].frame_idx) == ("ended", NUM_FRAMES - 1)
    num_told = len(told)
    predictor.track_frame(copy.deepcopy(state), disks[0][0])
    assert len(told) == num_told, "a copy tells nobody"


def test_a_streams_answers_survive_a_listener_that_raises(predictor: SAM2LongVideoPredictor, disks: Clip) -> None:
    state = predictor.init_stream(disks[0][0], memory_tree=BRANCHING, on_frame=raising(6))
    predictor.add_new_mask(state, 0, 1, disks[1][0, 0])
    got = []
    for t, frame in enumerate(disks[0][1:], start=1):
        if t == 5:  # the pass before is settled, and its frames are handed out beside the error's
            predictor.add_new_points_or_box(state, 4, 1, points=[disk_centre(disks, 0, 4)], labels=[1])
        if t == 6:
            with pytest.raises(ToldEnoughError):
                predictor.track_frame(state, frame)
        else:
            got += predictor.track_frame(state, frame)
    got += predictor.finish_stream(state)
    assert [t for t, _, _ in got] == list(range(1, NUM_FRAMES))


def test_a_state_is_copied_and_saved_without_its_listener(
    predictor: SAM2LongVideoPredictor, disks: Clip, tmp_path: Path
) -> None:
    pytest.importorskip("safetensors")
    expected = track(predictor, start(predictor, disks))
    state, told, later = start(predictor, disks), [], []
    frames = predictor.propagate_in_video(state, on_frame=lambda record: told.append(record))  # no pickle takes that
    got = dict(next((t, m.clone()) for t, _, m in [next(frames)]) for _ in range(4))
    copied = pickle.loads(pickle.dumps(state))
    predictor.save_state(state, tmp_path / "s.safetensors")
    num_told = len(told)
    assert_same(track(predictor, copied, start_frame_idx=4), {t: expected[t] for t in range(4, NUM_FRAMES)})
    assert len(told) == num_told
    loaded = predictor.load_state(tmp_path / "s.safetensors", disks[0])
    for t, _, masks in predictor.resume_propagation(loaded, on_frame=later.append):
        got[t] = masks.clone()
    assert_same(got, expected)
    frames.close()
    tracked = [record.frame_idx for record in [*told, *later] if record.kind == "tracked"]
    assert tracked == list(range(1, NUM_FRAMES)), "each once, before the save or after it"
    first = next(record for record in later if record.kind == "tracked")
    before = next(record for record in told if record.frame_idx == first.grows_from)
    assert {h.parent for h in first.hypotheses} <= set(range(len(before.hypotheses))), "places are saved"
    assert first.hypotheses[0].cumulative_score == pytest.approx(
        before.hypotheses[first.hypotheses[0].parent].cumulative_score + ln(first.hypotheses[0].predicted_iou)
    )


def test_masks_are_had_by_asking(predictor: SAM2LongVideoPredictor, disks: Clip) -> None:
    state, seen = start(predictor, disks), []

    def look(record: TreeRecord) -> None:
        if record.distinct_pathways > 1:  # it waits: one that is decided is committed when it is yielded
            alive = predictor.get_hypotheses(state, record.obj_id, record.frame_idx)
            assert [each.cumulative_score for each in alive] == [h.cumulative_score for h in record.hypotheses]
            seen.append(len(alive))

    expected = track(predictor, start(predictor, disks))
    assert_same(track(predictor, state, on_frame=look), expected)
    assert seen.count(3) > 5


def test_sam2_itself_has_no_tree(predictor: SAM2LongVideoPredictor, disks: Clip) -> None:
    state = start(predictor, disks, memory_tree=MemoryTreeConfig(num_pathways=1))
    with pytest.raises(ValueError, match="num_pathways=1 is SAM 2 itself"):
        next(predictor.propagate_in_video(state, on_frame=print))
    assert len(track(predictor, state)) == NUM_FRAMES


def test_what_cannot_be_called_is_refused(predictor: SAM2LongVideoPredictor, disks: Clip) -> None:
    wrong: Any = "events.jsonl"
    state = start(predictor, disks)
    with pytest.raises(ValueError, match=r"takes a function of one record, got 'events\.jsonl'"):
        next(predictor.propagate_in_video(state, on_frame=wrong))
    with pytest.raises(ValueError, match="takes a function of one record"):
        predictor.init_stream(disks[0][0], on_frame=wrong)
    assert len(track(predictor, state)) == NUM_FRAMES


@pytest.mark.parametrize("change", ["prompt", "reset", "pass", "remove"])
def test_within_a_listener_nothing_is_changed(predictor: SAM2LongVideoPredictor, clip: Clip, change: str) -> None:
    """What was told would be tracked again, told again, and so on for ever."""
    state = start(predictor, clip)

    def on_frame(record: TreeRecord) -> None:
        if record.frame_idx == 5:
            if change == "prompt":
                predictor.add_new_mask(state, 3, 1, clip[1][0, 3])
            elif change == "reset":
                predictor.reset_state(state)
            elif change == "remove":
                predictor.remove_object(state, 1)
            else:
                next(predictor.propagate_in_video(state))

    frames: list[int] = []
    with pytest.raises(RuntimeError, match="within on_frame= nothing can be prompted, removed or tracked"):
        frames.extend(t for t, _, _ in predictor.propagate_in_video(state, on_frame=on_frame))
    assert sorted(predictor.get_scores(state, 1)) == list(range(1, 6))
    assert list(track(predictor, state, start_frame_idx=5))[-1] == NUM_FRAMES - 1
