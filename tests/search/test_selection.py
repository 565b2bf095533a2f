"""Selection and memory choice on literal numbers, and properties that hold for any."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam2long.config import MemoryTreeConfig
from sam2long.search.selection import (
    EPSILON,
    Candidate,
    choose_memory,
    cumulative_score,
    modulation_weights,
    select_candidates,
    select_one,
)


def candidates(rows: list[tuple[list[float], list[float], float]]) -> list[Candidate]:
    """One row per slot: (scores, ious, occlusion score)."""
    return [
        Candidate(slot_idx, mask_idx, score, iou, occlusion)
        for slot_idx, (scores, ious, occlusion) in enumerate(rows)
        for mask_idx, (score, iou) in enumerate(zip(scores, ious, strict=True))
    ]


def taken(rows: list[tuple[list[float], list[float], float]], config: MemoryTreeConfig) -> list[tuple[int, int]]:
    return [(c.slot_idx, c.mask_idx) for c in select_candidates(candidates(rows), config)]


PAPER = MemoryTreeConfig()


def test_cumulative_score() -> None:
    assert cumulative_score(-1.5, 0.5) == -1.5 + math.log(0.5 + 1e-5)
    assert math.isfinite(cumulative_score(0.0, 0.0))


def test_certain_frame_takes_the_best_by_score() -> None:
    rows = [
        ([-1.0, -3.0, -2.0], [0.9, 0.1, 0.5], 1.0),
        ([-1.5, -9.0, -9.0], [0.9, 0.1, 0.1], 2.5),  # one |occlusion score| beyond the threshold makes it certain
        ([-9.0, -9.0, -9.0], [0.1, 0.1, 0.1], 0.0),
    ]
    assert taken(rows, PAPER) == [(0, 0), (1, 0), (0, 2)]


def test_certain_by_a_large_negative_score_too() -> None:
    rows = [([-1.0, -1.1, -1.2], [0.9, 0.9, 0.9], -3.0)] * 3
    # duplicates of a shared node: all three slots keep its best mask, ties in slot order
    assert taken(rows, PAPER) == [(0, 0), (1, 0), (2, 0)]


def test_the_threshold_itself_is_uncertain() -> None:
    rows = [([-1.0, -1.1, -1.2], [0.9, 0.8, 0.7], 2.0)] * 3
    assert taken(rows, PAPER) == [(0, 0), (0, 1), (0, 2)]


def test_uncertain_frame_takes_each_rounded_iou_once() -> None:
    rows = [
        ([-1.0, -1.1, -2.0], [0.901, 0.899, 0.2], 1.0),
        ([-1.2, -1.3, -9.0], [0.90, 0.7, 0.1], 1.0),
        ([-8.0, -8.1, -8.2], [0.3, 0.3, 0.3], 1.0),
    ]
    assert taken(rows, PAPER) == [(0, 0), (1, 1), (0, 2)]


def test_absence_makes_an_equal_iou_another_hypothesis() -> None:
    rows = [
        ([-1.0, -5.0, -5.0], [0.9, 0.9, 0.9], 1.0),
        ([-1.1, -5.0, -5.0], [0.9, 0.9, 0.9], -1.0),
        ([-1.2, -5.0, -5.0], [0.9, 0.9, 0.9], 0.0),  # 0 counts as absent
    ]
    assert taken(rows, PAPER) == [(0, 0), (1, 0), (2, 0)]  # third: the best of the slot not yet represented


def test_unrepresented_slots_fill_up_in_slot_order() -> None:
    rows = [
        ([-3.0, -3.1, -3.2], [0.5, 0.5, 0.5], 1.0),
        ([-1.0, -1.1, -1.2], [0.5, 0.5, 0.5], 1.0),
        ([-2.2, -2.1, -2.3], [0.5, 0.5, 0.5], 1.0),
    ]
    assert taken(rows, PAPER) == [(1, 0), (0, 0), (2, 1)]


def test_one_mask_may_fill_all_slots() -> None:
    rows = [([-1.4, -1.1, -1.2], [0.7, 0.9, 0.8], 0.1)] * 2  # as uncertain as can be, and yet no branching
    assert [(c.slot_idx, c.mask_idx) for c in select_one(candidates(rows), MemoryTreeConfig(num_pathways=2))] == [
        (0, 1)
    ] * 2


def test_ties_keep_slot_then_mask_order() -> None:
    rows = [([-1.0, -1.0, -1.0], [0.5, 0.5, 0.5], 9.0)] * 2
    assert taken(rows, MemoryTreeConfig(num_pathways=2)) == [(0, 0), (0, 1)]


@st.composite
def any_candidates(draw: st.DrawFn) -> tuple[list[Candidate], MemoryTreeConfig]:
    num_pathways = draw(st.integers(1, 5))
    ious = st.floats(0, 1)
    rows = []
    for _ in range(num_pathways):
        parent = draw(st.floats(-50, 0))
        row = [draw(ious) for _ in range(3)]
        rows.append(([cumulative_score(parent, iou) for iou in row], row, draw(st.floats(-10, 10))))
    return candidates(rows), MemoryTreeConfig(num_pathways=num_pathways, uncertainty_threshold=draw(st.floats(0, 10)))


@given(any_candidates())
def test_selection_properties(case: tuple[list[Candidate], MemoryTreeConfig]) -> None:
    given_candidates, config = case
    chosen = select_candidates(given_candidates, config)
    assert len(chosen) == config.num_pathways
    assert len({(c.slot_idx, c.mask_idx) for c in chosen}) == len(chosen)
    assert all(c in given_candidates for c in chosen)
    assert chosen[0].score == max(c.score for c in given_candidates)
    certain = max(abs(c.occlusion_score) for c in given_candidates) > config.uncertainty_threshold
    if certain:
        assert [c.score for c in chosen] == sorted((c.score for c in given_candidates), reverse=True)[: len(chosen)]


@dataclass(frozen=True, eq=False)
class Frame:
    frame_idx: int
    predicted_iou: float = 0.9
    occlusion_score: float = 5.0


def remember(frames: list[Frame], capacity: int = 15, config: MemoryTreeConfig = PAPER) -> list[int]:
    remembered: tuple[Frame, ...] = ()
    for frame in frames:
        remembered = choose_memory(remembered, frame, config, capacity)
    return [frame.frame_idx for frame in remembered]


def test_trusted_visible_frames_are_remembered() -> None:
    frames = [Frame(1), Frame(2, predicted_iou=0.3), Frame(3, occlusion_score=0.0), Frame(4)]
    assert remember(frames) == [1, 4]


def test_the_newest_frame_is_remembered_for_one_step() -> None:
    frames = [Frame(1), Frame(2), Frame(3, occlusion_score=-1.0)]
    assert remember(frames) == [1, 2, 3]
    assert remember([*frames, Frame(4, predicted_iou=0.1)]) == [1, 2, 4]
    assert remember([*frames, Frame(4)]) == [1, 2, 4]


def test_capacity() -> None:
    frames = [Frame(t) for t in range(1, 30)]
    assert remember(frames) == list(range(15, 30))
    assert remember([*frames, Frame(30, occlusion_score=-1.0)]) == [*range(15, 30), 30]
    assert remember([Frame(1), Frame(2, predicted_iou=0.0)], capacity=0) == [2]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(-5, 5)), min_size=1, max_size=60),
    st.integers(0, 15),
    st.floats(0, 1),
)
def test_choose_memory_equals_a_walk_back(frames: list[tuple[float, float]], capacity: int, threshold: float) -> None:
    """The paper walks the whole history back at every frame; folding it frame by frame gives the same list."""
    history = [Frame(t, *scores) for t, scores in enumerate(frames, start=1)]
    walked: list[int] = []
    for frame in reversed(history):
        if len(walked) == capacity:
            break
        if frame.predicted_iou > threshold and frame.occlusion_score > 0:
            walked.insert(0, frame.frame_idx)
    if history[-1].frame_idx not in walked:
        walked.append(history[-1].frame_idx)
    assert remember(history, capacity, MemoryTreeConfig(iou_threshold=threshold)) == walked


def test_modulation_weights() -> None:
    weights = modulation_weights([10.0, 1.0, 5.0], (0.95, 1.05))
    assert weights == pytest.approx([1.05, 0.95, 1.0])
    assert modulation_weights([3.0], (0.95, 1.05)) == [0.95]
    assert modulation_weights([2.0, 2.0, 1.0], (0.8, 1.2)) == pytest.approx([1.0, 1.2, 0.8])
    assert modulation_weights([], (0.95, 1.05)) == []


def test_epsilon_is_the_papers() -> None:
    assert EPSILON == 1e-5
