"""What only a GPU can show: the same decisions as on the CPU, streams, compiled mode, flat device memory."""

from __future__ import annotations

import gc
import json
from typing import Any

import numpy as np
import pytest
import torch
from support import GOLDEN, build_golden, moving_disks, prompts
from test_golden import iou, prompt, write_clip

from sam2long import MemoryTreeConfig

pytestmark = pytest.mark.cuda
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)


def track(predictor: Any, clip: tuple[np.ndarray, np.ndarray], kind: str = "two objects") -> dict[int, torch.Tensor]:
    state = predictor.init_state(clip[0])
    prompts(clip)[kind](predictor, state)
    return {t: masks.cpu() for t, _, masks in predictor.propagate_in_video(state)}


@pytest.mark.parametrize("case", ["case00", "case03", "case05", "case06"])
def test_golden_answers_on_the_gpu(case: str, tmp_path: Any) -> None:
    expected = json.loads((GOLDEN / f"{case}.json").read_text())
    arrays = np.load(GOLDEN / f"{case}.npz")
    write_clip(arrays, tmp_path)
    config = MemoryTreeConfig(
        num_pathways=expected["num_pathways"],
        iou_threshold=expected["iou_threshold"],
        uncertainty_threshold=expected["uncertainty_threshold"],
    )
    predictor = build_golden(device="cuda", memory_tree=config)
    state = predictor.init_state(str(tmp_path))
    prompt(predictor, state, expected, arrays)
    masks = {t: (logits[0, 0] > 0).cpu().numpy() for t, _, logits in predictor.propagate_in_video(state)}
    length, height, width = (int(n) for n in arrays["shape"])
    reference = np.unpackbits(arrays["masks"], axis=-1)[:, : height * width].reshape(length, height, width)
    # Rounding differs from the CPU's, so a decision that hangs on less than it may fall the other way.
    assert np.mean([iou(masks[t], reference[t].astype(bool)) for t in range(length)]) >= 0.97


def test_encoding_ahead_on_its_own_stream_is_identical() -> None:
    clip = moving_disks(40)
    results = [
        track(
            build_golden(device="cuda", memory_tree=BRANCHING, hydra_overrides_extra=[f"+model.encode_ahead={n}"]), clip
        )
        for n in (0, 1)
    ]
    assert all(torch.equal(results[0][t], results[1][t]) for t in results[0])


def test_one_pathway_is_sam2_on_the_gpu() -> None:
    clip = moving_disks(10)
    ours = build_golden(device="cuda", memory_tree=MemoryTreeConfig(num_pathways=1))
    theirs = build_golden(
        device="cuda", hydra_overrides_extra=["++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor"]
    )
    state = ours.init_state(clip[0])
    prompts(clip)["two objects"](theirs, state)
    expected = {t: masks.cpu() for t, _, masks in theirs.propagate_in_video(state)}
    got = track(ours, clip)
    assert all(torch.equal(got[t], expected[t]) for t in expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streams_equal_videos(dtype: torch.dtype) -> None:
    clip = moving_disks(50)
    predictor = build_golden(device="cuda", memory_tree=BRANCHING, hydra_overrides_extra=["+model.encode_ahead=0"])
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected = track(predictor, clip)
        state = predictor.init_stream(clip[0][0])
        prompts(clip)["two objects"](predictor, state)
        got = {}
        for frame in clip[0][1:]:
            got.update({t: masks.cpu() for t, _, masks in predictor.track_frame(state, frame)})
        got.update({t: masks.cpu() for t, _, masks in predictor.finish_stream(state)})
    assert sorted(got) == list(range(1, 50))
    assert all(torch.equal(got[t], expected[t]) for t in got)


def test_device_memory_is_flat() -> None:
    predictor = build_golden(device="cuda", memory_tree=MemoryTreeConfig(uncertainty_threshold=100.0))
    clip = moving_disks(400, size=(96, 96))
    state = predictor.init_state(clip[0], max_pending_frames=20)
    prompts(clip)["two objects"](predictor, state)
    used: dict[int, int] = {}
    for t, _, _ in predictor.propagate_in_video(state):
        if t in (100, 380):
            gc.collect()
            torch.cuda.synchronize()
            used[t] = torch.cuda.memory_allocated()
    assert used[380] <= used[100] + 256 * 1024


def test_compiled_mode_agrees_with_eager() -> None:
    """In bfloat16, the compiled components round differently; masks agree."""
    clip = moving_disks(8)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        eager = track(build_golden(device="cuda"), clip)
        compiled = track(build_golden(device="cuda", vos_optimized=True), clip)
    ious = [iou((eager[t] > 0).numpy(), (compiled[t] > 0).numpy()) for t in eager]
    assert min(ious) >= 0.95
    assert np.mean(ious) >= 0.98
