"""Policies that tell the object from its double: appearance, alibi, and several as one, by literal values."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import literal_frames
import numpy as np
import pytest

from sam2long.config import MemoryTreeConfig
from sam2long.policies import distractor, stride
from sam2long.policies.alibi import AlibiRule, Carried
from sam2long.policies.appearance import AppearanceRule, Looks, similarity
from sam2long.policies.combining import combined
from sam2long.policies.doubt import DoubtRule, Doubts
from sam2long.policies.numbers import mask_from_text, mask_iou, mask_to_text
from sam2long.search.picking import Picking, Proposal, ScoredProposal
from sam2long.search.policy import Memory, Policy, Situation
from sam2long.search.selection import Candidate, Evidence, Sighting

CONFIG = MemoryTreeConfig()


def columns(*wanted: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros((4, 12), dtype=bool)
    mask[:, list(wanted)] = True
    return mask


LEFT, RIGHT, NOTHING = columns(0, 1, 2), columns(9, 10, 11), columns()


def candidate(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = LEFT,
    looks: Sequence[float] = (1.0, 0.0),
    occlusion_score: float = 4.0,
    sighting: Sighting | None = None,
) -> Candidate:
    evidence = Evidence(mask, None, np.asarray(looks, np.float32), sighting)
    return Candidate(0, 1, -1.5, 0.8, occlusion_score, evidence)


def situation(carry: object = None) -> Situation:
    return Situation(20, 1, -1.0, carry, CONFIG)  # type: ignore[arg-type]


# -- appearance ------------------------------------------------------------------------------------------------------


def test_a_mask_that_looks_unlike_the_object_counts_as_absent() -> None:
    rule = AppearanceRule(share=0.8)
    known = Looks((1.0, 0.0), usual=1.0)
    like, unlike = candidate(looks=(0.9, 0.1)), candidate(looks=(3.0, 4.0))  # cosines 0.994 and 0.6
    hidden = candidate(looks=(0.0, 1.0), occlusion_score=-2.0)
    assert rule.propose([like, unlike, hidden], situation()) == [like, unlike, hidden], "nothing to compare with yet"
    proposed = rule.propose([like, unlike, hidden], situation(known))
    assert [c.occlusion_score for c in proposed] == [4.0, -4.0, -2.0]
    assert [c.score for c in proposed] == [-1.5] * 3
    # An object that changes its looks, or a model that sees more change, asks for less.
    assert rule.propose([unlike], situation(known._replace(usual=0.7)))[0].occlusion_score == 4.0
    undecided = candidate(looks=(3.0, 4.0), occlusion_score=1e-9)
    assert rule.propose([undecided], situation(known))[0].occlusion_score == -1e-3


def test_the_usual_similarity_is_learned_from_the_first_masks_shown() -> None:
    rule = AppearanceRule(learned_from=2)
    assert rule.advance(candidate(occlusion_score=-1.0), situation()) is None
    assert rule.advance(candidate(NOTHING, looks=(0.0, 0.0)), situation()) is None
    first = rule.advance(candidate(), situation())
    assert first == Looks((1.0, 0.0))
    second = rule.advance(candidate(looks=(3.0, 4.0)), situation(first))
    assert second is not None
    assert (second.usual, second.num_shown) == (pytest.approx(0.6), 1)
    assert rule.advance(candidate(occlusion_score=-1.0), situation(second)) == second
    third = rule.advance(candidate(), situation(tuple(second)))  # as a saved state gives it back
    assert third is not None
    assert (third.usual, third.num_shown) == (pytest.approx(0.8), 2)
    assert rule.advance(candidate(looks=(0.0, 1.0)), situation(third)) == third


def test_similarity_of_nothing() -> None:
    zeros, ones = np.zeros(2, np.float32), np.ones(2, np.float32)
    assert similarity(zeros, ones) == 0.0
    assert similarity(ones, -2 * ones) == pytest.approx(-1.0)


# -- alibi -----------------------------------------------------------------------------------------------------------

RULE = AlibiRule()


def seen(overlap: float, area: int = 40, continuity: float = 0.5) -> Sighting:
    return Sighting(12, overlap, area, continuity)


def test_masks_travel_as_text() -> None:
    rng = np.random.default_rng(0)
    for mask in (rng.random((64, 48)) > 0.5, NOTHING, LEFT):
        assert np.array_equal(mask_from_text(mask_to_text(mask)), mask)
    assert mask_iou(LEFT, columns(1, 2, 3)) == 0.5


def test_suspicious_is_what_turns_up_or_jumps() -> None:
    here = Carried(mask_to_text(LEFT))
    assert not RULE.suspects(candidate(), situation()), "the first frame has nothing before it"
    assert not RULE.suspects(candidate(), situation(here)), "where it was"
    assert RULE.suspects(candidate(RIGHT), situation(here)), "elsewhere"
    assert RULE.suspects(candidate(), situation(Carried(""))), "after an absence"
    assert not RULE.suspects(candidate(RIGHT, occlusion_score=-1.0), situation(here)), "absent"
    assert not RULE.suspects(candidate(NOTHING), situation(here))


def test_certain_frames() -> None:
    assert RULE.is_certain(Frame(occlusion_score=2.1, predicted_iou=0.51))
    assert not RULE.is_certain(Frame(occlusion_score=2.0, predicted_iou=0.9))
    assert not RULE.is_certain(Frame(occlusion_score=9.0, predicted_iou=0.5))

    assert RULE.is_certain(Frame(2.1, 0.51, note=(0.0, 1.0)))
    assert not RULE.is_certain(Frame(9.0, 0.9, note=(0.0, 0.0))), "since it turned up nothing has confirmed it"
    assert RULE.is_certain(Frame(9.0, 0.9, note=(0.0,))), "another policy's"


class Frame:
    frame_idx = 3

    def __init__(self, occlusion_score: float, predicted_iou: float, note: tuple[float, ...] = ()) -> None:
        self.occlusion_score, self.predicted_iou, self.note = occlusion_score, predicted_iou, note


def test_what_turned_up_or_jumped_is_trusted_once_it_is_confirmed() -> None:
    here = Carried(mask_to_text(LEFT))
    steps = [  # chosen, its note, and whether the pathway is trusted from here on
        (candidate(LEFT), (0.0, 1.0)),
        (candidate(RIGHT), (0.0, 0.0)),  # a jump that nothing was found of
        (candidate(RIGHT, sighting=seen(0.4)), (0.0, 0.0)),
        (candidate(occlusion_score=-2.0), (0.0, 0.0)),
        (candidate(RIGHT, sighting=seen(0.6)), (1.0, 1.0)),  # back, and confirmed
        (candidate(RIGHT), (0.0, 1.0)),
        (candidate(occlusion_score=-2.0), (0.0, 1.0)),  # gone: trusted as far as it was seen
        (candidate(RIGHT), (0.0, 0.0)),  # back
    ]
    for chosen, note in steps:
        assert RULE.note(chosen, [], situation(here)) == note
        here = RULE.advance(chosen, situation(here))
        assert (here.doubted == 0) == (note[1] > 0)


def test_doubt_ends_when_nothing_older_can_be_asked() -> None:
    """Else a pathway that was doubted once would never be checked again, however long the video."""
    rule = AlibiRule(reach=5)
    carried = rule.advance(candidate(RIGHT), situation(Carried(mask_to_text(LEFT))))
    relied_on = []
    for _ in range(7):
        relied_on.append(rule.note(candidate(RIGHT), [], situation(carried))[1])
        carried = rule.advance(candidate(RIGHT), situation(carried))
    assert relied_on == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0], "with the jump five frames are doubted"


def test_what_is_followed_is_bounded() -> None:
    """A mask that flickers from one thing to another is suspicious on every frame, and followed on some."""
    rule = AlibiRule(allowance=2.0, reserve=20)
    doubt, carried, followed = DoubtRule(alibi=rule), Carried(mask_to_text(LEFT)), []
    for k in range(40):
        chosen = candidate((RIGHT, LEFT)[k % 2])
        suspicious = rule.suspects(chosen, situation(carried))
        assert rule.turns_up(chosen, situation(carried))
        assert doubt.suspects(chosen, situation(Doubts(carried))) == suspicious
        if suspicious:
            followed.append(k)
            chosen = candidate((RIGHT, LEFT)[k % 2], sighting=seen(0.4))  # of frame 20, found on frame 12
        carried = rule.advance(chosen, situation(carried))
    assert followed == [0, 1, 2, 3, *range(7, 40, 4)], "8 frames each: the reserve at once, then two a frame"


@pytest.mark.parametrize(
    ("sighting", "says", "score"),
    [
        (seen(0.51), "confirmed", 4.0),
        (seen(0.5), "nothing", 4.0),
        (seen(0.31), "nothing", 4.0),
        (seen(0.3), "refused", -4.0),
        (seen(0.0, area=7), "nothing", 4.0),
        (seen(0.0, continuity=0.09), "nothing", 4.0),
        (seen(0.0, area=8, continuity=0.1), "refused", -4.0),
        (replace(seen(0.0), occlusion_score=1.01), "refused", -4.0),
        (replace(seen(0.0), occlusion_score=1.0), "nothing", 4.0),
        (replace(seen(0.9), occlusion_score=1.0), "nothing", 4.0),
        (replace(seen(0.9), occlusion_score=1.01), "confirmed", 4.0),
    ],
)
def test_what_a_sighting_means(sighting: Sighting, says: str, score: float) -> None:
    suspect = candidate(RIGHT, sighting=sighting)
    assert RULE.says(sighting) == says
    judged = RULE.judge(suspect, situation(Carried(mask_to_text(LEFT))))
    assert judged.occlusion_score == score
    note = {"confirmed": (1.0, 1.0), "refused": (-1.0, 1.0), "nothing": (0.0, 0.0)}[says]
    assert RULE.note(judged, [], situation(Carried(mask_to_text(LEFT)))) == note


def test_a_rival_is_known_while_it_moves_on() -> None:
    refused = replace(candidate(RIGHT, sighting=seen(0.0)), occlusion_score=-4.0)
    carried = RULE.advance(refused, situation(Carried(mask_to_text(LEFT))))
    assert carried == Carried("", mask_to_text(RIGHT), debt=8.0), "followed from frame 20 to 12"
    # It has moved by a pixel: it is refused before anything is followed; the object elsewhere is not.
    moved = columns(8, 9, 10)
    proposed = RULE.propose([candidate(moved), candidate(LEFT)], situation(carried))
    assert [c.occlusion_score for c in proposed] == [-4.0, 4.0]
    after = RULE.advance(proposed[0], situation(carried))
    assert after == Carried("", mask_to_text(moved), debt=5.0)
    # A confirmed mask ends it.
    confirmed = candidate(LEFT, sighting=seen(0.9))
    assert RULE.advance(confirmed, situation(after)) == Carried(mask_to_text(LEFT), "", debt=10.0)


def test_a_rival_out_of_sight_is_forgotten() -> None:
    """Where a rival was refused the object may turn up later: it is followed backwards then, not silenced."""
    refused = RULE.advance(RULE.judge(candidate(RIGHT, sighting=seen(0.0)), situation()), situation())
    still_there = candidate(columns(8, 9, 10))
    assert RULE.propose([still_there], situation(refused))[0].occlusion_score == -4.0
    moved_on = RULE.advance(RULE.propose([still_there], situation(refused))[0], situation(refused))
    assert moved_on == Carried("", mask_to_text(columns(8, 9, 10)), debt=5.0)
    for without in (candidate(NOTHING, occlusion_score=-3.0), candidate(LEFT)):
        later = RULE.advance(without, situation(moved_on))
        assert not later.rival
        assert RULE.propose([still_there], situation(later)) == [still_there]
        assert RULE.suspects(still_there, situation(later))


# -- audits choose anew ----------------------------------------------------------------------------------------------


def test_refused_suspects_are_one_hypothesis_of_their_pathway() -> None:
    """Two slots on one pathway, both suspects refused: the slots share what is left."""
    masks = [Evidence(mask) for mask in (RIGHT, columns(8, 9, 10), LEFT)]
    slots = [ScoredProposal(-1.0, Proposal(0, [0.9, 0.8, 0.1], 4.0, masks), Carried(mask_to_text(LEFT)))] * 3
    picking = Picking(slots, RULE.policy("alibi"), replace(CONFIG, uncertainty_threshold=100.0), 20, 1)
    before = picking.of_step()
    suspects = picking.suspects()
    assert [pick.mask_idx for pick in suspects] == [0, 1]
    after = picking.after_audit(dict.fromkeys(suspects, seen(0.0)))
    assert {pick.mask_idx for pick in before} == {pick.mask_idx for pick in after}
    assert [pick.visible for pick in after if pick.mask_idx != 2] == [False] * sum(p.mask_idx != 2 for p in after)
    assert picking.after_audit({}) == before
    assert Picking(slots, Policy(), CONFIG, 20, 1).suspects() == []


# -- several as one --------------------------------------------------------------------------------------------------


def test_parts_carry_their_own_and_see_what_those_before_put_forward() -> None:
    both = combined("both", AppearanceRule().policy("a"), RULE.policy("b"), stride.POLICY)
    assert both.wants == {"appearance", "masks"}
    assert both.advance is not None
    carried = both.advance(candidate(), situation())
    assert carried == (Looks((1.0, 0.0)), Carried(mask_to_text(LEFT)), None)
    unlike = candidate(RIGHT, looks=(0.0, 1.0))
    proposed = both.propose([unlike], situation(carried))
    assert proposed[0].occlusion_score == -4.0
    assert both.audit is not None
    assert not both.audit.suspects(proposed[0], situation(carried)), "absent already"
    assert both.audit.suspects(unlike, situation(carried))
    assert both.advance(unlike, situation("another policy's")) == both.advance(unlike, situation())
    copied = pickle.loads(pickle.dumps(both))
    assert copied.propose([unlike], situation(carried)) == proposed
    assert copied.audit.reach == both.audit.reach


def test_one_part_may_remember_and_one_may_audit() -> None:
    with pytest.raises(ValueError, match="policy 'twice': 2 of its parts audit"):
        combined("twice", RULE.policy("a"), RULE.policy("b"))
    with pytest.raises(ValueError, match="2 of its parts remember"):
        combined("twice", stride.POLICY, stride.POLICY)


def test_the_part_that_remembers_and_the_one_that_audits_see_their_own_notes() -> None:
    both = combined("both", RULE.policy("a"), distractor.POLICY)
    assert both.note is not None
    assert both.audit is not None
    noted = both.note(candidate(LEFT), [candidate(LEFT), replace(candidate(RIGHT), mask_idx=2)], situation())
    assert noted == (2.0, 0.0, 1.0, 12.0, 0.0), "alibi's numbers; the area, which is not known to be steady: no anchor"
    frames = [literal_frames.Frame(t, note=(2.0, 0.0, 1.0, 12.0, float(t == 9))) for t in range(12)]
    alone = [literal_frames.Frame(t, note=(12.0, float(t == 9))) for t in range(12)]
    memory, expected = Memory[Any](), Memory[Any]()
    for frame, known in zip(frames, alone, strict=True):
        memory = both.remember(memory, frame, CONFIG, 15)
        expected = distractor.POLICY.remember(expected, known, CONFIG, 15)
    assert memory.anchors == (frames[9],)
    assert [f.frame_idx for f in memory.recent] == [f.frame_idx for f in expected.recent]
    assert both.audit.is_certain(frames[3])
    assert not both.audit.is_certain(literal_frames.Frame(3, occlusion_score=1.0))


def test_a_part_that_remembers_without_notes_is_given_none() -> None:
    both = combined("both", RULE.policy("a"), stride.POLICY)
    frames = [literal_frames.Frame(t, note=(0.0,)) for t in range(12)]
    memory, expected = Memory[Any](), Memory[Any]()
    for frame in frames:
        memory = both.remember(memory, frame, CONFIG, 15)
        expected = stride.POLICY.remember(expected, frame, CONFIG, 15)
    assert memory == expected


# -- doubt -----------------------------------------------------------------------------------------------------------

DOUBT = DoubtRule()
KNOWN = Doubts(Carried(mask_to_text(LEFT)), Looks((1.0, 0.0)))


@pytest.mark.parametrize(
    ("doubtful", "carried", "suspected"),
    [
        (candidate(), KNOWN, False),  # where it was, as it was
        (candidate(looks=(3.0, 4.0)), KNOWN, True),  # likeness 0.6
        (candidate(looks=(0.91, 0.4146)), KNOWN, False),  # 0.91
        (candidate(looks=(0.89, 0.456)), KNOWN, True),  # 0.89
        (candidate(looks=(0.89, 0.456)), KNOWN._replace(looks=Looks((1.0, 0.0), 0.9, 10)), False),  # usual for it
        (candidate(occlusion_score=1.4), KNOWN, True),
        (candidate(occlusion_score=1.4), KNOWN._replace(audited=16), False),  # four frames ago, or ahead in reverse
        (candidate(occlusion_score=1.4), KNOWN._replace(audited=24), False),
        (candidate(occlusion_score=1.4), KNOWN._replace(audited=15), True),
        (candidate(RIGHT), KNOWN._replace(audited=19), True),  # a jump is asked for always
        (candidate(looks=(3.0, 4.0), occlusion_score=-1.0), KNOWN, False),
        (candidate(NOTHING, looks=(0.0, 0.0)), KNOWN, False),
        (candidate(looks=(3.0, 4.0)), None, False),
    ],
)
def test_doubtful_is_what_looks_unlike_the_object_or_hardly_shows(
    doubtful: Candidate, carried: Doubts | None, suspected: bool
) -> None:
    assert DOUBT.suspects(doubtful, situation(carried)) is suspected
    # A state that was read from a file carries plain tuples.
    assert DOUBT.suspects(doubtful, situation(carried and tuple(carried))) is suspected


@pytest.mark.parametrize(
    ("sighting", "score"), [(seen(0.9), 4.0), (seen(0.0), -4.0), (seen(0.0, area=0), 4.0), (None, 4.0)]
)
def test_looks_silence_nothing_by_themselves(sighting: Sighting | None, score: float) -> None:
    judged = DOUBT.judge(candidate(looks=(0.0, 1.0), sighting=sighting), situation(KNOWN))
    assert judged.occlusion_score == score


def test_what_a_doubting_pathway_carries_and_notes() -> None:
    first = DOUBT.advance(candidate(looks=(2.0, 0.0)), situation())
    assert first == Doubts(Carried(mask_to_text(LEFT)), Looks((2.0, 0.0)), None)
    audited = DOUBT.advance(candidate(looks=(3.0, 4.0), sighting=seen(0.9)), situation(first))
    assert audited == Doubts(Carried(mask_to_text(LEFT), debt=8.0), Looks((2.0, 0.0), pytest.approx(0.6), 1), 20)
    assert DOUBT.note(candidate(looks=(3.0, 4.0)), [], situation(first)) == (0.0, 1.0, pytest.approx(0.6))
    assert DOUBT.note(candidate(occlusion_score=-2.0), [], situation(first)) == (0.0, 1.0, 0.0)
    certain = literal_frames.Frame(3, note=(0.0, 1.0, 0.92))
    assert DOUBT.is_certain(certain)
    assert not DOUBT.is_certain(literal_frames.Frame(3, note=(0.0, 1.0, 0.91)))
    assert not DOUBT.is_certain(literal_frames.Frame(3, occlusion_score=2.0, note=(0.0, 1.0, 1.0)))
    assert DOUBT.is_certain(literal_frames.Frame(3)), "another policy's"


def test_looks_hold_across_a_break_and_places_do_not() -> None:
    learned = Looks((1.0, 0.0), 0.9, 10)
    known = Doubts(Carried(mask_to_text(LEFT), mask_to_text(RIGHT)), learned, 18)
    appearance, doubt, alibi = AppearanceRule().policy("a"), DOUBT.policy("d"), RULE.policy("b")
    assert appearance.across is not None
    assert doubt.across is not None
    assert appearance.across(learned) == learned
    for carry in (known, tuple(known)):  # as a saved state gives it back
        assert doubt.across(carry) == Doubts(None, learned, None)
    after = Doubts(None, learned, None)
    for seen_as in (after, tuple(after)):
        assert not DOUBT.suspects(candidate(RIGHT), situation(seen_as)), "nothing is known of where it was"
        assert DOUBT.suspects(candidate(RIGHT, looks=(3.0, 4.0)), situation(seen_as))
        assert DOUBT.advance(candidate(RIGHT), situation(seen_as)) == Doubts(Carried(mask_to_text(RIGHT)), learned)
    assert alibi.across is None
    both = combined("both", alibi, replace(doubt, audit=None), stride.POLICY)
    assert both.across is not None
    assert both.across((Carried("x"), known, None)) == (None, after, None)
    assert both.across("another policy's") == both.across((None, None, None)) == (None, None, None)
    assert combined("none", alibi, stride.POLICY).across is None
