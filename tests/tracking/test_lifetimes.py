"""Hypotheses and passes let go of what nobody reads any more."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from support import moving_disks, prompts

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.bench.speed_models import select_distinct
from sam2long.model.hypotheses import Hypothesis
from sam2long.state.session import SESSION_KEY
from sam2long.state.tracked_frames import NUM_RECENT
from sam2long.tracking.waiting import NUM_ON_DEVICE

Clip = tuple[np.ndarray, np.ndarray]
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)
LENGTH = NUM_RECENT + 20


@pytest.fixture(scope="module")
def long_clip() -> Clip:
    return moving_disks(LENGTH)


def hypotheses() -> list[Hypothesis]:
    return [thing for thing in gc.get_objects() if type(thing) is Hypothesis]


def test_dead_hypotheses_are_freed_and_long_waits_leave_the_device(
    predictor: SAM2LongVideoPredictor, long_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "select", select_distinct)  # no hypothesis ever wins
    gc.collect()
    before = {id(thing) for thing in hypotheses()}
    state = predictor.init_stream(long_clip[0][0], memory_tree=BRANCHING, max_pending_frames=16)
    prompts(long_clip)["point"](predictor, state)
    longest = 0
    gc.disable()
    try:
        for frame in long_clip[0][1:30]:
            predictor.track_frame(state, frame)
            pending = list(state[SESSION_KEY].propagation.pending(1).values())
            alive = {id(node.output) for layer in pending for node in layer.nodes}
            extra = {id(thing) for thing in hypotheses()} - before - alive
            assert len(extra) <= 1, "the committed tip may stand in all slots; nothing else is kept"
            assert all(1 <= len(layer.nodes) <= 3 for layer in pending)
            long_waits = [node.output for layer in pending[: -NUM_ON_DEVICE - 1] for node in layer.nodes]
            assert all(output is not None and output.memory.features is None for output in long_waits)
            longest = max(longest, len(pending))
            del pending, long_waits
    finally:
        gc.enable()
    assert longest == 16


@pytest.mark.parametrize("end", ["finished", "closed early", "stream"])
def test_dropping_the_state_frees_its_tensors_at_once(
    end: str, predictor: SAM2LongVideoPredictor, long_clip: Clip
) -> None:
    frames = long_clip[0][:6]
    start = predictor.init_stream(frames[0]) if end == "stream" else predictor.init_state(frames)
    state: dict[str, Any] = start
    del start
    prompts(long_clip)["point"](predictor, state)
    gc.collect()
    gc.disable()
    try:
        if end == "stream":
            for frame in frames[1:]:
                predictor.track_frame(state, frame)
            predictor.finish_stream(state)
        else:
            passing = predictor.propagate_in_video(state)
            for t, _, _ in passing:
                if end == "closed early" and t == 3:
                    break
            del passing
        tracked = state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
        tensors = [weakref.ref(tracked[t]["maskmem_features"]) for t in tracked]
        assert tensors
        del state, tracked
        assert all(tensor() is None for tensor in tensors)
    finally:
        gc.enable()
