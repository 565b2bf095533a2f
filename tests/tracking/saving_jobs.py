"""Jobs to save: a state with two prompted objects, its frames, and what two states have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor

NUM_FRAMES = 20
SAM2 = MemoryTreeConfig(num_pathways=1)
PAPER = MemoryTreeConfig()
BRANCHY = MemoryTreeConfig(uncertainty_threshold=100)  # every frame is uncertain: the tree always branches
MERGING = MemoryTreeConfig(uncertainty_threshold=100, merge_iou=0.6, merge_frames=3)

State = dict[str, Any]
Frames = list[tuple[int, list[Any], torch.Tensor]]
Clip = tuple[np.ndarray, np.ndarray]


def start(
    predictor: SAM2LongVideoPredictor,
    disks: Clip,
    config: MemoryTreeConfig,
    prompted: tuple[int, int] = (0, 4),
    **settings: Any,
) -> State:
    """A state with two prompted objects: a mask on one frame and a click on another."""
    state = predictor.init_state(disks[0], memory_tree=config, **settings)
    ys, xs = np.nonzero(disks[1][1, prompted[1]])
    predictor.add_new_mask(state, prompted[0], 7, disks[1][0, prompted[0]])
    click = [[float(xs.mean()), float(ys.mean())]]
    predictor.add_new_points_or_box(state, prompted[1], "hand", points=click, labels=[1])
    return state


def take(generator: Iterator[Any], count: int | None = None) -> Frames:
    frames = []
    for frame_idx, obj_ids, masks in generator:
        frames.append((frame_idx, list(obj_ids), masks.clone()))
        if len(frames) == count:
            break
    return frames


def assert_states_equal(ours: State, theirs: State) -> None:
    left_out = ("sam2long", "images", "cached_features")
    assert_same(*({key: state[key] for key in theirs if key not in left_out} for state in (ours, theirs)))
    for session in (ours["sam2long"], theirs["sam2long"]):
        assert session.config == theirs["sam2long"].config
        assert session.max_pending_frames == theirs["sam2long"].max_pending_frames
    whole = [
        {
            obj_id: [frame["scores"] for frame in frames]
            for obj_id, frames in state["sam2long"].recent.by_object().items()
        }
        for state in (ours, theirs)
    ]
    assert whole[0] == whole[1]
