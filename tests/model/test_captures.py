"""Recordings: when a stage is recorded, what it reads and returns, and how long that lives."""

from __future__ import annotations

import copy
import gc
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support import PoisonedCaptures, build_golden, captured_golden, moving_disks
from torch import Tensor, nn

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.bench.speed_models import select_distinct
from sam2long.bench.synthetic_settings import remember_all
from sam2long.model import captures, image_features
from sam2long.model.captures import Captures
from sam2long.model.graphs import RerunGraph
from sam2long.model.memory_bank import FrameMemory

CPU = torch.device("cpu")


def double(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [2 * tensors[0]]


def run(
    stage: Captures, value: Tensor, function: Any = double, modules: Sequence[nn.Module] = (), key: Any = None
) -> tuple[Tensor, bool]:
    (result,), static = stage.run("stage", key, modules, function, [value])
    return result, static


def test_a_size_is_recorded_when_it_comes_back() -> None:
    stage = Captures(RerunGraph, CPU)
    for length in (2, 3):
        for uses in range(3):
            value = torch.full((length,), float(uses))
            result, static = run(stage, value)
            assert torch.equal(result, 2 * value)
            assert static == (uses > 0)
    assert (len(stage), stage.num_replays) == (2, 4)


def test_keys_shapes_types_weights_and_autocast_have_recordings_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, linear = Captures(RerunGraph, CPU, uses_before_capture=0), nn.Linear(2, 2)
    one = torch.ones(1, 2)
    run(stage, one, modules=[linear])
    run(stage, one, modules=[linear])
    assert len(stage) == 1
    run(stage, one.double(), modules=[linear])
    run(stage, one, modules=[linear], key="other")
    with monkeypatch.context() as patch:
        patch.setattr(captures, "autocast_of", lambda device: (True, torch.bfloat16))
        run(stage, one, modules=[linear])
    assert len(stage) == 4


@pytest.mark.parametrize("kind", ["moved", "changed"])
def test_recordings_do_not_outlive_the_weights_they_read(kind: str) -> None:
    stage, linear = Captures(RerunGraph, CPU, uses_before_capture=0), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    stage.follow(linear)
    run(stage, torch.ones(1, 2), modules=[linear])
    stage.follow(linear)
    assert len(stage) == 1
    bias = linear[1].bias
    if kind == "moved":
        bias.data = bias.data.clone()
    else:
        with torch.no_grad():
            bias.add_(1.0)
    stage.follow(linear)
    assert len(stage) == 0


def test_recordings_of_a_stage_share_their_inputs() -> None:
    stage = Captures(RerunGraph, CPU, uses_before_capture=0)
    inputs = [torch.ones(3), torch.zeros(2, 2), torch.zeros(2, 2).T]
    for key in ("one", "other"):
        stage.run("stage", key, [], lambda tensors: [tensor + 1 for tensor in tensors], inputs)
    first, second = stage._recordings.values()
    assert all(a is b for a, b in zip(first.inputs, second.inputs, strict=True))
    assert first.inputs[1] is not first.inputs[2]


def test_weights_are_cast_once_for_autocast() -> None:
    linear, seen = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), []

    def function(tensors: Sequence[Tensor]) -> list[Tensor]:
        seen.append((linear[0].weight.dtype, linear[1].weight.dtype))
        return [linear(tensors[0])]

    stage, value = Captures(RerunGraph, CPU, uses_before_capture=0), torch.rand(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = linear(value)
        for key in ("one", "other"):
            result, static = run(stage, value, function, [linear], key)
            assert static
            assert torch.equal(result, expected)
    assert set(seen) == {(torch.bfloat16, torch.float32)}
    assert linear[0].weight.dtype == torch.float32
    assert len(stage._half_weights._copies) == 2
    seen.clear()
    run(stage, value, function, [linear])
    assert set(seen) == {(torch.float32, torch.float32)}


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


def test_results_are_overwritten_by_the_next_run() -> None:
    stage = Captures(RerunGraph, CPU, uses_before_capture=0)
    first, _ = run(stage, torch.ones(2))
    second, _ = run(stage, torch.zeros(2))
    assert first is second
    assert torch.equal(first, torch.zeros(2))


def test_the_recording_used_least_recently_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "MAX_GRAPHS", 2)
    recorded: list[int] = []

    def function(tensors: Sequence[Tensor]) -> list[Tensor]:
        recorded.append(len(tensors[0]))
        return [tensors[0] + 1]

    stage = Captures(RerunGraph, CPU, uses_before_capture=0)
    for length in (1, 2, 1, 3, 1, 2):
        run(stage, torch.zeros(length), function)
    warm_up_capture_replay, replay = 3, 1
    assert [recorded.count(length) for length in (1, 2, 3)] == [
        warm_up_capture_replay + 2 * replay,
        2 * warm_up_capture_replay,
        warm_up_capture_replay,
    ]
    assert len(stage) == 2


def test_what_cannot_be_recorded_runs_eagerly_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(RerunGraph):
        def capture(self, run: Any) -> Any:
            raise RuntimeError("operation not permitted when stream is capturing\nand so on")

    stage = Captures(Refusing, CPU, uses_before_capture=0)
    with caplog.at_level(logging.WARNING):
        for value in (torch.ones(2), torch.ones(3), torch.ones(2)):
            result, static = run(stage, value)
            assert torch.equal(result, 2 * value)
            assert not static
    assert [record.message for record in caplog.records] == [
        "the stage 'stage' runs eagerly, it is not captured: operation not permitted when stream is capturing"
    ]


def test_a_forward_hook_is_heard_while_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    stage, module = Captures(RerunGraph, CPU, uses_before_capture=0), nn.Sequential(nn.Identity())

    def function(tensors: Sequence[Tensor]) -> list[Tensor]:
        return [module(tensors[0])]

    heard: list[int] = []
    assert run(stage, torch.ones(2), function, [module])[1]
    hook = module[0].register_forward_hook(lambda *_: heard.append(1))  # type: ignore[func-returns-value]
    with caplog.at_level(logging.WARNING):
        assert not run(stage, torch.ones(2), function, [module])[1]
        assert not run(stage, torch.ones(2), function, [module])[1]
    assert heard == [1, 1]
    assert len(caplog.records) == 1
    assert "Identity has a forward hook" in caplog.text
    hook.remove()
    assert run(stage, torch.ones(2), function, [module])[1]


# -- a predictor that tracks from recordings -------------------------------------------------------------------------


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
