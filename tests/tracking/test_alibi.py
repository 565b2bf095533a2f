"""Following masks backwards: what is found, that the forward pass is not touched, and in every kind of pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, State, track
from support import assert_same, moving_disks

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.policies.numbers import not_visible
from sam2long.search.policy import Audit, Policy, Situation
from sam2long.search.selection import Candidate, Sighting

MASKS: frozenset[Any] = frozenset({"masks"})


class Watching:
    """An audit that suspects what is chosen on some frames, and refuses what it is told to."""

    def __init__(self, frames: Sequence[int], refuses: bool = False) -> None:
        self.frames, self.refuses = frames, refuses
        self.seen: list[tuple[int, Any, Sighting]] = []

    def suspects(self, candidate: Candidate, situation: Situation) -> bool:
        return situation.frame_idx in self.frames

    def judge(self, suspect: Candidate, situation: Situation) -> Candidate:
        assert suspect.evidence.sighting is not None
        self.seen.append((situation.frame_idx, situation.obj_id, suspect.evidence.sighting))
        return not_visible(suspect) if self.refuses else suspect

    def policy(self, nearest: int = 3) -> Policy:
        # The golden model is never certain; its tree's masks follow the disks all the same.
        audit = Audit(self.suspects, lambda frame: True, self.judge, nearest=nearest, reach=8)
        return Policy("watching", MASKS, audit=audit)


def start(predictor: SAM2LongVideoPredictor, clip: Clip, policy: Policy, num_objects: int = 2) -> State:
    state = predictor.init_state(clip[0], memory_tree=BRANCHING, policy=policy)
    for obj_idx in range(num_objects):
        predictor.add_new_mask(state, 0, obj_idx + 1, clip[1][obj_idx, 0])
    return state


def test_who_is_only_watched_is_tracked_as_ever(either: SAM2LongVideoPredictor, clip: Clip) -> None:
    watching = Watching(range(NUM_FRAMES))
    watched = track(either, start(either, clip, watching.policy()))
    assert {obj_id for _, obj_id, _ in watching.seen} == {1, 2}
    assert_same(watched, track(either, start(either, clip, Policy())))
    for frame_idx, _, sighting in watching.seen:
        assert sighting.frame_idx == max(frame_idx - 3, 0), "the prompted frame is certain however near"
        assert 0.0 <= sighting.overlap <= 1.0
        assert 0.0 <= sighting.continuity <= 1.0


def test_the_image_is_encoded_once_a_frame(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    encoded: list[int] = []
    handle = predictor.image_encoder.register_forward_hook(lambda *_: encoded.append(1))
    try:
        state = start(predictor, clip, Watching(range(NUM_FRAMES)).policy())
        before = len(encoded)
        track(predictor, state)
    finally:
        handle.remove()
    assert len(encoded) - before <= NUM_FRAMES


def test_a_mask_is_found_where_it_was(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """The golden model tracks large disks well enough to find them again three frames back."""
    watching = Watching([6])
    track(predictor, start(predictor, clip, watching.policy()))
    assert max(sighting.overlap for *_, sighting in watching.seen) > 0.5
    assert all(sighting.area > 0 for *_, sighting in watching.seen if sighting.overlap > 0.5)


def test_a_correction_is_certain_however_near(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    watching = Watching([7, 12])
    state = start(predictor, clip, watching.policy(nearest=4), num_objects=1)
    predictor.add_new_mask(state, 5, 1, clip[1][0, 5])
    track(predictor, state)
    assert {(frame_idx, sighting.frame_idx) for frame_idx, _, sighting in watching.seen} == {(7, 5), (12, 8)}


@pytest.mark.parametrize(("given_up", "followed"), [({}, 3), ({"lost": 1.1}, 1), ({"unseen": 1e9}, 1)])
def test_a_track_that_is_lost_or_out_of_sight_is_given_up(
    predictor: SAM2LongVideoPredictor, clip: Clip, given_up: dict[str, float], followed: int
) -> None:
    """Memories are encoded of the mask itself and of each frame of its way but the last, which nothing reads."""
    attended: list[int] = []
    encoded: list[int] = []

    def frames_attended(policy: Policy) -> np.ndarray:
        attended.clear()
        encoded.clear()
        state = predictor.init_state(clip[0], memory_tree=MemoryTreeConfig(uncertainty_threshold=0.0), policy=policy)
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
        track(predictor, state)
        return np.array([len(attended), len(encoded)])

    watching = Watching([8])
    policy = watching.policy()
    assert policy.audit is not None
    handle = predictor.memory_attention.register_forward_hook(lambda *_: attended.append(1))
    other = predictor.memory_encoder.register_forward_hook(lambda *_: encoded.append(1))
    try:
        extra = frames_attended(replace(policy, audit=replace(policy.audit, **given_up))) - frames_attended(Policy())
    finally:
        handle.remove()
        other.remove()
    assert extra.tolist() == [followed, followed]
    assert {sighting.frame_idx for *_, sighting in watching.seen} == {5}


def test_a_stream_is_followed_as_far_back_as_a_video(predictor: SAM2LongVideoPredictor) -> None:
    clip, landed = moving_disks(46), []
    for streams in (False, True):
        watching = Watching([45])
        audit = Audit(watching.suspects, lambda frame: frame.frame_idx <= 8, watching.judge)
        settings: dict[str, Any] = {"memory_tree": BRANCHING, "policy": Policy("far", MASKS, audit=audit)}
        state = predictor.init_stream(clip[0][0], **settings) if streams else predictor.init_state(clip[0], **settings)
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
        if streams:
            for frame in clip[0][1:]:
                predictor.track_frame(state, frame)
        else:
            track(predictor, state)
        landed.append({sighting.frame_idx for *_, sighting in watching.seen})
    assert landed == [{8}, {8}]


def test_frames_that_are_encoded_again_are_kept(predictor: SAM2LongVideoPredictor) -> None:
    """A pass that begins anew has no features of the frames before: each is encoded once more, not every frame."""
    clip, watching = moving_disks(36), Watching(range(26, 36))
    frames: list[int] = []

    def suspects(candidate: Candidate, situation: Situation) -> bool:
        frames.append(situation.frame_idx)
        return watching.suspects(candidate, situation)

    audit = Audit(suspects, lambda frame: frames[-1] - frame.frame_idx >= 18, watching.judge, reach=20)
    state = start(predictor, clip, Policy("far", MASKS, audit=audit), num_objects=1)
    track(predictor, state, max_frame_num_to_track=25)
    predictor.add_new_mask(state, 25, 2, clip[1][1, 25])
    encoded: list[int] = []
    handle = predictor.image_encoder.register_forward_hook(lambda *_: encoded.append(1))
    try:
        track(predictor, state, start_frame_idx=26, max_frame_num_to_track=8)
    finally:
        handle.remove()
    assert len({frame_idx for frame_idx, *_ in watching.seen}) >= 5
    assert len(encoded) <= 9 + 20


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_refused_is_absent_and_not_remembered(
    predictor: SAM2LongVideoPredictor, clip: Clip, reverse: bool
) -> None:
    watching = Watching([7], refuses=True)
    state = predictor.init_state(clip[0], memory_tree=BRANCHING, policy=watching.policy())
    prompted = NUM_FRAMES - 1 if reverse else 0
    predictor.add_new_mask(state, prompted, 1, clip[1][0, prompted])
    masks = track(predictor, state, reverse=reverse)
    assert not (masks[7] > 0).any()
    assert predictor.get_scores(state, 1)[7].occlusion_score <= 0
    assert {sighting.frame_idx for *_, sighting in watching.seen} == {10 if reverse else 4}
    assert (masks[6] > 0).any()
    assert (masks[8] > 0).any()


def test_streams_copies_and_saves_follow_the_same_way(predictor: SAM2LongVideoPredictor, path: Path) -> None:
    clip = moving_disks(18)  # as long as a stream is taken for

    def sightings(watching: Watching) -> list[tuple[int, Any, Sighting]]:
        return [(t, obj_id, replace(s, overlap=round(s.overlap, 3))) for t, obj_id, s in watching.seen]

    whole = Watching([9, 15])
    expected = track(predictor, start(predictor, clip, whole.policy(), num_objects=1))
    assert len(whole.seen) >= 2

    streamed = Watching([9, 15])
    stream = predictor.init_stream(clip[0][0], memory_tree=BRANCHING, policy=streamed.policy())
    predictor.add_new_mask(stream, 0, 1, clip[1][0, 0])
    answers = [a for frame in clip[0][1:6] for a in predictor.track_frame(stream, frame)]
    stream = copy.deepcopy(stream)  # its features are gone: the frames it holds are encoded again
    streamed = stream["sam2long"].policy.audit.judge.__self__
    answers += [a for frame in clip[0][6:] for a in predictor.track_frame(stream, frame)]
    answers += predictor.finish_stream(stream)
    assert_same({0: expected[0]} | {t: masks for t, _, masks in answers}, expected)
    assert sightings(streamed) == sightings(whole)

    saved = Watching([9, 15])
    state = start(predictor, clip, saved.policy(), num_objects=1)
    passing = predictor.propagate_in_video(state)
    first = {t: masks.clone() for t, _, masks in (next(passing) for _ in range(3))}
    predictor.save_state(state, path)
    passing.close()
    saved.seen.clear()
    loaded = predictor.load_state(path, clip[0], policy=saved.policy())
    rest = {t: masks.clone() for t, _, masks in predictor.resume_propagation(loaded)}
    assert_same(first | rest, expected)
    assert sightings(saved) == sightings(whole)
