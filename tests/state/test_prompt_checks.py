"""Prompts that cannot be meant are refused and leave no trace, with a tree and as SAM 2; odd ones bring one warning."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
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


HEIGHT, WIDTH = 96, 128
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[40:70, 30:80] = True
IDS = np.where(MASK, 1, 0) + 2 * np.roll(MASK, 50, axis=1)
ODD_MASKS: dict[str, tuple[Any, str]] = {
    "logits": (np.where(MASK, 8.0, -8.0), "holds values from -8 to 8, of which all but 0 are the object"),
    "signs": (np.where(MASK, 1, -1), "values from -1 to 1"),
    "probabilities": (np.where(MASK, 0.9, 0.1), r"values from 0.1 to 0.9, .*\(100 % of the pixels\)"),
    "two greys": (np.where(MASK, 255, 128).astype(np.uint8), "values from 128 to 255"),
    "ids": (IDS, "values from 0 to 2, .*pass a bool mask, .* or ids == 3"),
    "ids, a tensor": (torch.from_numpy(IDS), "values from 0 to 2, of which all from 0.5 up are the object"),
    "transposed": (MASK.T, "is 128 x 96, the frame 96 x 128 .*: it is resized"),
    "half": (torch.from_numpy(MASK[::2, ::2].copy()), "is 48 x 64, the frame 96 x 128"),
    "both": (np.where(MASK, 8.0, -8.0)[:50], "holds values .*; and it is 50 x 128"),
}


@pytest.mark.parametrize("kind", ODD_MASKS)
def test_odd_masks_bring_one_warning_and_sam2s_answer(
    kind: str, predictor: SAM2LongVideoPredictor, state: dict[str, Any], clip: Clip
) -> None:
    mask, message = ODD_MASKS[kind]
    with pytest.warns(UserWarning, match=message) as caught:
        *_, masks = predictor.add_new_mask(state, 0, 1, mask)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    again = predictor.init_state(clip[0][:3], memory_tree=MemoryTreeConfig(num_pathways=1))
    assert torch.equal(masks, SAM2VideoPredictor.add_new_mask(predictor, again, 0, 1, mask)[2])


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32, torch.bool, torch.float32])
def test_masks_of_one_value_bring_none(kind: Any, predictor: SAM2LongVideoPredictor, state: dict[str, Any]) -> None:
    model_size = np.zeros((predictor.image_size, predictor.image_size), bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="(?s).*cannot import name '_C'")
        for mask in (MASK, MASK * 255, ~MASK & False, MASK | True, MASK * 3, model_size):
            given = torch.from_numpy(mask).to(kind) if isinstance(kind, torch.dtype) else mask.astype(kind)
            predictor.add_new_mask(state, 0, 1, given)


@pytest.mark.parametrize("numbers", [[["5", "5"]], np.array([[5, 5]], object), np.array([[5 + 1j, 5]])])
def test_points_that_are_no_numbers(numbers: Any, predictor: SAM2LongVideoPredictor, state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"points must be numbers, got .*5"):
        predictor.add_new_points_or_box(state, 0, 1, points=numbers, labels=[1])
    assert nothing_is_registered(state)


@pytest.mark.parametrize("obj_id", [None, NAN, np.float32("nan")])
def test_what_is_no_name_of_an_object(obj_id: Any, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = predictor.init_state(clip[0][:3])
    with pytest.raises(ValueError, match=f"obj_id={obj_id} names no object"):
        predictor.add_new_mask(state, 0, obj_id, MASK)
    assert nothing_is_registered(state)


def test_a_start_beyond_the_video_is_said(predictor: SAM2LongVideoPredictor, state: dict[str, Any]) -> None:
    predictor.add_new_mask(state, 0, 1, MASK)
    with pytest.warns(UserWarning, match="start_frame_idx=3 is beyond the video, which has frames 0 to 2"):
        assert list(predictor.propagate_in_video(state, start_frame_idx=3)) == []
