"""A predictor that tracks from recordings: to the bit what the eager one gives; and who may ask for it."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from support import PoisonedCaptures, build_golden, captured_golden, moving_disks

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.bench.speed_models import select_distinct
from sam2long.bench.synthetic_settings import remember_all
from sam2long.model import image_features
from sam2long.model.graphs import RerunGraph
from sam2long.model.memory_bank import FrameMemory

CPU = torch.device("cpu")


def track(predictor: SAM2LongVideoPredictor, num_objects: int, *, num_frames: int = 14, **settings: Any) -> Any:
    clip = moving_disks(num_frames)
    state = predictor.init_state(clip[0], **settings)
    for obj_id in range(num_objects):
        predictor.add_new_mask(state, 0, obj_id, clip[1][obj_id, 0])
    masks = [(t, logits.clone()) for t, _, logits in predictor.propagate_in_video(state)]
    return masks, [predictor.get_scores(state, obj_id) for obj_id in range(num_objects)]


SETTINGS: dict[str, MemoryTreeConfig] = {
    "shared": MemoryTreeConfig(uncertainty_threshold=0.0),
    "branching": MemoryTreeConfig(uncertainty_threshold=100.0),
    "no modulation": MemoryTreeConfig(uncertainty_threshold=100.0, modulation=(1.0, 1.0)),
    "merging": MemoryTreeConfig(uncertainty_threshold=100.0, merge_iou=0.6, merge_frames=2),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_one_object_is_tracked_to_the_bit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_features, "works_behind_the_host", lambda device: True)
    eager, captured = build_golden(), captured_golden()
    expected, expected_scores = track(eager, 1, memory_tree=SETTINGS[kind])
    for _ in range(2):  # the second video finds the recordings of the first
        masks, scores = track(captured, 1, memory_tree=SETTINGS[kind])
        assert [t for t, _ in masks] == [t for t, _ in expected]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(masks, expected, strict=True))
        assert scores == expected_scores
    assert captured.captures is not None
    assert captured.captures.num_replays > 60


def test_autocast_is_tracked_to_the_bit() -> None:
    """Weights are cast before; encodings have the type that they got when the video was prompted."""
    eager, captured = build_golden(), captured_golden()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, expected_scores = track(eager, 1, memory_tree=SETTINGS["shared"])
        masks, scores = track(captured, 1, memory_tree=SETTINGS["shared"])
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(masks, expected, strict=True))
    assert scores == expected_scores


@pytest.mark.parametrize("kind", SETTINGS)
def test_several_objects_are_tracked_alike(kind: str) -> None:
    """Pathways whose memories differ in length are decoded apart: the same but for rounding."""
    expected, expected_scores = track(build_golden(), 2, memory_tree=SETTINGS[kind])
    masks, scores = track(captured_golden(), 2, memory_tree=SETTINGS[kind])
    for (t, a), (u, b) in zip(masks, expected, strict=True):
        assert t == u
        torch.testing.assert_close(a, b, atol=2e-2, rtol=1e-3)
    for ours, theirs in zip(scores, expected_scores, strict=True):
        assert [s.distinct_pathways for s in ours.values()] == [s.distinct_pathways for s in theirs.values()]


def test_nothing_of_a_video_or_a_predictor_is_held() -> None:
    predictor = captured_golden()
    track(predictor, 1)
    gc.collect()
    held = [weakref.ref(predictor), weakref.ref(predictor.captures)]
    num_large = sum(type(thing) is FrameMemory for thing in gc.get_objects())
    track(predictor, 1)
    assert sum(type(thing) is FrameMemory for thing in gc.get_objects()) == num_large
    gc.disable()
    try:
        del predictor
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()


def test_rows_are_padded_to_few_sizes() -> None:
    rows: set[int] = set()

    class Watched(PoisonedCaptures):
        def run(self, stage: str, key: Any, modules: Any, function: Any, inputs: Any) -> Any:
            if stage == "memory encoder":
                rows.add(inputs[1].shape[0])
            return super().run(stage, key, modules, function, inputs)

    predictor = build_golden()
    predictor.use_captures(Watched(RerunGraph, CPU, uses_before_capture=0))
    predictor.select, predictor.choose_memory = select_distinct, remember_all
    track(predictor, 2, memory_tree=MemoryTreeConfig())
    assert rows == {3, 8}, "two objects, three pathways each: 2 and 6 rows"


def test_prompts_and_sam2_itself_replay_nothing() -> None:
    predictor = captured_golden()
    clip = moving_disks(6)
    state = predictor.init_state(clip[0], memory_tree=MemoryTreeConfig(num_pathways=1))
    before = predictor.captures.num_replays if predictor.captures else 0
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    assert len(list(predictor.propagate_in_video(state))) == 6
    predictor.add_new_points_or_box(state, 3, 1, points=[[64, 48]], labels=[1])
    assert predictor.captures is not None
    assert predictor.captures.num_replays == before


def test_weights_that_change_in_place_are_read() -> None:
    predictor, eager = captured_golden(), build_golden()
    track(predictor, 1)
    for one in (predictor, eager):
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.mul_(0.97)
    for (_, a), (_, b) in zip(track(predictor, 1)[0], track(eager, 1)[0], strict=True):
        assert torch.equal(a, b)


def test_weights_that_move_are_recorded_anew() -> None:
    predictor, eager = captured_golden(), build_golden()
    track(predictor, 1)
    for parameter in predictor.parameters():
        parameter.data = 0.97 * parameter.data
    for parameter in eager.parameters():
        parameter.data = 0.97 * parameter.data
    for (_, a), (_, b) in zip(track(predictor, 1)[0], track(eager, 1)[0], strict=True):
        assert torch.equal(a, b)


def test_recordings_are_their_predictors_own() -> None:
    first = captured_golden()
    track(first, 1)
    second = SAM2LongVideoPredictor.from_sam2(first)
    assert second.captures is None
    assert first.captures is not None
    assert copy.deepcopy(first).captures is None
    held = len(first.captures)
    track(second, 1)
    assert len(first.captures) == held


# -- who may ask for them --------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of machines without a GPU")
def test_a_cpu_is_refused_before_anything_is_built() -> None:
    message = "capture=True needs a CUDA device, and the model is on cpu: move it, or drop capture"
    with pytest.raises(ValueError, match=message):
        build_golden(capture=True)
    with pytest.raises(ValueError, match=message):
        SAM2LongVideoPredictor.from_sam2(build_golden(), capture=True)
    predictor = build_golden(hydra_overrides_extra=["+model.capture=true"])
    with pytest.raises(ValueError, match=message):
        predictor.init_state(moving_disks(3)[0])
    with pytest.raises(ValueError, match=message):
        predictor.init_stream(moving_disks(3)[0][0])


@pytest.mark.parametrize(("value", "message"), [(3, "must be None or True, got 3"), ("yes", "got 'yes'")])
def test_bad_values_are_named(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SAM2LongVideoPredictor.from_sam2(build_golden(), capture=value)


def test_a_compiled_predictor_has_recordings_of_its_own() -> None:
    with pytest.raises(ValueError, match="a compiled predictor has recordings of its own"):
        build_golden(vos_optimized=True, hydra_overrides_extra=["+model.capture=true"])
    with pytest.raises(ValueError, match="a compiled predictor has recordings of its own"):
        build_golden(hydra_overrides_extra=["+model.capture=true", "++model.compile_image_encoder=true"])


def test_frames_encoded_ahead_would_run_beside_a_recording() -> None:
    with pytest.raises(ValueError, match="encode_ahead=2 with capture=True"):
        build_golden(hydra_overrides_extra=["+model.capture=true", "+model.encode_ahead=2"])
