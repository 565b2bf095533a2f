"""Prompts that cannot be meant are refused and leave no trace, with a tree and as SAM 2; odd ones bring one warning."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor

Clip = tuple[np.ndarray, np.ndarray]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=[1, 3])
def state(request: pytest.FixtureRequest, predictor: SAM2LongVideoPredictor, clip: Clip) -> dict[str, Any]:
    return predictor.init_state(clip[0][:3], memory_tree=MemoryTreeConfig(num_pathways=request.param))


def nothing_is_registered(state: dict[str, Any]) -> bool:
    return not state["obj_ids"] and not any(state[key] for key in state if key.endswith("_per_obj"))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"points": [[NAN, 5]], "labels": [1]}, "points must be finite numbers, got nan"),
    ({"points": torch.tensor([[5.0, INF]]), "labels": torch.tensor([1])}, "points must be finite numbers, got inf"),
    ({"points": [[5, 5]], "labels": [NAN]}, "labels must be finite"),
    ({"points": [["a", 5]], "labels": [1]}, "points must be numbers"),
    ({"box": [1, 2, NAN, 9]}, "box must be finite numbers, got nan"),
    ({"box": [1, 2, -INF, 9]}, "box must be finite numbers, got -inf"),
    ({"box": [90, 5, 10, 60]}, r"box \(90, 5, 10, 60\) is upside down"),
    ({"box": [10, 60, 90, 5]}, "upside down"),
]


@pytest.mark.parametrize(("prompt", "message"), REFUSED)
def test_clicks_and_boxes_that_are_refused(
    prompt: dict[str, Any], message: str, predictor: SAM2LongVideoPredictor, state: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.add_new_points_or_box(state, 0, 1, **prompt)
    assert nothing_is_registered(state)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"points": [[5, 5]], "labels": [1, 1]}, "1 points and 2 labels"),
        ({"points": [5, 5], "labels": [1]}, r"points must be \[\[x, y\], \.\.\.\]"),
        ({"box": [10, 60, 90]}, "box must be x0, y0, x1, y1, got 3 numbers"),
        ({"points": [[60, 50]], "labels": [7]}, "labels must be 1"),
    ],
)
def test_what_a_tree_refuses_and_sam2_fails_on_or_takes(
    prompt: dict[str, Any], message: str, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    state = predictor.init_state(clip[0][:2])
    with pytest.raises(ValueError, match=message):
        predictor.add_new_points_or_box(state, 0, 1, **prompt)
    assert nothing_is_registered(state)
    if prompt.get("labels") == [7]:
        state = predictor.init_state(clip[0][:2], memory_tree=MemoryTreeConfig(num_pathways=1))
        assert predictor.add_new_points_or_box(state, 0, 1, **prompt)[1] == [1]


@pytest.mark.parametrize("frame_idx", [-1, np.int64(-3)])
def test_frames_that_are_refused(
    frame_idx: Any, predictor: SAM2LongVideoPredictor, state: dict[str, Any], clip: Clip
) -> None:
    with pytest.raises(ValueError, match="frame_idx"):
        predictor.add_new_points_or_box(state, frame_idx, 1, points=[[5, 5]], labels=[1])
    with pytest.raises(ValueError, match="frame_idx"):
        predictor.add_new_mask(state, frame_idx, 1, clip[1][0, 0])
    assert nothing_is_registered(state)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((1, 96, 128), bool), r"mask must be \[height, width\], got shape \[1, 96, 128\]"),
        (torch.ones(1, 1, 96, 128), "got shape"),
        (np.ones(128), "got shape"),
        (True, "got shape"),
        (np.full((96, 128), NAN), "NaN or infinite"),
    ],
)
def test_masks_that_are_refused(
    mask: Any, message: str, predictor: SAM2LongVideoPredictor, state: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.add_new_mask(state, 0, 1, mask)
    assert nothing_is_registered(state)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"box": [0.2, 0.3, 0.6, 0.8]}, "between 0 and 1.*multiply"),
        ({"box": [0, 0, 1, 1]}, "between 0 and 1"),
        ({"points": [[0.2, 0.3], [0.5, 0.5]], "labels": [1, 0]}, "between 0 and 1"),
        ({"points": [[500, 20]], "labels": [1]}, r"outside the frame, which is 128 x 96 pixels: \(500, 20\)"),
        ({"points": [[-5, 20]], "labels": [1]}, "outside the frame"),
        ({"box": [200, 10, 240, 60]}, "outside the frame"),
        ({"points": [[60, 50]], "labels": [1], "normalize_coords": False}, "outside the frame.*normalize_coords"),
    ],
)
def test_odd_prompts_are_taken_with_one_warning(
    prompt: dict[str, Any], message: str, predictor: SAM2LongVideoPredictor, state: dict[str, Any]
) -> None:
    with pytest.warns(UserWarning, match=message) as caught:
        predictor.add_new_points_or_box(state, 0, 1, **prompt)
    (warning,) = caught
    assert warning.filename == __file__
    assert state["obj_ids"] == [1]


@pytest.mark.parametrize(
    "prompt",
    [
        {"box": [-20, 5, 60, 400]},
        {"points": [[60, 50], [300, 40]], "labels": [1, 0]},
        {"points": [[0, 0]], "labels": [1]},
        {"points": [[1, 1]], "labels": [1]},
        {"points": [[0.4, 0.5]], "labels": [1], "normalize_coords": False},
        {"points": [[60, 50], [0, 0]], "labels": [1, -1]},
    ],
)
def test_what_reaches_beyond_the_edge_is_taken_as_sam2_takes_it(
    prompt: dict[str, Any],
    predictor: SAM2LongVideoPredictor,
    sam2_predictor: Any,
    state: dict[str, Any],
    clip_folder: str,
    clip: Clip,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor.add_new_points_or_box(state, 0, 1, **prompt)
    theirs = sam2_predictor.init_state(clip_folder)
    sam2_predictor.add_new_points_or_box(theirs, 0, 1, **prompt)
    assert_same(state["point_inputs_per_obj"], theirs["point_inputs_per_obj"])


def test_an_empty_mask_says_that_the_object_is_not_there(
    predictor: SAM2LongVideoPredictor, state: dict[str, Any]
) -> None:
    _, obj_ids, masks = predictor.add_new_mask(state, 0, 1, np.zeros((96, 128), bool))
    assert obj_ids == [1]
    assert not (masks > 0).any()


@pytest.mark.parametrize("frame_idx", [3, 1.5, "0", None, True])
def test_frames_that_a_tree_refuses(frame_idx: Any, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = predictor.init_state(clip[0][:3])
    with pytest.raises(ValueError, match="frame_idx"):
        predictor.add_new_mask(state, frame_idx, 1, clip[1][0, 0])
    assert nothing_is_registered(state)
