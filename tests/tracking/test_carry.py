"""What a pathway carries on where a pass begins: all where its track goes on, else what holds `across` a break.

A policy carries the frame it was on last, and notes it: so each note says from where its frame was handed what.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from interaction_calls import BRANCHING, NUM_FRAMES, Clip, State, track

from sam2long import SAM2LongVideoPredictor
from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate

NOTHING, BROKEN = -1.0, 1000.0


def advance_frame(chosen: Candidate, situation: Situation) -> Hashable:
    return situation.frame_idx


def note_carry(chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> tuple[float, ...]:
    return (NOTHING if situation.carry is None else float(str(situation.carry)),)


def break_off(carry: Hashable) -> Hashable:
    return BROKEN + float(str(carry))


CHAIN = Policy("chain", note=note_carry, advance=advance_frame)
ACROSS = Policy("across", note=note_carry, advance=advance_frame, across=break_off)


def start(predictor: SAM2LongVideoPredictor, clip: Clip, policy: Policy = CHAIN, **settings: Any) -> State:
    state = predictor.init_state(clip[0], memory_tree=BRANCHING, policy=policy, **settings)
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    return state


def carried(predictor: SAM2LongVideoPredictor, state: State) -> dict[int, float]:
    return {t: scores.note[0] for t, scores in predictor.get_scores(state, 1).items()}


def one_pass(first: int = 1) -> dict[int, float]:
    """Every frame is handed the carry of the frame before; the first after a prompt none."""
    return {t: NOTHING if t == 1 else t - 1.0 for t in range(first, NUM_FRAMES)}


def test_a_track_that_goes_on_is_handed_all(predictor: SAM2LongVideoPredictor, clip: Clip, path: Path) -> None:
    whole = start(predictor, clip)
    track(predictor, whole)
    assert carried(predictor, whole) == one_pass()
    track(predictor, whole, start_frame_idx=6)  # over frames that were tracked, the same way
    assert carried(predictor, whole) == one_pass()

    single = start(predictor, clip)
    for t in range(NUM_FRAMES):
        track(predictor, single, start_frame_idx=t, max_frame_num_to_track=0)
    assert carried(predictor, single) == one_pass()

    left = start(predictor, clip)
    passing = predictor.propagate_in_video(left)
    for _ in range(6):
        next(passing)
    predictor.save_state(left, path)
    passing.close()
    predictor.add_new_mask(left, 5, 2, clip[1][1, 5])  # another object begins new trees
    track(predictor, left, start_frame_idx=6)
    assert carried(predictor, left) == one_pass()

    for resumed in (True, False):
        loaded = predictor.load_state(path, clip[0], policy=CHAIN)
        if resumed:
            list(predictor.resume_propagation(loaded))
        else:
            track(predictor, loaded, start_frame_idx=6)
        assert carried(predictor, loaded) == one_pass()


def test_beyond_a_gap_and_the_other_way_only_what_holds_is_handed_on(
    predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    for policy in (CHAIN, ACROSS):
        gap = start(predictor, clip, policy)
        track(predictor, gap, max_frame_num_to_track=4)
        track(predictor, gap, start_frame_idx=8)
        after_gap = NOTHING if policy is CHAIN else BROKEN + 4
        assert carried(predictor, gap) == {t: f for t, f in one_pass().items() if t < 5} | {8: after_gap} | one_pass(9)

        turned = start(predictor, clip, policy)
        track(predictor, turned)
        track(predictor, turned, start_frame_idx=6, reverse=True, max_frame_num_to_track=3)
        way_back = {6: NOTHING if policy is CHAIN else BROKEN + 7, 5: 6.0, 4: 5.0, 3: 4.0}
        assert carried(predictor, turned) == one_pass() | way_back
        track(predictor, turned, start_frame_idx=2, reverse=True, max_frame_num_to_track=0)
        assert carried(predictor, turned)[2] == 3.0, "on its way back it goes on"


def test_behind_a_correction_nothing_is_handed_on(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    for policy in (CHAIN, ACROSS):
        state = start(predictor, clip, policy)
        track(predictor, state)
        predictor.add_new_mask(state, 6, 1, clip[1][0, 6])
        track(predictor, state, start_frame_idx=6)
        assert carried(predictor, state)[7] == NOTHING
        both = predictor.init_state(clip[0], memory_tree=BRANCHING, policy=policy)
        predictor.add_new_mask(both, 6, 1, clip[1][0, 6])
        track(predictor, both, start_frame_idx=6, direction="both")
        assert carried(predictor, both) == {t: t - 1.0 for t in range(8, NUM_FRAMES)} | {
            t: t + 1.0 for t in range(5)
        } | {5: NOTHING, 7: NOTHING}


def test_a_correction_ends_what_was_carried_behind_it(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """Also where the track goes on from a later frame: what that one learned, it learned of what was corrected."""
    stream = predictor.init_stream(clip[0][0], memory_tree=BRANCHING, policy=CHAIN)
    predictor.add_new_mask(stream, 0, 1, clip[1][0, 0])
    for frame in clip[0][1:10]:
        predictor.track_frame(stream, frame)
    predictor.add_new_mask(stream, 6, 1, clip[1][0, 6])
    predictor.track_frame(stream, clip[0][10])
    predictor.finish_stream(stream)
    assert carried(predictor, stream)[10] == NOTHING

    state = start(predictor, clip)
    track(predictor, state, max_frame_num_to_track=9)
    before = carried(predictor, state)
    predictor.add_new_mask(state, 6, 1, clip[1][0, 6])
    track(predictor, state, start_frame_idx=10, max_frame_num_to_track=1)
    assert carried(predictor, state)[10] == NOTHING
    assert {t: note for t, note in carried(predictor, state).items() if t < 6} == {t: before[t] for t in range(1, 6)}
    predictor.add_new_mask(state, 10, 2, clip[1][1, 10])  # another object's prompt
    track(predictor, state, start_frame_idx=11, max_frame_num_to_track=1)
    assert carried(predictor, state)[11] == 10.0
