"""Policies that choose memories: their rules on literal numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from literal_frames import CONFIG, Frame, candidate, indices, remember, situation, square

from sam2long.policies import POLICIES
from sam2long.policies.distractor import largest_component
from sam2long.policies.reappearance import AnchorsBeforeAbsence
from sam2long.search.policy import Memory
from sam2long.search.selection import choose_memory

REAPPEARANCE, DISTRACTOR = POLICIES["reappearance"], POLICIES["distractor"]
ONCE = replace(REAPPEARANCE, remember=AnchorsBeforeAbsence(again=False))
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
    once = remember(ONCE, *frames, gone(8), gone(9), Frame(10, note=(0.8,)), gone(11))
    assert indices(once.anchors) == [2, 4, 5, 7]
    assert indices(once.recent) == [1, 3, 6, 10, 11]


def test_an_absence_without_good_frames_keeps_what_there_is() -> None:
    first = (Frame(1, note=(0.3,)), gone(2))
    memory = remember(REAPPEARANCE, *first)
    assert memory.anchors == ()
    assert indices(memory.recent) == [1, 2]
    good = [Frame(t, note=(0.9,)) for t in (3, 4)]
    assert indices(remember(REAPPEARANCE, *good, gone(5), memory=memory).anchors) == [3, 4]
    assert remember(ONCE, *first, *good, gone(5)).anchors == (), "the first absence decides"


@pytest.mark.parametrize("length", [0, 1, 12, 14, 20, 200])
def test_the_walk_back_is_over_all_frames_however_long_the_object_fades(length: int) -> None:
    fading = [Frame(t, 0.6, 1.0, (0.35,)) for t in range(6, 6 + length)]
    memory = remember(REAPPEARANCE, *good_frames(5), *fading)
    assert (memory.anchors, indices(memory.aside)) == ((), [2, 3, 4, 5])
    memory = remember(REAPPEARANCE, gone(6 + length), memory=memory)
    assert indices(memory.anchors) == [2, 3, 4, 5]
    assert not {2, 3, 4, 5} & set(indices(memory.recent)), "a frame is read once"


def test_good_frames_that_the_papers_bank_drops_are_anchored() -> None:
    untrusted = [Frame(t, 0.2, 6.0, (0.9,)) for t in range(1, 5)]  # the best of the frame's masks had 0.95
    memory = remember(REAPPEARANCE, *untrusted)
    assert indices(memory.recent) == [4]
    assert indices(remember(REAPPEARANCE, gone(5), memory=memory).anchors) == [1, 2, 3, 4]
    memory = Memory()
    for frame in (*good_frames(6), gone(7)):
        memory = REAPPEARANCE.remember(memory, frame, CONFIG, 3)
    assert indices(memory.anchors) == [3, 4, 5, 6]


def test_anchors_are_renewed_past_a_prompted_frame_which_no_policy_sees() -> None:
    memory = remember(REAPPEARANCE, *good_frames(5), gone(6), Frame(7, note=(0.9,)))
    # Frame 8 is prompted; with `clear_non_cond_mem_around_input` nothing recent is left after it.
    for recent in (memory.recent, ()):
        assert indices(remember(REAPPEARANCE, gone(9), memory=memory._replace(recent=recent)).anchors) == [3, 4, 5, 7]


def test_what_another_policy_remembered_is_looked_through_once() -> None:
    frames = tuple(good_frames(7))
    memory = Memory(frames[1:3], frames[3:])  # nothing lies aside
    assert indices(remember(REAPPEARANCE, gone(8), memory=memory).anchors) == [4, 5, 6, 7]
    shown = tuple(Frame(t, note=(50.0, 0.0)) for t in (1, 6, 9))
    assert indices(remember(DISTRACTOR, Frame(10, note=(50.0, 0.0)), memory=Memory((), shown)).recent) == [1, 6, 10]


def good_frames(last: int) -> list[Frame]:
    return [Frame(t, note=(0.9,)) for t in range(1, last + 1)]


def gone(frame_idx: int) -> Frame:
    return Frame(frame_idx, occlusion_score=-1.0, note=(0.0, 0.0))


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


def test_the_last_look_is_kept_while_the_object_is_gone() -> None:
    frames = [Frame(t, note=(10.0, 0.0)) for t in (1, 2, 3)]
    memory = remember(DISTRACTOR, *frames, gone(4))
    assert indices(memory.recent) == [1, 3]
    memory = remember(DISTRACTOR, *(gone(t) for t in range(5, 40)), memory=memory)
    assert indices(memory.recent) == [1, 3]
    assert indices(remember(DISTRACTOR, Frame(40, note=(10.0, 0.0)), memory=memory).recent) == [1, 40]
    assert indices(remember(DISTRACTOR, gone(1), gone(2)).recent) == [2], "nothing was seen yet"


def test_a_frame_is_read_once_but_for_the_newest() -> None:
    def frame(t: int, *, anchored: bool = False) -> Frame:
        return Frame(t, note=(10.0, float(anchored)))

    memory = remember(DISTRACTOR, frame(1), frame(6), frame(11, anchored=True))
    assert (indices(memory.anchors), indices(memory.recent)) == ([11], [1, 6, 11])
    assert indices(remember(DISTRACTOR, gone(12), memory=memory).recent) == [1, 6]
    memory = remember(DISTRACTOR, frame(12), frame(16), frame(17), memory=memory)
    assert indices(memory.recent) == [6, 16, 17], "6 takes the place of 11"
    memory = remember(DISTRACTOR, *(frame(t, anchored=True) for t in (22, 28, 34)), memory=memory)
    assert (indices(memory.anchors), indices(memory.recent)) == ([22, 28, 34], [11, 16, 34]), "11 is none any more"


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.sampled_from([1, -1]))
def test_distractor_memory_against_the_whole_past(past: list[tuple[bool, bool]], direction: int) -> None:
    memory, anchors, apart, last = Memory[Frame](), list[int](), list[int](), list[int]()
    for i, (shows, told_apart) in enumerate(past):
        t = 100 + direction * i
        memory = remember(DISTRACTOR, Frame(t, note=(float(shows), float(shows and told_apart))), memory=memory)
        if shows and told_apart and (not anchors or abs(t - anchors[-1]) > 5):
            anchors.append(t)
        if shows:
            last = [t]
            if not apart or abs(t - apart[-1]) >= 5:
                apart.append(t)
        read = [f for f in (*apart, *last) if f == t or f not in anchors[-3:]]
        assert indices(memory.anchors) == anchors[-3:]
        assert indices(memory.recent) == (list(dict.fromkeys(read))[-3:] or [t])
        assert len(memory.aside) <= 7


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
    assert indices(remember(PRESENCE, *(Frame(t, note=(1.0,)) for t in range(30))).recent) == list(range(15, 30))


@pytest.mark.parametrize("name", ["presence", "motion", "reappearance", "memory-alone"])
@given(good=st.lists(st.booleans(), max_size=40), capacity=st.integers(0, 15))
def test_a_rule_that_never_binds_keeps_what_the_paper_keeps(name: str, good: list[bool], capacity: int) -> None:
    memory, kept = Memory[Frame](), tuple[Frame, ...]()
    for t, is_good in enumerate(good):
        frame = Frame(t, note=(0.9,)) if is_good else Frame(t, 0.001, note=(0.001,))
        memory = POLICIES[name].remember(memory, frame, CONFIG, capacity)
        kept = choose_memory(kept, frame, CONFIG, capacity)
        assert memory.recent == kept


def test_capacity_counts_the_newest_frame_if_it_is_kept() -> None:
    for name, note in (("presence", (0.9,)), ("motion", (-1.0,)), ("stride", ())):
        memory = remember(POLICIES[name], *(Frame(5 * t, note=note) for t in range(20)))
        assert indices(memory.recent) == list(range(25, 100, 5)), "15"
        away = remember(POLICIES[name], Frame(100, 0.9, -1.0, note), memory=memory)
        assert indices(away.recent) == list(range(25, 105, 5)), "15, and the newest"
    near = remember(STRIDE, *(Frame(5 * t) for t in range(20)), Frame(97))
    assert indices(near.recent) == [*range(25, 100, 5), 97], "not far enough to be kept"


def test_every_fifth_good_frame_and_the_newest() -> None:
    bad = {6: Frame(6, predicted_iou=0.3), 7: Frame(7, occlusion_score=0.0)}
    frames = [bad.get(t, Frame(t)) for t in range(1, 20)]
    assert indices(remember(STRIDE, *frames).recent) == [1, 8, 13, 18, 19]
    assert indices(remember(STRIDE, *(Frame(-t) for t in range(1, 9))).recent) == [-1, -6, -8], "in reverse too"
