"""The past costs kilobytes, on the host, and can still be gone back to."""

from __future__ import annotations

import copy
import pickle
import sys
import tracemalloc
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from support import moving_disks, prompts

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.model.levels import quantise
from sam2long.search.scores import FrameScores
from sam2long.state import tracked_frames
from sam2long.state.packing import PackedMask
from sam2long.state.shelf import Shelf
from sam2long.state.tracked_frames import NUM_RECENT, TrackedFrame

Clip = tuple[np.ndarray, np.ndarray]
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)
MAX_BYTES = 8192
LENGTH = NUM_RECENT + 20


def resident(value: Any, seen: set[int] | None = None) -> int:
    """Bytes of host memory that a nested structure holds, tensors included, each thing and no name counted."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, str):
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        size += 0 if storage.data_ptr() in seen else storage.nbytes() + 300  # the C++ tensor and its storage
        seen.add(storage.data_ptr())
    if isinstance(value, dict):
        # Not .values(): a packed frame unpacks what is read from it.
        size += sum(resident(key, seen) + resident(dict.__getitem__(value, key), seen) for key in dict.keys(value))
    elif isinstance(value, memoryview):
        size += value.nbytes
    elif isinstance(value, list | tuple | set) or type(value).__name__ == "deque":
        size += sum(resident(item, seen) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        size += sum(resident(getattr(value, field.name), seen) for field in fields(value))
    if hasattr(value, "__dict__") and not isinstance(value, type | torch.nn.Module | torch.Tensor):
        size += resident(vars(value), seen)
    return size


def entry(logits: torch.Tensor, occlusion_score: float = 5.0) -> TrackedFrame:
    """A frame as the large model commits it."""
    return TrackedFrame(
        features=torch.zeros(1, 64, 64, 64, dtype=torch.bfloat16),
        pos_enc=[],
        pred_masks=logits,
        obj_ptr=torch.arange(256.0)[None],
        object_score_logits=torch.tensor([[occlusion_score]]),
        scores=FrameScores(0.9, occlusion_score, -1.0, 0.5, 3),
        storage_device=torch.device("cpu"),
    )


def blob(noise: float) -> torch.Tensor:
    """Low-res logits [1, 1, 256, 256] of a disk, of a few logits, under noise."""
    ys, xs = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    disk = 8 - ((xs - 128) ** 2 + (ys - 120) ** 2).float().sqrt() / 6
    return (disk + noise * torch.randn(256, 256, generator=torch.Generator().manual_seed(0)))[None, None]


@pytest.fixture(scope="module")
def long_clip() -> Clip:
    return moving_disks(LENGTH)


@pytest.fixture(scope="module")
def tracked(predictor: SAM2LongVideoPredictor, long_clip: Clip) -> tuple[dict[str, Any], dict[int, torch.Tensor]]:
    """Two objects tracked to the end, and the masks; take `again` of it to change it."""
    state = predictor.init_state(long_clip[0], memory_tree=BRANCHING, max_pending_frames=6)
    prompts(long_clip)["two objects"](predictor, state)
    return state, {t: masks for t, _, masks in predictor.propagate_in_video(state)}


@pytest.fixture
def again(tracked: tuple[dict[str, Any], Any]) -> dict[str, Any]:
    state = tracked[0]
    return copy.deepcopy({key: value for key, value in state.items() if key != "images"}) | {"images": state["images"]}


# -- what a frame of the past costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 1.0, 6.0, 1000.0], ids=["smooth", "rough", "noisy", "nothing but noise"])
def test_a_frame_of_the_large_model_shrinks_to_8_kb(noise: float) -> None:
    frame = entry(blob(noise))
    assert resident(frame) > 500_000
    frame.compact(Shelf())
    assert resident(frame) + resident({0: {"reverse": False}}) <= MAX_BYTES
    logits = frame["pred_masks"]
    assert logits.shape == (1, 1, 256, 256)
    assert logits.dtype == torch.float32
    if noise <= 6:
        assert torch.equal(logits > 0, blob(noise) > 0)
    else:
        assert torch.equal(logits[..., ::2, ::2] > 0, blob(noise)[..., ::2, ::2] > 0)
    assert torch.equal(frame["obj_ptr"], torch.arange(256.0)[None])
    assert frame["object_score_logits"].item() == 5.0
    assert frame["maskmem_features"] is None


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 1, 255, 257), (2, 1, 3, 5), (1, 1, 1, 1)])
def test_masks_of_any_shape_come_back(shape: tuple[int, ...]) -> None:
    logits = 5 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    unpacked = PackedMask.pack(quantise(logits).numpy(), Shelf()).unpack()
    assert unpacked.shape == shape
    step = 2 if logits.numel() > 40_000 else 1
    assert torch.equal((unpacked > 0)[..., ::step, ::step], (logits > 0)[..., ::step, ::step])
    if step == 1:
        assert float((unpacked.sigmoid() - logits.sigmoid()).abs().max()) <= 1 / 16


def test_an_absent_object_comes_back_as_absent() -> None:
    frame = entry(torch.full((1, 1, 256, 256), -1024.0), occlusion_score=-3.0)
    frame.compact(Shelf())
    assert torch.equal(frame["pred_masks"], torch.full((1, 1, 256, 256), -1024.0))


def test_all_old_frames_are_packed_and_keep_their_masks(
    predictor: SAM2LongVideoPredictor, tracked: tuple[dict[str, Any], dict[int, torch.Tensor]]
) -> None:
    state, masks = tracked
    constants: set[int] = set()
    resident(state["constants"], constants)
    for obj_idx, outputs in state["output_dict_per_obj"].items():
        committed = outputs["non_cond_frame_outputs"]
        whole = [t for t in committed if dict.__getitem__(committed[t], "maskmem_features") is not None]
        assert whole == sorted(committed)[-NUM_RECENT:]
        for t in range(1, LENGTH - NUM_RECENT):
            assert resident({t: committed[t]}, constants) + resident({t: {"reverse": False}}) <= MAX_BYTES
            _, again = predictor._get_orig_video_res_output(state, committed[t]["pred_masks"])
            assert float(((again > 0) != (masks[t][obj_idx] > 0)).float().mean()) < 0.005


# -- going back ----------------------------------------------------------------------------------------------------


def never_packed(p: SAM2LongVideoPredictor, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(tracked_frames.RecentFrames, "add", lambda *_: None)
    state = p.init_state(clip[0], memory_tree=BRANCHING, max_pending_frames=6)
    prompts(clip)["two objects"](p, state)
    for _ in p.propagate_in_video(state):
        pass
    return state


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    union = ((a > 0) | (b > 0)).sum()
    return float(((a > 0) & (b > 0)).sum() / union) if union else 1.0


def test_the_far_past_can_be_clicked_and_tracked_backwards(
    predictor: SAM2LongVideoPredictor, again: dict[str, Any], long_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly the masks of a state in which nothing was packed, and packed again afterwards."""

    def revisit(state: dict[str, Any]) -> list[torch.Tensor]:
        click = predictor.add_new_points_or_box(state, 5, 7, points=[[40.0, 48.0]], labels=[1])[2]
        forward = predictor.propagate_in_video(state, start_frame_idx=6, max_frame_num_to_track=3)
        backward = predictor.propagate_in_video(state, start_frame_idx=14, max_frame_num_to_track=4, reverse=True)
        return [click, *[masks for frames in (forward, backward) for _, _, masks in frames]]

    got = revisit(again)
    tracked = again["output_dict_per_obj"][0]["non_cond_frame_outputs"].values()
    whole = [f for f in tracked if isinstance(f, TrackedFrame) and f._levels is not None]
    assert len(whole) <= NUM_RECENT, "what was made whole again is packed again"
    with monkeypatch.context() as patch:
        expected = revisit(never_packed(predictor, long_clip, patch))
    assert len(got) == len(expected) == 10
    assert np.mean([agreement(a, b) for a, b in zip(got, expected, strict=True)]) >= 0.97


# -- the shelf -----------------------------------------------------------------------------------------------------


def test_the_shelf_keeps_copies_side_by_side_and_frees_what_nobody_holds() -> None:
    shelf = Shelf()
    first, empty, second = shelf.put(b"abc"), shelf.put(b""), shelf.put(b"de")
    assert (bytes(first), bytes(empty), bytes(second)) == (b"abc", b"", b"de")
    assert first.obj is second.obj
    large = shelf.put(bytes(len(first.obj) + 1))
    assert large.obj is not first.obj
    tracemalloc.start()
    try:
        kept = [shelf.put(bytes(100_000)) for _ in range(100)]
        full = tracemalloc.get_traced_memory()[0]
        del kept
        assert full > 10_000_000
        assert tracemalloc.get_traced_memory()[0] < 2_500_000, "the newest block at most"
    finally:
        tracemalloc.stop()


def test_a_packed_frame_can_be_copied_and_pickled() -> None:
    frame = entry(blob(6.0))
    frame.compact(Shelf())
    for copied in (copy.deepcopy(frame), pickle.loads(pickle.dumps(frame))):
        assert all(torch.equal(copied[key], frame[key]) for key in ("pred_masks", "obj_ptr", "object_score_logits"))
