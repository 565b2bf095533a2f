"""States that are loaded with another policy than they were saved with: nothing of the other's is read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

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
NOTES = {"identity": 4, "reappearance": 1, "distractor": 2, "motion": 1, "presence": 1, "alibi": 1, "doubt": 2}
CARRIES = {"identity", "distractor", "motion", "appearance", "alibi", "doubt", "scene-cut"}
NUM_YIELDED = 4


@pytest.fixture(scope="module")
def clip() -> Clip:
    return moving_disks(7)


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
        assert [t for t, _, _ in answers] == list(range(NUM_YIELDED, 7))
        assert all(torch.isfinite(masks).all() for _, _, masks in answers)
        after = {t: count for t, count in notes_of(loaded).items() if t >= NUM_YIELDED}
        assert after == dict.fromkeys(range(NUM_YIELDED, 7), NOTES.get(name, 0))
