"""Anchors that wait until their frame is decided (`Policy.anchors_wait`), on the real model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from interaction_calls import BRANCHING, Clip, start, track
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.policies import POLICIES
from sam2long.policies.combining import combined
from sam2long.search.policy import Memory, Policy
from sam2long.search.selection import choose_memory
from sam2long.tracking.object_track import ObjectTrack, Step


def anchor_the_newest(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
    """The two newest frames, which no bank of recent frames keeps besides."""
    last = memory.anchors[-1:]
    return Memory((*last, newest), choose_memory(memory.recent, last[0], config, capacity) if last else ())


AT_ONCE = Policy("newest", remember=anchor_the_newest)
WAITING = replace(AT_ONCE, anchors_wait=True)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[int], list[int], list[int]]]:
    """Per pathway and frame: the frames that are pending, those read as anchors, and those read as recent."""
    seen: list[tuple[set[int], list[int], list[int]]] = []
    step = ObjectTrack.step

    def watched(self: ObjectTrack, frame_idx: int) -> Step:
        taken = step(self, frame_idx)
        pending = {frame.frame_idx for frame in taken.tree.pending}
        for pathway in taken.pathways:
            anchors = [memory.frame_idx for _, memory in pathway.anchors]
            seen.append((pending, anchors, [memory.frame_idx for memory in pathway.remembered]))
        return taken

    monkeypatch.setattr(ObjectTrack, "step", watched)
    return seen


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("in_parts", [False, True], ids=["alone", "in parts"])
def test_an_anchor_is_read_as_one_once_its_frame_is_decided(
    reverse: bool,
    in_parts: bool,
    predictor: SAM2LongVideoPredictor,
    clip: Clip,
    read: list[tuple[set[int], list[int], list[int]]],
) -> None:
    waiting = combined("parts", POLICIES["forgetting"], WAITING) if in_parts else WAITING
    last = len(clip[0]) - 1
    for policy in (AT_ONCE, waiting):
        state = predictor.init_state(clip[0], memory_tree=BRANCHING, policy=policy)
        predictor.add_new_mask(state, last if reverse else 0, 1, clip[1][0, last if reverse else 0])
        read.clear()
        track(predictor, state, reverse=reverse)
        disputed = [set(anchors) & pending for pending, anchors, _ in read]
        assert any(disputed) == (policy is AT_ONCE)
    assert any(set(recent) & pending for pending, _, recent in read)
    assert any(anchors for _, anchors, _ in read), "frames are decided in the end"
    for _, _, recent in read:
        assert recent == sorted(set(recent), reverse=reverse), "in order, each once"


@pytest.mark.parametrize("settings", [{"max_pending_frames": 0}, {"memory_tree": replace(BRANCHING, num_pathways=1)}])
def test_where_nothing_is_pending_nothing_waits(
    settings: dict[str, Any], predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    at_once, waiting = (track(predictor, start(predictor, clip, policy=p, **settings)) for p in (AT_ONCE, WAITING))
    assert_same(waiting, at_once)


def test_waiting_changes_what_is_tracked(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    at_once, waiting = (track(predictor, start(predictor, clip, policy=policy)) for policy in (AT_ONCE, WAITING))
    assert any(not torch.equal(at_once[t], waiting[t]) for t in at_once)
