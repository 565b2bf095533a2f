"""Rivals seen beside the object, by literal values; and doubt that knows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_identity_policies import LEFT, NOTHING, RIGHT, Candidate, Sighting, candidate, columns, seen, situation

from sam2long.policies.alibi import Carried
from sam2long.policies.appearance import Looks
from sam2long.policies.doubt import DoubtRule, Doubts
from sam2long.policies.numbers import mask_to_text
from sam2long.policies.rivals import Rivals, RivalsRule

RULE, DOUBT = RivalsRule(), DoubtRule()
LOOKS = Looks((1.0, 0.0))
RIVAL = (0.0, 1.0)
GONE = Doubts(Carried(""), LOOKS, rivals=(RIVAL,))


def other(mask: Any, mask_idx: int = 2, looks: tuple[float, float] = RIVAL) -> Candidate:
    return replace(candidate(mask, looks), mask_idx=mask_idx)


@pytest.mark.parametrize(
    ("mask", "own", "apart"),
    [
        (RIGHT, LEFT, True),
        (columns(2, 3, 4), LEFT, False),  # IoU 0.2
        (columns(8), LEFT, False),  # 4 pixels
        (columns(8, 9), LEFT, True),  # 8
        (columns(10, 11), columns(*range(9)), False),  # 8 of 36: less than a quarter
        (columns(7, 8, 9, 10, 11), columns(*range(8)), False),  # IoU 0.083, but a fifth of it lies on the object
        (columns(*range(9)), columns(9, 10, 11), True),  # three times as large
        (columns(*range(9)), columns(10, 11), False),  # four and a half times
        (NOTHING, LEFT, False),
        (RIGHT, NOTHING, False),
        (None, LEFT, False),
    ],
)
def test_what_lies_apart(mask: Any, own: Any, apart: bool) -> None:
    assert RULE.is_apart(mask, own) is apart


def test_rivals_are_learned_while_the_object_is_certain() -> None:
    decoded = [other(RIGHT, 0), candidate(), other(columns(2, 3, 4), 2, (0.6, 0.8))]
    sure = candidate(occlusion_score=4.1)
    assert RULE.learned((), sure, decoded) == (RIVAL,)
    assert RULE.learned((), candidate(occlusion_score=4.0), decoded) == ()
    assert RULE.learned((), replace(sure, predicted_iou=0.5), decoded) == ()
    few = replace(RULE, count=2)
    assert few.learned(((1.0, 1.0), (2.0, 1.0)), sure, decoded) == ((2.0, 1.0), RIVAL), "the oldest goes first"


def test_a_mask_is_a_rivals_if_it_is_nearer_to_it() -> None:
    known: Rivals = ((0.6, 0.8),)
    assert RULE.is_one(candidate(looks=(0.8, 0.6)), LOOKS, known)  # cosines 0.96 to 0.8
    assert not RULE.is_one(candidate(looks=(1.0, 0.2)), LOOKS, known)  # 0.75 to 0.98
    assert not RULE.is_one(candidate(looks=(2.0, 0.0)), LOOKS, ((1.0, 0.0),)), "as near"
    assert not RULE.is_one(candidate(looks=(0.0, 1.0)), LOOKS, ())
    assert not RULE.is_one(candidate(looks=(0.0, 1.0)), None, known)


@pytest.mark.parametrize(
    ("turning_up", "carried", "score"),
    [
        (candidate(looks=(0.6, 0.8)), GONE, -4.0),
        (candidate(looks=(0.6, 0.8)), GONE._replace(rivals=()), 4.0),
        (candidate(looks=(0.8, 0.6)), GONE, 4.0),  # doubtful, but nearer to the object
        (candidate(RIGHT, looks=(0.6, 0.8)), GONE._replace(alibi=Carried(mask_to_text(LEFT))), -4.0),  # a jump
        (candidate(looks=(0.6, 0.8)), GONE._replace(alibi=Carried(mask_to_text(LEFT))), 4.0),  # where it was
        (candidate(looks=(0.95, 0.31)), GONE._replace(rivals=((0.95, 0.31),)), 4.0),  # nearer to it, and not doubtful
        (candidate(looks=(0.95, 0.31), occlusion_score=1.4), GONE._replace(rivals=((0.95, 0.31),)), -1.4),
        (candidate(looks=(0.6, 0.8)), GONE._replace(alibi=None), 4.0),  # beyond a break
        (candidate(looks=(0.6, 0.8)), None, 4.0),
    ],
)
def test_what_turns_up_and_looks_like_a_rival_is_silenced(
    turning_up: Candidate, carried: Doubts | None, score: float
) -> None:
    for carry in (carried, carried and tuple(carried)):  # as a saved state gives it back
        assert [c.occlusion_score for c in DOUBT.propose([turning_up], situation(carry))] == [score]


@pytest.mark.parametrize(
    ("chosen", "alibi", "learned"),
    [
        (candidate(occlusion_score=5.0), Carried(mask_to_text(LEFT)), True),
        (candidate(occlusion_score=5.0), Carried(""), False),  # it has just turned up
        (candidate(occlusion_score=5.0), Carried(mask_to_text(LEFT), doubted=3), False),
        (candidate(looks=(0.9, 0.45), occlusion_score=5.0), Carried(mask_to_text(LEFT)), False),  # likeness 0.89
        (candidate(occlusion_score=-5.0), Carried(mask_to_text(LEFT)), False),
    ],
)
def test_a_doubting_pathway_learns_what_it_can_rely_on(chosen: Candidate, alibi: Carried, learned: bool) -> None:
    known = Doubts(alibi, LOOKS)
    beside = replace(situation(known), decoded=(other(RIGHT, 0), chosen))
    assert DOUBT.advance(chosen, beside) == DOUBT.advance(chosen, situation(known))._replace(
        rivals=(RIVAL,) if learned else ()
    )


@pytest.mark.parametrize(("sighting", "refused"), [(seen(0.0), True), (seen(0.4), False), (None, False)])
def test_what_was_refused_is_a_rival(sighting: Sighting | None, refused: bool) -> None:
    silenced = candidate(RIGHT, looks=(0.6, 0.8), occlusion_score=-2.0, sighting=sighting)
    after = DOUBT.advance(silenced, situation(GONE))
    assert after.rivals == ((RIVAL, pytest.approx((0.6, 0.8))) if refused else (RIVAL,))


def test_what_another_policy_carried_is_not_read() -> None:
    assert DOUBT.propose([candidate(RIGHT)], situation(Carried(mask_to_text(LEFT)))) == [candidate(RIGHT)]


def test_rivals_hold_across_a_break() -> None:
    across = DOUBT.policy("d").across
    assert across is not None
    assert across(GONE) == Doubts(None, LOOKS, None, (RIVAL,))
