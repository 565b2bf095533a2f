"""Policies that change candidates and their selection: their rules on literal numbers."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from literal_frames import CONFIG, Frame, candidate, indices, remember, situation, square, weighed

from sam2long.policies import POLICIES, load_policy
from sam2long.policies.motion import Filter
from sam2long.policies.numbers import box_iou, box_of, mask_iou, sigmoid
from sam2long.search.policy import PAPER
from sam2long.search.selection import cumulative_score

MOTION = POLICIES["motion"]


def test_names() -> None:
    assert all(policy.name == name for name, policy in POLICIES.items())
    assert load_policy(None) is load_policy("paper") is PAPER
    assert load_policy(POLICIES["motion"]) is POLICIES["motion"]
    assert load_policy("recommended") is POLICIES["identity"]
    with pytest.raises(ValueError, match=r"unknown policy 'Motion'; known: \['absence', .*'recommended', .*\]"):
        load_policy("Motion")


def test_listed_policies_stay_themselves_when_they_travel() -> None:
    for policy in POLICIES.values():
        assert pickle.loads(pickle.dumps(policy)) is copy.deepcopy(policy) is policy
    own = replace(POLICIES["stride"], name="mine")
    assert pickle.loads(pickle.dumps(own)) == own
    assert pickle.loads(pickle.dumps(own)) is not own


def test_what_a_policy_needs_is_missed_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert POLICIES["distractor"].needs == ("scipy",)
    assert POLICIES["identity"].needs == ()
    monkeypatch.setattr("sam2long.policies.find_spec", lambda module: None)
    with pytest.raises(ImportError, match=r"policy 'distractor' needs scipy: pip install 'sam2long\[policies\]'"):
        load_policy("distractor")
    assert load_policy("stride") is POLICIES["stride"], "needs nothing"


def test_numbers() -> None:
    assert sigmoid(0.0) == 0.5
    assert sigmoid(-1000.0) == 0.0
    assert sigmoid(2.0) == pytest.approx(1 / (1 + math.exp(-2)))
    assert box_of(square(3, 4, 5, 6)) == (3.0, 4.0, 8.0, 10.0)
    assert box_of(square(0, 0, 0)) is None
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 2, 2), (2, 0, 3, 2)) == 0.0
    assert mask_iou(square(0, 0, 4), square(2, 0, 4)) == pytest.approx(8 / 24)
    assert mask_iou(square(0, 0, 0), square(0, 0, 0)) == 1.0


# -- absence, forgetting, diversity ----------------------------------------------------------------------------------


def test_absence_is_proposed_on_uncertain_frames_by_pathways_that_see_the_object() -> None:
    propose = POLICIES["absence"].propose
    unsure = [candidate(0.4, 1.5, 0, parent=-2.0), candidate(0.8, 1.5, 1, parent=-2.0)]
    *decoded, absent = propose(unsure, situation(parent=-2.0, uncertain=True))
    assert decoded == unsure
    doubt = 1 / (1 + math.exp(1.5))
    assert absent.predicted_iou == pytest.approx(doubt)
    assert absent.score == pytest.approx(-2.0 + math.log(doubt + 1e-5))
    assert (absent.mask_idx, absent.occlusion_score) == (1, -1.5)
    assert propose(unsure, situation(parent=-2.0)) == unsure, "the frame is certain by another pathway"
    for hidden in (-0.5, 0.0):
        assert propose([candidate(0.4, hidden)], situation(uncertain=True)) == [candidate(0.4, hidden)]
    (_, after_a_cut) = propose([candidate(0.4, 8.0)], situation(uncertain=True))
    assert after_a_cut.score == pytest.approx(math.log(1 / (1 + math.exp(8.0)) + 1e-5))


def test_a_faded_past_does_not_outvote_the_present() -> None:
    forgetting = POLICIES["forgetting"]
    good_past = weighed(forgetting, candidate(0.5, parent=-1.0), situation(parent=-1.0))
    bad_past = weighed(forgetting, candidate(0.6, parent=-1.5), situation(parent=-1.5))
    assert good_past == pytest.approx(-0.9 + math.log(0.5 + 1e-5), abs=1e-12)
    assert bad_past == pytest.approx(-1.35 + math.log(0.6 + 1e-5), abs=1e-12)


def test_masks_that_overlap_are_one_hypothesis() -> None:
    select = POLICIES["diversity"].select
    same, shifted, other = square(0, 0, 10), square(1, 0, 10), square(20, 0, 10)  # IoU 90 / 110 = 0.82
    candidates = [
        candidate(0.90, 1.0, 0, slot=0, mask=same),
        candidate(0.80, 1.0, 1, slot=0, mask=shifted),
        candidate(0.90, 1.0, 2, slot=0, parent=-0.5, mask=other),  # the paper takes it for the first: equal IoU
        candidate(0.70, 1.0, 0, slot=1, mask=shifted),
    ]
    assert [c.predicted_iou for c in PAPER.select(candidates, CONFIG)] == [0.9, 0.8, 0.7]
    chosen = select(candidates, CONFIG)
    assert [(c.slot_idx, c.mask_idx) for c in chosen] == [(0, 0), (0, 2), (1, 0)]
    certain = [*candidates[:3], candidate(0.7, 3.0, 0, slot=1, mask=shifted)]
    assert list(select(certain, CONFIG)) == list(PAPER.select(certain, CONFIG))


# -- motion ----------------------------------------------------------------------------------------------------------


def follow(num_frames: int, iou: float = 0.9) -> Any:
    """The carry after a square has moved 2 pixels right a frame."""
    carry = None
    assert MOTION.advance is not None
    for t in range(num_frames):
        carry = MOTION.advance(candidate(iou, mask=square(2 * t, 10, 8)), situation(t, carry=carry))
    return carry


def test_the_filter_starts_at_the_box() -> None:
    started = Filter.from_carry(follow(1))
    assert started.mean == (4.0, 14.0, 1.0, 8.0, 0.0, 0.0, 0.0, 0.0)
    std = np.sqrt(np.diag(np.array(started.covariance).reshape(8, 8)))
    assert std == pytest.approx([0.8, 0.8, 1e-2, 0.8, 0.5, 0.5, 1e-5, 0.5])


def test_one_prediction_and_update_by_hand() -> None:
    """Position and velocity of the centre: variances 0.64 and 0.25, process 0.16 and 0.0025, measurement 0.16."""
    second = Filter.from_carry(follow(2))
    predicted_variance = 0.64 + 0.25 + (8 / 20) ** 2
    innovation = predicted_variance + (8 / 20) ** 2
    assert second.mean[0] == pytest.approx(4.0 + 2.0 * predicted_variance / innovation)
    assert second.mean[4] == pytest.approx(2.0 * 0.25 / innovation)
    assert second.mean[1] == pytest.approx(14.0)


def test_a_steady_motion_is_predicted() -> None:
    carry = follow(15)
    assert carry[0] == 15
    predicted = Filter.from_carry(carry).predicted()
    assert predicted.box == pytest.approx((30.0, 10.0, 38.0, 18.0), abs=0.2)


def test_the_filter_must_settle_and_gives_up() -> None:
    assert MOTION.advance is not None
    moved = square(6, 10, 8)
    for iou, stable in ((0.3, 0), (0.31, 4)):  # while it settles, more than 0.3
        assert MOTION.advance(candidate(iou, mask=moved), situation(carry=follow(3)))[0] == stable
    moved = square(30, 10, 8)
    for iou, stable in ((0.29, 0), (0.3, 16)):  # afterwards, not less than 0.3
        assert MOTION.advance(candidate(iou, mask=moved), situation(carry=follow(15)))[0] == stable
    assert MOTION.advance(candidate(0.9, -1.0, mask=moved), situation())[0] == 0, "no box to start at"


def test_a_stable_filter_has_a_say_in_the_scores() -> None:
    here = candidate(0.80, parent=-1.0, mask=square(30, 10, 8))
    jumped = candidate(0.85, mask_idx=1, parent=-1.0, mask=square(5, 28, 8))
    known = situation(parent=-1.0, carry=follow(15))
    overlap = box_iou(Filter.from_carry(follow(15)).predicted().box, (30.0, 10.0, 38.0, 18.0))
    assert overlap > 0.9
    by_motion = cumulative_score(-1.0, 0.15 * overlap + 0.85 * 0.80), cumulative_score(-1.0, 0.85 * 0.85)
    assert (weighed(MOTION, here, known), weighed(MOTION, jumped, known)) == pytest.approx(by_motion, abs=1e-12)
    for settling in (None, follow(14)):
        assert weighed(MOTION, here, situation(parent=-1.0, carry=settling)) == here.score


def test_frames_where_the_object_was_not_expected_are_not_remembered() -> None:
    assert MOTION.note is not None
    here, jumped = candidate(0.9, mask=square(30, 10, 8)), candidate(0.9, mask=square(5, 28, 8))
    assert MOTION.note(jumped, [jumped], situation(carry=follow(15))) == (0.0,)
    assert MOTION.note(here, [here], situation(carry=follow(15)))[0] > 0.9
    assert MOTION.note(here, [here], situation(carry=follow(3))) == (-1.0,)
    frames = [
        Frame(1, note=(-1.0,)),
        Frame(2, note=(0.0,)),
        Frame(3, note=(0.1,)),
        Frame(4, predicted_iou=0.5, note=(0.9,)),
        Frame(5, occlusion_score=0.0, note=(0.9,)),
        Frame(6, note=(0.0,)),
    ]
    assert indices(remember(MOTION, *frames).recent) == [1, 3, 6]
