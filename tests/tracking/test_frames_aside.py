"""What a policy keeps aside goes wherever anchors go, on the real model; and nobody else pays for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, State, start, track
from safetensors import safe_open
from safetensors.torch import save_file
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.model.memory_bank import FrameMemory
from sam2long.policies import POLICIES
from sam2long.policies.combining import combined
from sam2long.policies.reappearance import AnchorsBeforeAbsence
from sam2long.search.policy import Memory, Note, Policy, Situation
from sam2long.search.selection import Candidate
from sam2long.tracking import streaming
from sam2long.tracking.propagation import Propagation

# The paper's bank keeps the newest frame alone.
FORGETFUL = replace(BRANCHING, iou_threshold=1.0)
GONE = 9
EXPECTED = [1, 2, 3]


def script(candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
    """The object is gone from frame `GONE` on."""
    score = 5.0 if situation.frame_idx < GONE else -5.0
    return [replace(candidate, occlusion_score=score) for candidate in candidates]


def note_script(chosen: Candidate, decoded: Sequence[Candidate], situation: Situation) -> Note:
    """Frames 1, 2 and 3 are good; and whose they are."""
    return 0.9 if situation.frame_idx <= EXPECTED[-1] else 0.1, float(situation.obj_id)


class Watching(AnchorsBeforeAbsence):
    """Writes down what object 1's pathways anchor after each frame."""

    anchored: dict[int, list[int]] = {}  # noqa: RUF012

    def __call__(self, memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
        after = super().__call__(memory, newest, config, capacity)
        if newest.note[1:] == (1.0,):
            self.anchored[newest.frame_idx] = [frame.frame_idx for frame in after.anchors]
        return after


FADING = Policy("fading", propose=script, note=note_script, remember=Watching())
# As one part of two, it sees its frames through views.
IN_PARTS = combined("parts", POLICIES["absence"], FADING)


@pytest.fixture(autouse=True)
def anchored() -> dict[int, list[int]]:
    Watching.anchored.clear()
    return Watching.anchored


def begin(predictor: SAM2LongVideoPredictor, clip: Clip, policy: Policy = FADING) -> State:
    return start(predictor, clip, memory_tree=FORGETFUL, policy=policy, max_pending_frames=1)


def tips(predictor: SAM2LongVideoPredictor, state: State) -> list[Any]:
    propagation = predictor.session(state).propagation
    assert isinstance(propagation, Propagation)
    tree = propagation.tracks[1].tree
    assert tree is not None
    return tree.tips


def up_to(predictor: SAM2LongVideoPredictor, state: State, num_frames: int) -> Any:
    generator = predictor.propagate_in_video(state)
    for _ in range(num_frames):
        next(generator)
    return generator


@pytest.mark.parametrize("policy", [FADING, IN_PARTS], ids=["alone", "in parts"])
def test_what_lies_aside_is_saved_copied_and_anchored(
    policy: Policy, predictor: SAM2LongVideoPredictor, clip: Clip, path: Path, anchored: dict[int, list[int]]
) -> None:
    expected = track(predictor, begin(predictor, clip, policy))
    assert [anchored[t] for t in (GONE - 1, GONE, NUM_FRAMES - 1)] == [[], EXPECTED, EXPECTED]

    state = begin(predictor, clip, policy)
    generator = up_to(predictor, state, 7)
    for tip in tips(predictor, state):
        assert [frame.frame_idx for frame in tip.aside] == EXPECTED
        assert all(isinstance(frame, FrameMemory) and frame.features is not None for frame in tip.aside)
    predictor.save_state(state, path)
    copied = copy.deepcopy(state)
    generator.close()

    loaded = predictor.load_state(path, clip[0], policy=policy)
    for resume in (lambda: predictor.resume_propagation(loaded), lambda: predictor.propagate_in_video(copied, 7)):
        anchored.clear()
        again = {t: masks.clone() for t, _, masks in resume()}
        assert_same(again, {t: expected[t] for t in range(7, NUM_FRAMES)})
        assert anchored[GONE] == EXPECTED


def test_a_tree_that_begins_anew_has_aside_what_the_past_held(
    predictor: SAM2LongVideoPredictor, clip: Clip, anchored: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another object is prompted, in a video and in a stream; the frames of a click are not among them."""
    state = begin(predictor, clip)
    up_to(predictor, state, 7).close()
    predictor.add_new_mask(state, 6, 2, clip[1][1, 6])
    track(predictor, state, start_frame_idx=7)
    assert anchored[GONE] == EXPECTED

    anchored.clear()
    corrected = begin(predictor, clip)
    up_to(predictor, corrected, 7).close()
    predictor.add_new_mask(corrected, 2, 1, clip[1][0, 2])
    track(predictor, corrected, start_frame_idx=3)
    assert anchored[GONE] == [1, 3], "frame 2 is a prompted one now"

    anchored.clear()
    monkeypatch.setattr(streaming, "NUM_RECENT", 2)  # frames that the stream's state still has
    stream = predictor.init_stream(clip[0][0], memory_tree=FORGETFUL, policy=FADING)
    predictor.add_new_mask(stream, 0, 1, clip[1][0, 0])
    for t in range(1, NUM_FRAMES):
        if t == 7:
            predictor.add_new_mask(stream, 6, 2, clip[1][1, 6])
        predictor.track_frame(stream, clip[0][t])
    assert anchored[GONE] == EXPECTED


def test_what_is_cleared_around_a_prompt_does_not_lie_aside(
    predictor: SAM2LongVideoPredictor, clip: Clip, anchored: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "clear_non_cond_mem_around_input", True)
    state = begin(predictor, clip)
    predictor.add_new_mask(state, 7, 1, clip[1][0, 7])
    masks = track(predictor, state)
    assert list(masks) == list(range(NUM_FRAMES))
    assert anchored[GONE] == []


@pytest.mark.parametrize("name", POLICIES)
def test_nothing_lies_aside_where_nothing_needs_to(name: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip, policy=name)
    generator = up_to(predictor, state, 8)
    for tip in tips(predictor, state):
        assert len(tip.aside) <= {"reappearance": 4, "identity": 4, "distractor": 7}.get(name.removesuffix("-waits"), 0)
    generator.close()


def test_a_saved_tree_of_an_older_version_is_loaded(
    predictor: SAM2LongVideoPredictor, clip: Clip, path: Path, anchored: dict[int, list[int]]
) -> None:
    """Its nodes know nothing aside: what they remember is looked through."""
    state = begin(predictor, clip)
    generator = up_to(predictor, state, 3)
    predictor.save_state(state, path)
    generator.close()
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    structure = json.loads(tensors["structure"].numpy().tobytes())
    assert [record.pop("aside") for record in structure["objects"] if "aside" in record]
    tensors["structure"] = torch.from_numpy(np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8).copy())
    save_file(tensors, path, metadata)
    loaded = predictor.load_state(path, clip[0], policy=FADING)
    for _ in predictor.resume_propagation(loaded):
        pass
    assert anchored[GONE] == [3], "the newest frame is all that was remembered"
