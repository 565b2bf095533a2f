"""The compiled predictor: same results, and a bounded number of compiled shapes."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictorVOS
from support import build_golden, moving_disks, prompts

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor, SAM2LongVideoPredictorVOS
from sam2long.model import modules
from sam2long.model.stepwise import BATCH_SIZES

BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)


def track(predictor: SAM2LongVideoPredictor, clip: Any, kind: str) -> dict[int, torch.Tensor]:
    state = predictor.init_state(clip[0], memory_tree=BRANCHING)
    prompts(clip)[kind](predictor, state)
    return {t: masks.clone() for t, _, masks in predictor.propagate_in_video(state)}


@pytest.fixture
def dynamo_only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torch.compile that captures whole graphs for fixed shapes, as SAM 2 asks, but generates no code: seconds."""
    compiled = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, mode, **kwargs: functools.partial(compiled, backend="eager", **kwargs)(function),
    )
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


def test_padded_batches_agree_with_eager(dynamo_only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = moving_disks(8)
    compiled = build_golden(vos_optimized=True)
    assert type(compiled) is SAM2LongVideoPredictorVOS
    assert isinstance(compiled, SAM2VideoPredictorVOS)
    sizes: set[int] = set()
    compiled.sam_mask_decoder.register_forward_hook(lambda _module, _args, output: sizes.add(output[0].shape[0]))
    compiled.memory_encoder.register_forward_hook(
        lambda _module, _args, output: sizes.add(output["vision_features"].shape[0])
    )
    monkeypatch.setattr(modules, "_TOKENS_AT_ONCE_ON_CPU", 2 * 64)  # eager: two of these small images at once
    for kind in ("mask", "two objects"):
        expected, got = track(build_golden(), clip, kind), track(compiled, clip, kind)
        assert expected.keys() == got.keys()
        for t in expected:
            torch.testing.assert_close(got[t], expected[t], atol=1e-2, rtol=1e-3)
    assert sizes <= set(BATCH_SIZES)
    assert len(sizes) >= 3
    assert dynamo_only["stats"]["unique_graphs"] > 0
    assert not dynamo_only["graph_break"]


def test_from_sam2_of_a_compiled_predictor_is_compiled(dynamo_only: Any) -> None:
    theirs = build_golden(hydra_overrides_extra=["++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictorVOS"])
    ours = SAM2LongVideoPredictor.from_sam2(theirs, memory_tree=BRANCHING)
    assert type(ours) is SAM2LongVideoPredictorVOS
    assert ours.memory_tree == BRANCHING
    assert ours.sam_mask_decoder is theirs.sam_mask_decoder


def test_batch_sizes() -> None:
    compiled: Any = SimpleNamespace(reuses_buffers=SAM2LongVideoPredictorVOS.reuses_buffers, captures=None)
    padded = [SAM2LongVideoPredictorVOS.padded_batch_size(compiled, n) for n in (1, 2, 3, 4, 9, 15, 64, 65)]
    assert padded == [1, 3, 3, 5, 16, 16, 64, 65]
    assert len(BATCH_SIZES) < 8, "torch.compile raises after 8 shapes of a function"


@pytest.mark.slow
def test_inductor_agrees_with_eager() -> None:
    """Real code generation, minutes on two cores."""
    clip = moving_disks(8)
    expected, got = track(build_golden(), clip, "mask"), track(build_golden(vos_optimized=True), clip, "mask")
    for t in expected:
        torch.testing.assert_close(got[t], expected[t], atol=1e-2, rtol=1e-3)
        assert np.array_equal(got[t] > 0, expected[t] > 0)
