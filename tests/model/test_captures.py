"""Recordings: when a stage is recorded, what it reads and returns, and how long that lives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sam2long.model import captures
from sam2long.model.captures import Captures
from sam2long.model.graphs import RerunGraph

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
