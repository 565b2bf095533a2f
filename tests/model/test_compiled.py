"""The compiled predictor: same results, and a bounded number of compiled shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictorVOS
from support import build_golden, moving_disks, prompts
from torch.utils._pytree import tree_leaves, tree_map

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor, SAM2LongVideoPredictorVOS
from sam2long.model import image_features, modules
from sam2long.model.stepwise import BATCH_SIZES
from sam2long.search.policy import Audit, Policy, Situation
from sam2long.search.selection import Candidate, Sighting

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


@pytest.fixture
def cuda_graphs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torch.compile as CUDA graphs have it: what a compiled function gave is lost once any of them is called again."""
    given: list[torch.Tensor] = []

    def compiled(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        def replay(*args: Any, **kwargs: Any) -> Any:
            with torch.inference_mode():
                while given:
                    given.pop().fill_(torch.nan)
            output = tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, function(*args, **kwargs))
            given.extend(x for x in tree_leaves(output) if isinstance(x, torch.Tensor) and x.is_floating_point())
            return output

        return replay

    monkeypatch.setattr(torch, "compile", compiled)
    return given


ALL, ENCODER = {"vos_optimized": True}, {"hydra_overrides_extra": ["++model.compile_image_encoder=true"]}


@pytest.mark.parametrize("num_pathways", [1, 3])
@pytest.mark.parametrize("compiled", [ALL, ENCODER], ids=["all", "encoder"])
def test_nothing_is_read_from_buffers_that_were_written_again(
    cuda_graphs: list[torch.Tensor], compiled: dict[str, Any], num_pathways: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts, a correction in the light of memory, and tracking on from it; frames are encoded ahead as on a GPU."""
    monkeypatch.setattr(image_features, "works_behind_the_host", lambda device: True)
    clip = moving_disks(8)
    tree = MemoryTreeConfig(num_pathways=num_pathways, uncertainty_threshold=100.0)
    passes = []
    for predictor in (build_golden(), build_golden(**compiled)):
        state = predictor.init_state(clip[0], memory_tree=tree)
        prompts(clip)["two objects"](predictor, state)
        masks = [logits.clone() for _, _, logits in predictor.propagate_in_video(state)]
        corrected = predictor.add_new_points_or_box(state, 4, 3, points=[[20.0, 20.0]], labels=[0])[2].clone()
        passes.append([*masks, corrected, *(logits.clone() for _, _, logits in predictor.propagate_in_video(state))])
    assert cuda_graphs
    for expected, got in zip(*passes, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("compiled", [ALL, ENCODER], ids=["all", "encoder"])
def test_masks_are_followed_back_over_features_that_are_kept(
    cuda_graphs: list[torch.Tensor], compiled: dict[str, Any]
) -> None:
    seen: list[Sighting | None] = []

    def look(suspect: Candidate, situation: Situation) -> Candidate:
        seen.append(suspect.evidence.sighting)
        return suspect

    policy = Policy(
        "watch", audit=Audit(lambda candidate, situation: situation.frame_idx == 7, lambda frame: True, look)
    )
    clip = moving_disks(8)
    for predictor in (build_golden(), build_golden(**compiled)):
        state = predictor.init_state(clip[0], memory_tree=BRANCHING, policy=policy)
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
        assert len(list(predictor.propagate_in_video(state))) == 8
    expected, got = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert expected[0] is not None
    assert expected[0].area > 0
    for one, other in zip(expected, got, strict=True):
        assert one is not None
        assert other is not None
        assert other.overlap == pytest.approx(one.overlap, abs=0.05)
        assert other.area == pytest.approx(one.area, rel=0.05)


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
