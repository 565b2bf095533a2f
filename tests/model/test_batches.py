"""How pathways share forward passes: one batch a frame, or small ones where a CPU is faster that way."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import build_golden, moving_disks

from sam2long import MemoryTreeConfig
from sam2long.bench.speed_models import select_distinct
from sam2long.bench.synthetic_settings import remember_all
from sam2long.model import modules
from sam2long.model.image_features import ImageFeatures

TOKENS = 64  # of the golden model's frames


def track_distinct(
    num_objects: int = 2, num_frames: int = 12, max_pending_frames: int | None = None
) -> tuple[dict[str, list[int]], list[torch.Tensor]]:
    """The batch sizes of each module, call by call, and the logits; three distinct pathways per object."""
    clip = moving_disks(num_frames)
    predictor = build_golden(memory_tree=MemoryTreeConfig(), max_pending_frames=max_pending_frames)
    # Every pathway remembers every frame, so that all have memories of one length.
    predictor.select, predictor.choose_memory = select_distinct, remember_all
    state = predictor.init_state(clip[0])
    for obj_id in range(num_objects):
        predictor.add_new_mask(state, 0, obj_id, clip[1][obj_id, 0])
    rows: dict[str, list[int]] = defaultdict(list)
    for name, count in (
        ("memory_attention", lambda output: output.shape[1]),
        ("sam_mask_decoder", lambda output: output[0].shape[0]),
        ("memory_encoder", lambda output: output["vision_features"].shape[0]),
    ):
        module = getattr(predictor, name)
        module.register_forward_hook(lambda _m, _a, output, n=name, c=count: rows[n].append(c(output)))
    predictor.image_encoder.register_forward_hook(lambda *_: rows["image_encoder"].append(1))
    logits = [masks.clone() for _, _, masks in predictor.propagate_in_video(state)]
    return rows, logits


def test_all_pathways_of_all_objects_are_one_batch() -> None:
    rows, logits = track_distinct()
    assert len(logits) == 12
    # Frame 1 attends to the prompt, shared by an object's slots; frame 2 to the one pathway grown from it.
    assert rows["memory_attention"] == rows["sam_mask_decoder"] == [2, 2, *[6] * 9]
    assert rows["memory_encoder"][-9:] == [6] * 9
    assert len(rows["image_encoder"]) <= 12


@pytest.mark.parametrize(("max_pending_frames", "distinct"), [(None, 6), (3, 6), (0, 2)])
def test_no_memory_is_encoded_that_the_next_frame_does_not_read(max_pending_frames: int | None, distinct: int) -> None:
    rows, logits = track_distinct(max_pending_frames=max_pending_frames)
    assert len(logits) == 12
    # Where frames must not wait, hypotheses that lose on the frame they are born on have no memory encoded.
    assert rows["memory_encoder"][-10:-1] == rows["memory_attention"][-9:]
    assert max(rows["memory_attention"]) == distinct


@pytest.mark.parametrize("at_once", [1, 4])
def test_small_batches_give_the_same(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    _, expected = track_distinct()
    monkeypatch.setattr(modules, "_TOKENS_AT_ONCE_ON_CPU", at_once * TOKENS)
    rows, logits = track_distinct()
    steady = [1] * 6 if at_once == 1 else [4, 2]
    assert rows["memory_attention"][-len(steady) :] == rows["memory_encoder"][-len(steady) :] == steady
    assert rows["sam_mask_decoder"][-1] == 6
    for a, b in zip(logits, expected, strict=True):
        assert np.array_equal((a > 0).numpy(), (b > 0).numpy())
        torch.testing.assert_close(a, b, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize(
    ("side", "device", "compiled", "rows"),
    [(64, "cpu", False, 1), (8, "cpu", False, 64), (64, "meta", False, None)] + [(64, "cpu", True, None)],
)
def test_an_image_of_sam2s_own_size_goes_row_by_row_on_a_cpu(
    side: int, device: str, compiled: bool, rows: int | None
) -> None:
    model = modules.TrackingModules(SimpleNamespace(reuses_buffers=compiled), None)  # type: ignore[arg-type]
    frame = ImageFeatures([torch.zeros(side * side, 1, 8, device=device)], [], [(side, side)])
    assert model.rows_at_once(frame) == rows or (rows is None and model.rows_at_once(frame) > 1000)
