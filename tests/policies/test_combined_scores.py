"""Rules of scores together: each keeps its say, in whatever order they are named."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from literal_frames import CONFIG, square

from sam2long.policies import POLICIES
from sam2long.policies.combining import combined
from sam2long.policies.motion import Filter
from sam2long.search.picking import Picking, Proposal, ScoredProposal
from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate, Evidence, cumulative_score

MOTION, FORGETTING, ABSENCE = (POLICIES[name] for name in ("motion", "forgetting", "absence"))
HERE, THERE = square(10, 10, 8), square(40, 10, 8)


def settled(frames: int = 20) -> Hashable:
    """The carry of a filter that has seen a square stand still."""
    box = (10.0, 10.0, 18.0, 18.0)
    known = Filter.started_at(box)
    for _ in range(frames - 1):
        known = known.predicted().updated(box)
    return known.carry


CARRIES: dict[str, Hashable] = {"motion": settled()}


def scores(
    parts: Sequence[Policy], ious: Sequence[float] = (0.5, 0.52, 0.1), occlusion: float = 0.3, parent: float = -10.0
) -> list[float]:
    """What the candidates of one slot score, by the policies together (one: by itself); sorted as they were decoded."""
    evidence = [Evidence(mask=mask) for mask in (HERE, THERE, THERE)]
    carries = tuple(CARRIES.get(part.name) for part in parts)
    policy, carry = (parts[0], carries[0]) if len(parts) == 1 else (combined("together", *parts), carries)
    slots = [ScoredProposal(parent, Proposal(0, ious, occlusion, evidence), carry)] * 3
    picking = Picking(slots, policy, CONFIG, 9, 1)
    picking.of_step()
    return [candidate.score for candidate in picking.considered if candidate.slot_idx == 0]


def halve_the_second(candidate: Candidate, situation: Situation) -> float:
    return math.log(0.5) if candidate.mask_idx == 1 and candidate.occlusion_score > 0 else 0.0


def propose_half(candidates: Sequence[Candidate], situation: Situation) -> list[Candidate]:
    return [replace(c, score=c.score + halve_the_second(c, situation)) for c in candidates]


HALVING = Policy("halving", weigh=halve_the_second)
PROPOSING = Policy("proposing", propose=propose_half)


def test_each_alone_by_the_numbers_of_its_page() -> None:
    assert scores([FORGETTING]) == pytest.approx([cumulative_score(-9.0, iou) for iou in (0.5, 0.52, 0.1)], abs=1e-12)
    by_motion = [0.15 + 0.85 * 0.5, 0.85 * 0.52, 0.85 * 0.1]  # the square is where it was predicted to be
    assert scores([MOTION]) == pytest.approx([cumulative_score(-10.0, w) for w in by_motion], abs=1e-12)
    doubt = 1 / (1 + math.exp(0.3))
    decoded = [cumulative_score(-10.0, iou) for iou in (0.5, 0.52, 0.1)]
    assert scores([ABSENCE]) == pytest.approx([*decoded, cumulative_score(-10.0, doubt)], abs=1e-12)


def test_what_each_changes_survives_the_others() -> None:
    by_motion = [cumulative_score(-9.0, w) for w in (0.15 + 0.85 * 0.5, 0.85 * 0.52, 0.85 * 0.1)]
    assert by_motion[0] == pytest.approx(-9.553, abs=1e-3)
    doubt = 1 / (1 + math.exp(0.3))
    for parts in permutations([MOTION, FORGETTING]):
        assert scores(parts) == pytest.approx(by_motion, abs=1e-12)
    for parts in permutations([FORGETTING, ABSENCE]):
        assert scores(parts)[3] == pytest.approx(cumulative_score(-9.0, doubt), abs=1e-12)
    assert cumulative_score(-9.0, doubt) == pytest.approx(-9.854, abs=1e-3)
    # Motion weighs "not visible" as it weighs any empty mask.
    all_of_it = [by_motion[0], by_motion[1] + math.log(0.5), by_motion[2], cumulative_score(-9.0, 0.85 * doubt)]
    for halving in (HALVING, PROPOSING):
        for parts in permutations([MOTION, ABSENCE, FORGETTING, halving]):
            assert scores(parts) == pytest.approx(all_of_it, abs=1e-12)


@given(
    st.permutations([MOTION, FORGETTING, ABSENCE, HALVING, PROPOSING]).map(lambda parts: parts[:2]),
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
    st.floats(-3.0, 3.0),
    st.floats(-100.0, 0.0),
)
def test_the_order_of_two_does_not_show(
    parts: list[Policy], ious: list[float], occlusion: float, parent: float
) -> None:
    one_way = scores(parts, ious, occlusion, parent)
    assert scores(parts[::-1], ious, occlusion, parent) == one_way
    assert len(one_way) == 3 + (ABSENCE in parts and 0 < occlusion <= CONFIG.uncertainty_threshold)
