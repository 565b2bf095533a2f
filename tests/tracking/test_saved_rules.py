"""States that are loaded with another policy than they were saved with: nothing of the other's is read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from saving_jobs import BRANCHY, Clip, State, take
from support import assert_same, moving_disks

from sam2long import SAM2LongVideoPredictor
from sam2long.policies import POLICIES
from sam2long.policies.combining import combined
from sam2long.policies.forgetting import DecayingScores
from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate
from sam2long.state.tracked_frames import TrackedFrame

# How many numbers each policy notes of a frame.
NOTES = {"identity": 5, "reappearance": 1, "distractor": 2, "motion": 1, "presence": 1, "alibi": 2, "doubt": 3}
NOTES |= {f"{name}-waits": NOTES[name] for name in ("reappearance", "distractor")}
CARRIES = {"identity", "distractor", "distractor-waits", "motion", "appearance", "alibi", "doubt", "scene-cut"}
NUM_YIELDED = 4


@pytest.fixture(scope="module")
def clip() -> Clip:
    return moving_disks(6)


def start(predictor: SAM2LongVideoPredictor, clip: Clip, policy: Policy | str) -> State:
    state = predictor.init_state(clip[0], memory_tree=BRANCHY, policy=policy)
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    return state


def save_open(predictor: SAM2LongVideoPredictor, clip: Clip, policy: Policy | str, path: Path) -> State:
    """A pass that yielded four frames, with others pending; saved, and left."""
    state = start(predictor, clip, policy)
    passing = predictor.propagate_in_video(state)
    take(passing, NUM_YIELDED)
    predictor.save_state(state, path)
    passing.close()  # type: ignore[attr-defined]
    return state


def tracked(state: State) -> dict[int, TrackedFrame]:
    frames: dict[int, TrackedFrame] = state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
    return frames


def notes_of(state: State) -> dict[int, int]:
    return {t: len(frame["scores"].note) for t, frame in tracked(state).items()}


@pytest.mark.parametrize("saved", POLICIES)
def test_every_policy_goes_on_from_every_other(
    saved: str, predictor: SAM2LongVideoPredictor, clip: Clip, path: Path
) -> None:
    pytest.importorskip("scipy")
    state = save_open(predictor, clip, saved, path)
    assert notes_of(state) == dict.fromkeys(range(1, NUM_YIELDED), NOTES.get(saved, 0))
    assert all((frame.carry is not None) is (saved in CARRIES) for frame in tracked(state).values())
    for name in POLICIES:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded = predictor.load_state(path, clip[0], policy=name)
        assert loaded["sam2long"].policy is POLICIES[name]
        assert notes_of(loaded) == dict.fromkeys(range(1, NUM_YIELDED), NOTES.get(name, 0) if name == saved else 0)
        if name != saved:
            assert all(frame.carry is None for frame in tracked(loaded).values())
        answers = take(predictor.resume_propagation(loaded, progress=False))
        assert [t for t, _, _ in answers] == list(range(NUM_YIELDED, 6))
        assert all(torch.isfinite(masks).all() for _, _, masks in answers)
        after = {t: count for t, count in notes_of(loaded).items() if t >= NUM_YIELDED}
        assert after == dict.fromkeys(range(NUM_YIELDED, 6), NOTES.get(name, 0))


@pytest.mark.parametrize(
    ("saved", "other"),
    [("reappearance", "paper"), ("distractor", "identity"), ("forgetting", "motion"), ("identity", "reappearance")],
)
def test_the_other_policy_begins_as_if_it_were_new(
    saved: str, other: str, predictor: SAM2LongVideoPredictor, path: Path
) -> None:
    """As if the frames yielded had been tracked without notes, and the pass went on from the last of them."""
    clip = moving_disks(12)
    state = save_open(predictor, clip, saved, path)
    loaded = predictor.load_state(path, clip[0], policy=other)
    assert loaded["sam2long"].open_pass.remaining == range(NUM_YIELDED, 12), "frames that were pending come again"
    assert loaded["sam2long"].left is None
    answers = take(predictor.resume_propagation(loaded, progress=False))

    for frame in tracked(state).values():
        frame.carry = None
        frame["scores"] = replace(frame["scores"], note=())
    state["sam2long"].policy, state["sam2long"].left = POLICIES[other], None
    anew = take(predictor.propagate_in_video(state, start_frame_idx=NUM_YIELDED))
    assert_same(answers, anew)
    assert predictor.get_scores(loaded, 1) == predictor.get_scores(state, 1)

    unlike = predictor.load_state(path, clip[0])
    before = take(predictor.resume_propagation(unlike, progress=False))
    assert not all(torch.equal(a, b) for (*_, a), (*_, b) in zip(answers, before, strict=True)), "else it shows little"


def test_a_pass_that_was_left_is_not_gone_on_with(predictor: SAM2LongVideoPredictor, clip: Clip, path: Path) -> None:
    state = start(predictor, clip, "distractor")
    take(predictor.propagate_in_video(state), NUM_YIELDED)
    predictor.save_state(state, path)
    assert predictor.load_state(path, clip[0])["sam2long"].left is not None
    loaded = predictor.load_state(path, clip[0], policy="motion")
    assert loaded["sam2long"].left is None
    answers = take(predictor.propagate_in_video(loaded, start_frame_idx=NUM_YIELDED))
    assert [t for t, _, _ in answers] == [4, 5]
    assert notes_of(loaded) == {1: 0, 2: 0, 3: 0, 4: 1, 5: 1}


def test_notes_of_packed_and_of_corrected_frames_are_left_behind_too(
    predictor: SAM2LongVideoPredictor, path: Path
) -> None:
    clip = moving_disks(40)
    state = start(predictor, clip, "distractor")
    take(predictor.propagate_in_video(state))
    predictor.add_new_points_or_box(state, 38, 1, points=[[3.0, 3.0]], labels=[0])
    predictor.propagate_in_video_preflight(state)
    predictor.save_state(state, path)
    for policy, count in ((None, 2), ("stride", 0)):
        loaded = predictor.load_state(path, clip[0], policy=policy)
        assert tracked(loaded)[1].packed() is not None
        predictor.clear_all_prompts_in_frame(loaded, 38, 1)
        assert notes_of(loaded) == dict.fromkeys(range(1, 40), count)


# -- policies of one name --------------------------------------------------------------------------------------------


def counted(chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> tuple[float, ...]:
    return (1.0, 2.0)


def advance_by(step: int, chosen: Candidate, situation: Situation) -> int:
    return step + (situation.carry if isinstance(situation.carry, int) else 0)


def mine(*parts: str | Policy) -> Policy:
    return combined("mine", *(POLICIES[part] if isinstance(part, str) else part for part in parts))


@pytest.mark.parametrize(
    ("saved", "given"),
    [
        (mine("motion", "appearance"), mine("scene-cut", "distractor")),
        (mine("motion", "forgetting"), mine("motion", Policy("forgetting", weigh=DecayingScores(0.5)))),
        (Policy("mine", note=counted), Policy("mine", advance=partial(advance_by, 2))),
        (Policy("mine", advance=partial(advance_by, 1)), Policy("mine", advance=partial(advance_by, 2))),
    ],
    ids=["parts", "numbers of a part", "functions", "numbers"],
)
def test_another_policy_of_the_same_name_is_told_of_and_begins_anew(
    saved: Policy, given: Policy, predictor: SAM2LongVideoPredictor, clip: Clip, path: Path
) -> None:
    state = save_open(predictor, clip, saved, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = predictor.load_state(path, clip[0], policy=saved)
    for t, frame in tracked(state).items():
        assert tracked(loaded)[t].carry == frame.carry
        assert tracked(loaded)[t]["scores"].note == frame["scores"].note
    with pytest.warns(UserWarning, match="was saved with another policy of the name 'mine'"):
        loaded = predictor.load_state(path, clip[0], policy=given)
    assert notes_of(loaded) == {1: 0, 2: 0, 3: 0}
    assert all(frame.carry is None for frame in tracked(loaded).values())
    assert [t for t, _, _ in take(predictor.resume_propagation(loaded, progress=False))] == [4, 5]
