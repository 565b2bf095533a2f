"""Policies that choose memories: their rules on literal numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from literal_frames import Frame, candidate, indices, remember, situation, square

from sam2long.policies import POLICIES
from sam2long.policies.distractor import largest_component
from sam2long.policies.reappearance import AnchorsBeforeAbsence

REAPPEARANCE, DISTRACTOR = POLICIES["reappearance"], POLICIES["distractor"]
PRESENCE, STRIDE = POLICIES["presence"], POLICIES["stride"]


# -- reappearance ----------------------------------------------------------------------------------------------------


def test_quality_is_presence_times_best_iou_times_maskness() -> None:
    decoded = [candidate(0.5, 2.0, 0, maskness=0.8), candidate(0.9, 2.0, 1, maskness=0.6)]
    assert REAPPEARANCE.note is not None
    # sigmoid(2) = 0.880797; the best IoU of the three counts, the maskness of the chosen
    assert REAPPEARANCE.note(decoded[0], decoded, situation()) == pytest.approx((0.880797 * 0.9 * 0.8,), abs=1e-6)


def test_the_nearest_good_frames_before_an_absence_become_anchors() -> None:
    qualities = [0.9, 0.61, 0.6, 0.9, 0.7, 0.2, 0.95]
    frames = [Frame(t, note=(quality,)) for t, quality in enumerate(qualities, start=1)]
    visible = remember(REAPPEARANCE, *frames)
    assert (visible.anchors, indices(visible.recent)) == ((), [1, 2, 3, 4, 5, 6, 7])
    away = remember(REAPPEARANCE, Frame(8, occlusion_score=-1.0, note=(0.0,)), memory=visible)
    assert indices(away.anchors) == [2, 4, 5, 7]  # 3 is not above 0.6, 6 is bad, 1 is the fifth
    assert indices(away.recent) == [1, 3, 6, 8]
    longer = remember(REAPPEARANCE, Frame(9, occlusion_score=-1.0, note=(0.0,)), memory=away)
    assert indices(longer.anchors) == [2, 4, 5, 7], "the absence has begun already"
    back = remember(REAPPEARANCE, Frame(10, note=(0.8,)), Frame(11, occlusion_score=0.0, note=(0.1,)), memory=longer)
    assert indices(back.anchors) == [4, 5, 7, 10]
    once = replace(REAPPEARANCE, remember=AnchorsBeforeAbsence(again=False))
    second = remember(once, Frame(10, note=(0.8,)), Frame(11, occlusion_score=0.0), memory=longer)
    assert indices(second.anchors) == [2, 4, 5, 7]


def test_an_absence_without_good_frames_keeps_what_there_is() -> None:
    memory = remember(REAPPEARANCE, Frame(1, note=(0.3,)), Frame(2, occlusion_score=-3.0, note=(0.0,)))
    assert memory.anchors == ()
    assert indices(memory.recent) == [1, 2]


# -- distractor ------------------------------------------------------------------------------------------------------


def note(
    iou: float, mask: np.ndarray, other: np.ndarray, areas: tuple[int, ...] | None, occlusion: float = 5.0
) -> tuple:
    chosen, rival = candidate(iou, occlusion, 0, mask=mask), candidate(0.1, occlusion, 1, mask=other)
    assert DISTRACTOR.note is not None
    return DISTRACTOR.note(chosen, [chosen, rival], situation(carry=areas))


def test_a_reliable_frame_with_a_distractor_told_apart() -> None:
    own = square(5, 5, 10)
    both = own | square(30, 5, 10)  # boxes: 10 x 10 against 35 x 10
    assert note(0.81, own, both, (100,)) == (100.0, 1.0)
    assert note(0.8, own, both, (100,)) == (100.0, 0.0), "predicted IoU must be above 0.8"
    assert note(0.9, own, both, None) == (100.0, 0.0), "two areas are needed"
    assert note(0.9, own, both, (100, 140)) == (100.0, 1.0)  # median of 100, 140, 100
    assert note(0.9, own, both, (126, 126)) == (100.0, 0.0)  # 100 / 126 = 0.794
    assert note(0.9, own, both, (125, 125)) == (100.0, 1.0)  # 100 / 125 = 0.8
    assert note(0.9, own, own, (100,)) == (100.0, 0.0), "nothing beside the object"
    assert note(0.9, own, both, (100,), occlusion=0.0) == (0.0, 0.0), "the object is absent"
    # 10 x 10 in 14 x 10: box IoU 0.714, not far enough; in 15 x 10: 0.667
    assert note(0.9, own, own | square(15, 5, 4, 10), (100,)) == (100.0, 0.0)
    assert note(0.9, own, own | square(15, 5, 5, 10), (100,)) == (100.0, 1.0)


def test_only_the_largest_part_beside_the_object_counts() -> None:
    own = square(5, 5, 10)
    near, far_speck = square(15, 5, 2, 10), square(50, 30, 1)
    assert note(0.9, own, own | near | far_speck, (100,)) == (100.0, 0.0)
    diagonal = np.zeros((5, 5), dtype=bool)
    diagonal[[0, 1, 2], [0, 1, 2]] = diagonal[4, 4] = diagonal[4, 3] = True
    assert largest_component(diagonal).sum() == 3, "corners touch"


def test_areas_of_the_last_ten_shown_masks_are_carried() -> None:
    assert DISTRACTOR.advance is not None
    chosen = candidate(0.9, mask=square(0, 0, 3))
    assert DISTRACTOR.advance(chosen, situation()) == (9,)
    assert DISTRACTOR.advance(chosen, situation(carry=tuple(range(1, 11)))) == (*range(2, 11), 9)
    assert DISTRACTOR.advance(candidate(0.9, -1.0, mask=square(0, 0, 3)), situation(carry=(4,))) == (4,)


def test_three_anchors_six_frames_apart_and_three_recent_frames_of_stride_five() -> None:
    frames = [Frame(t, note=(50.0, 1.0)) for t in range(1, 26)]
    memory = remember(DISTRACTOR, *frames)
    assert indices(memory.anchors) == [13, 19, 25]  # 1, 7, 13, 19, 25
    assert indices(memory.recent) == [16, 21, 25]  # kept 1, 6, 11, 16, 21; the newest always
    hidden = remember(DISTRACTOR, Frame(26, note=(0.0, 0.0)), Frame(27, note=(50.0, 0.0)), memory=memory)
    assert indices(hidden.recent) == [16, 21, 27], "no empty mask is kept"


# -- presence, stride ------------------------------------------------------------------------------------------------


def test_presence_times_quality() -> None:
    assert PRESENCE.note is not None
    decoded = [candidate(0.3, 1.0, 0), candidate(0.7, 1.0, 1)]
    assert PRESENCE.note(decoded[0], decoded, situation()) == (0.7,)
    # 2 sigmoid(0.03) - 1 = 0.01500: times 0.7 above 0.01, times 0.6 below
    frames = [Frame(1, occlusion_score=0.03, note=(0.7,)), Frame(2, occlusion_score=0.03, note=(0.6,))]
    away = Frame(3, occlusion_score=-2.0, note=(1.0,))
    assert indices(remember(PRESENCE, *frames, away).recent) == [1, 3]
    assert indices(remember(PRESENCE, *frames, away, Frame(4, note=(0.5,))).recent) == [1, 4]
    assert indices(remember(PRESENCE, *(Frame(t, note=(1.0,)) for t in range(30))).recent) == list(range(14, 30))


def test_every_fifth_good_frame_and_the_newest() -> None:
    bad = {6: Frame(6, predicted_iou=0.3), 7: Frame(7, occlusion_score=0.0)}
    frames = [bad.get(t, Frame(t)) for t in range(1, 20)]
    assert indices(remember(STRIDE, *frames).recent) == [1, 8, 13, 18, 19]
    assert indices(remember(STRIDE, *(Frame(-t) for t in range(1, 9))).recent) == [-1, -6, -8], "in reverse too"
