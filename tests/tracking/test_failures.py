"""Frames that cannot be read lose no other frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import Damaged, prompts

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.frames import FrameError

Clip = tuple[np.ndarray, np.ndarray]
BRANCHING = MemoryTreeConfig(uncertainty_threshold=100.0)


def until_error(frames: Iterator[tuple[int, list[Any], torch.Tensor]], match: str) -> dict[int, torch.Tensor]:
    got: dict[int, torch.Tensor] = {}
    with pytest.raises(FrameError, match=match):
        got.update((t, masks) for t, _, masks in frames)
    return got


def test_what_was_tracked_before_a_damaged_frame_is_yielded_and_kept(
    predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    source = Damaged(clip[0], broken=8)
    state = predictor.init_state(source, memory_tree=BRANCHING)
    prompts(clip)["two objects"](predictor, state)
    got = until_error(predictor.propagate_in_video(state), "frame 8 of clip: damaged")
    assert sorted(got) == list(range(8))
    assert sorted(predictor.get_scores(state, 7)) == list(range(1, 8))
    source.broken = -1
    rest = {t: masks for t, _, masks in predictor.propagate_in_video(state, start_frame_idx=8)}
    assert sorted(rest) == list(range(8, 14))
    assert all((masks > 0).any() for masks in rest.values())


@pytest.mark.parametrize("change", ["removed", "truncated", "resized", "more"])
def test_a_folder_that_changes_while_it_is_read(
    change: str, predictor: SAM2LongVideoPredictor, clip: Clip, tmp_path: Path
) -> None:
    for t, frame in enumerate(clip[0][:12]):
        Image.fromarray(frame).save(tmp_path / f"{t:05d}.jpg")
    state = predictor.init_state(str(tmp_path))
    prompts(clip)["point"](predictor, state)
    frames = predictor.propagate_in_video(state)
    next(frames)
    late = tmp_path / "00010.jpg"  # further away than is read ahead
    if change == "removed":
        late.unlink()
        reason = "00010.jpg: the file has vanished"
    elif change == "truncated":
        late.write_bytes(late.read_bytes()[:200])
        reason = "00010.jpg: the file was changed"
    elif change == "resized":
        Image.fromarray(clip[0][0][:50]).save(late)
        reason = "00010.jpg: the file was changed"
    else:
        Image.fromarray(clip[0][0]).save(tmp_path / "00012.jpg")
        assert [t for t, _, _ in frames] == list(range(1, 12)), "the video is what the folder held when it was opened"
        return
    assert sorted(until_error(frames, reason)) == list(range(1, 10))
