"""Recordings on a real GPU: equal to the bit to what is launched kernel by kernel."""

from __future__ import annotations

import gc
import logging
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from support import build_golden, moving_disks

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.bench.speed_models import select_distinct
from sam2long.bench.synthetic_settings import remember_all
from sam2long.model.stepwise import BATCH_SIZES
from sam2long.search import select_candidates

pytestmark = pytest.mark.cuda
CERTAIN = MemoryTreeConfig(uncertainty_threshold=0.0, iou_threshold=0.0)
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)


@cache
def pair(size: str, image_size: int) -> tuple[SAM2LongVideoPredictor, SAM2LongVideoPredictor]:
    """An eager predictor with random weights whose batches are padded as a captured one's are, and a captured one."""
    torch.manual_seed(0)
    config = f"configs/sam2.1/sam2.1_hiera_{size}.yaml"
    sizes = [f"++model.image_size={image_size}"]
    if image_size != 1024:  # rotary encodings are made for the tokens of the image
        tokens = [image_size // 16, image_size // 16]
        layer = "++model.memory_attention.layer"
        sizes += [f"{layer}.self_attention.feat_sizes={tokens}", f"{layer}.cross_attention.feat_sizes={tokens}"]
    eager = build_sam2long_video_predictor(config, device="cuda", hydra_overrides_extra=sizes)
    with torch.no_grad():  # random weights see nothing: the object score is biased so that masks are not all alike
        eager.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(10.0)
    captured = SAM2LongVideoPredictor.from_sam2(eager, capture=True)
    return padded_as_captured(eager), captured


def padded_as_captured(predictor: SAM2LongVideoPredictor) -> SAM2LongVideoPredictor:
    predictor.padded_batch_size = lambda n: next(size for size in BATCH_SIZES if size >= n)  # type: ignore[method-assign]
    return predictor


def track(
    predictor: SAM2LongVideoPredictor, num_objects: int, *, distinct: bool = False, num_frames: int = 24
) -> tuple[dict[int, torch.Tensor], dict[str, torch.Tensor]]:
    """The masks, and the memories that the last frame left."""
    predictor.select = select_distinct if distinct else select_candidates
    predictor.choose_memory = remember_all
    clip = moving_disks(num_frames)
    state = predictor.init_state(clip[0], memory_tree=CERTAIN)
    for obj_id in range(num_objects):
        predictor.add_new_mask(state, 0, obj_id, np.roll(clip[1][0, 0], 6 * obj_id, axis=1))
    masks = {t: logits.cpu() for t, _, logits in predictor.propagate_in_video(state)}
    last = [state["output_dict_per_obj"][k]["non_cond_frame_outputs"][num_frames - 1] for k in range(num_objects)]
    return masks, {
        f"{key} of object {k}": entry[key].cpu()
        for k, entry in enumerate(last)
        for key in ("maskmem_features", "obj_ptr")
    }


def test_every_stage_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing falls back to running eagerly: each frame beyond the first few is three replays, and one to commit it."""
    _, captured = pair("t", 512)
    with caplog.at_level(logging.WARNING), torch.autocast("cuda", dtype=torch.bfloat16):
        track(captured, 1)
        track(captured, 1)
        assert captured.captures is not None
        before = captured.captures.num_replays
        track(captured, 1)
    assert captured.captures.num_replays - before >= 4 * 23 - 2
    assert [record.message for record in caplog.records if "captured" in record.message] == []


@pytest.mark.parametrize("autocast", [True, False])
def test_prompts_in_the_middle(autocast: bool) -> None:
    clip, results = moving_disks(30), []
    eager, captured = padded_as_captured(build_golden(device="cuda")), build_golden(device="cuda", capture=True)
    for predictor in (eager, captured):
        predictor.choose_memory = remember_all  # memories of one length: pathways are decoded together
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
            state = predictor.init_state(clip[0], memory_tree=BRANCHING)
            predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
            masks = [logits.cpu() for _, _, logits in predictor.propagate_in_video(state, max_frame_num_to_track=20)]
            ys, xs = np.nonzero(clip[1][0, 12])
            click = [[float(xs.mean()), float(ys.mean())]]
            masks.append(predictor.add_new_points_or_box(state, 12, 1, points=click, labels=[1])[2].cpu())
            masks += [logits.cpu() for _, _, logits in predictor.propagate_in_video(state, start_frame_idx=12)]
            masks += [
                logits.cpu() for _, _, logits in predictor.propagate_in_video(state, start_frame_idx=20, reverse=True)
            ]
        results.append(masks)
    assert len(results[0]) == len(results[1])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_two_predictors_in_one_process() -> None:
    """Frame by frame in turns, each with recordings of its own, beside an eager one of the same weights."""
    clip = moving_disks(24)
    first = build_golden(device="cuda", capture=True)
    predictors = [first, build_golden(device="cuda", capture=True), SAM2LongVideoPredictor.from_sam2(first)]
    passes: list[Any] = []
    for k, predictor in enumerate(predictors):
        state = predictor.init_state(clip[0], memory_tree=CERTAIN)
        predictor.add_new_mask(state, 0, 1, clip[1][k % 2, 0])
        passes.append(predictor.propagate_in_video(state))
    masks: list[list[torch.Tensor]] = [[], [], []]
    for _ in range(24):
        for k, passing in enumerate(passes):
            masks[k].append(next(passing)[2].cpu())
    assert predictors[2].captures is None
    assert all(torch.equal(a, b) for a, b in zip(masks[0], masks[2], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(masks[0], masks[1], strict=True)), "they track different objects"


def test_device_memory_is_flat() -> None:
    predictor = build_golden(device="cuda", capture=True)
    clip = moving_disks(400, size=(96, 96))
    state = predictor.init_state(clip[0], memory_tree=BRANCHING, max_pending_frames=20)
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    used: dict[int, tuple[int, int]] = {}
    for t, _, _ in predictor.propagate_in_video(state):
        if t in (150, 380):
            gc.collect()
            torch._C._cuda_clearCublasWorkspaces()  # made anew by whatever runs eagerly
            torch.cuda.synchronize()
            used[t] = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    assert used[380][0] <= used[150][0] + 2 * 2**20  # a recording's outputs; 230 frames leave far more
    assert used[380][1] <= used[150][1] + 64 * 2**20


def test_a_predictor_that_moves_records_anew() -> None:
    predictor, clip = build_golden(device="cuda", capture=True), moving_disks(12)
    results = []
    for _ in range(2):
        state = predictor.init_state(clip[0], memory_tree=CERTAIN)
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
        results.append([logits.cpu() for _, _, logits in predictor.propagate_in_video(state)])
        predictor = predictor.cpu().cuda()
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# What takes longest last: a machine that is lent for minutes has seen each size before.
CASES = [
    (size, image_size, num_objects, distinct, autocast)
    for autocast, num_objects, distinct in [
        (True, 1, False),
        (True, 1, True),
        (False, 1, False),
        (True, 5, False),
        (False, 1, True),
        (True, 5, True),
    ]
    for size, image_size in [("t", 512), ("b+", 512), ("l", 1024)]
    if size == "t" or (autocast and (num_objects, distinct) == ((1, True) if size == "l" else (5, True)))
]


@pytest.mark.parametrize(("size", "image_size", "num_objects", "distinct", "autocast"), CASES)
def test_captured_is_eager_to_the_bit(
    size: str, image_size: int, num_objects: int, distinct: bool, autocast: bool
) -> None:
    eager, captured = pair(size, image_size)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
        expected, expected_memories = track(eager, num_objects, distinct=distinct)
        again, _ = track(eager, num_objects, distinct=distinct)
        assert all(torch.equal(again[t], expected[t]) for t in expected), "what runs eagerly differs by itself"
        before = captured.captures.num_replays if captured.captures else 0
        for _ in range(2):  # sizes are recorded when they come back: the second video replays from its first frames
            got, memories = track(captured, num_objects, distinct=distinct)
            assert [t for t in expected if not torch.equal(got[t], expected[t])] == []
            assert [key for key in memories if not torch.equal(memories[key], expected_memories[key])] == []
    assert captured.captures is not None
    assert captured.captures.num_replays - before > 40
