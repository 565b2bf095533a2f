"""Prompts: those that cannot be meant are refused, those that fail leave no trace."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from sam2long.frames.held_frames import HeldFrames
from sam2long.state.inference_state import level_of_caller

# SAM 2's labels: not on the object, on it, and the corners of a box given as points; -1 is padding.
_LABELS = (-1, 0, 1, 2, 3)


def check_frame(inference_state: dict[str, Any], frame_idx: Any) -> None:
    """Refuse a frame that the video does not have, or a stream does not hold.

    Raises:
        ValueError: naming the frame and the frames there are.
    """
    if isinstance(frame_idx, bool) or not isinstance(frame_idx, Integral):
        raise ValueError(f"frame_idx must be an integer, got {frame_idx!r}")
    images = inference_state["images"]
    if isinstance(images, HeldFrames):
        images.require(int(frame_idx))
    elif not 0 <= int(frame_idx) < inference_state["num_frames"]:
        last = inference_state["num_frames"] - 1
        raise ValueError(f"frame_idx={frame_idx} is out of range: the video has frames 0 to {last}")


def check_obj_id(obj_id: Any) -> None:
    """Refuse what is no name of an object: None, and NaN, which is not even itself.

    Raises:
        ValueError: naming it.
    """
    if obj_id is None or (isinstance(obj_id, Real) and math.isnan(obj_id)):
        raise ValueError(f"obj_id={obj_id} names no object: give it a number or another hashable value")


def check_values(points: Any, labels: Any, box: Any) -> None:
    """Refuse numbers that are none or infinite, and boxes upside down. Beyond the frame's edge they may be.

    Raises:
        ValueError: naming the value.
    """
    for name, value in (("points", points), ("labels", labels), ("box", box)):
        if value is not None:
            _numbers(name, value)
    if box is not None and (corners := _numbers("box", box)).size == 4:
        x0, y0, x1, y1 = corners.reshape(-1).tolist()
        if x0 > x1 or y0 > y1:
            raise ValueError(f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is upside down: it needs x0 <= x1 and y0 <= y1")


def check_points_or_box(points: Any, labels: Any, box: Any, *, clear_old_points: bool) -> None:
    """Refuse clicks and boxes of another shape, or without what belongs to them.

    Args:
        points: [N, 2] or [1, N, 2] as x, y, or None.
        labels: N, or None.
        box: x0, y0, x1, y1, or None.
        clear_old_points: whether the prompt replaces what was given on the frame before.

    Raises:
        ValueError: naming the value.
    """
    if points is None and box is None:
        raise ValueError("neither points nor a box were given: pass points and labels, or box=[x0, y0, x1, y1]")
    if (points is None) != (labels is None):
        raise ValueError("points and labels must be provided together: one label for each point")
    if points is not None:
        _check_points(points, labels)
    if box is not None:
        if not clear_old_points:
            raise ValueError("a box comes before the points of its frame: pass clear_old_points=True with it")
        if (size := _numbers("box", box).size) != 4:
            raise ValueError(f"box must be x0, y0, x1, y1, got {size} numbers")


def _check_points(points: Any, labels: Any) -> None:
    xy, values = _numbers("points", points), _numbers("labels", labels).reshape(-1)
    if xy.ndim not in (2, 3) or xy.shape[-1] != 2 or (xy.ndim == 3 and len(xy) != 1):
        raise ValueError(f"points must be [[x, y], ...], got shape {list(xy.shape)}")
    if xy.size // 2 != len(values):
        raise ValueError(f"{xy.size // 2} points and {len(values)} labels: give one label for each point")
    strange = [value for value in values.tolist() if value not in _LABELS]
    if strange:
        raise ValueError(f"labels must be 1 (on the object) or 0 (not on it), got {strange[0]:g}")


def warn_of_odd_prompt(inference_state: dict[str, Any], points: Any, labels: Any, box: Any, *, in_pixels: bool) -> None:
    """Warn, at the caller's line, of clicks and a box that are allowed and hardly meant; otherwise in 0 to 1."""
    size = (inference_state["video_width"], inference_state["video_height"]) if in_pixels else (1, 1)
    if doubt := _doubt(points, labels, box, size):
        warnings.warn(doubt, UserWarning, stacklevel=level_of_caller())


def _doubt(points: Any, labels: Any, box: Any, size: tuple[float, float]) -> str | None:
    given = [np.empty((0, 2))] if box is None else [_numbers("box", box).reshape(-1, 2)]
    if points is not None:
        given.append(_numbers("points", points).reshape(-1, 2)[_numbers("labels", labels).reshape(-1) >= 0])
    xy = np.concatenate(given)
    if not len(xy):
        return None
    shown = ", ".join(f"({x:g}, {y:g})" for x, y in xy[:4].tolist())
    # Both 0 and 1 are pixels too, but a box between them has none.
    is_fraction = ((xy >= 0) & (xy <= 1)).all() and (box is not None or (xy % 1 != 0).any())
    if min(size) > 2 and is_fraction:
        return f"all coordinates lie between 0 and 1, but they are pixels: {shown}; multiply them by the frame's size"
    low, high = xy.min(axis=0), xy.max(axis=0)
    if (high < 0).any() or (low > size).any():
        unit = "pixels" if max(size) > 1 else "with normalize_coords=False"
        return f"the prompt lies outside the frame, which is {size[0]:g} x {size[1]:g} {unit}: {shown}"
    return None


def check_mask(mask: Any) -> None:
    """Refuse a mask that is not of two dimensions; an empty one means that the object is not there.

    Raises:
        ValueError: naming its shape.
    """
    shape = tuple(mask.shape) if hasattr(mask, "shape") else np.asarray(mask).shape
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"mask must be [height, width], got shape {list(shape)}")
    if isinstance(mask, torch.Tensor):
        finite = not mask.is_floating_point() or bool(torch.isfinite(mask).all())
    else:
        array = np.asarray(mask)
        finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    if not finite:
        raise ValueError("mask holds NaN or infinite values; give True on the object and False elsewhere")


def warn_of_odd_mask(inference_state: dict[str, Any], mask: Any, image_size: int) -> None:
    """Warn, at the caller's line, of a mask that most likely means something else than SAM 2 takes it for.

    Args:
        image_size: S of the model, whose masks may have S x S pixels too.
    """
    if doubt := _doubt_of_mask(inference_state, mask, image_size):
        warnings.warn(doubt, UserWarning, stacklevel=level_of_caller())


def _doubt_of_mask(inference_state: dict[str, Any], mask: Any, image_size: int) -> str | None:
    values = mask if isinstance(mask, torch.Tensor) else np.asarray(mask)
    height, width = (int(side) for side in values.shape)
    size = inference_state["video_height"], inference_state["video_width"]
    doubts = []
    if "bool" not in str(values.dtype):
        is_tensor = isinstance(values, torch.Tensor)  # SAM 2 makes bool of anything else
        given = values[values >= 0.5] if is_tensor else values[values != 0]
        if len(given) and bool((given != given[0]).any()):
            low, high, share = float(values.min()), float(values.max()), len(given) / (height * width)
            taken = "from 0.5 up" if is_tensor else "but 0"
            doubts.append(
                f"holds values from {low:g} to {high:g}, of which all {taken} are the object "
                f"({100 * share:.3g} % of the pixels): pass a bool mask, such as logits > 0, probs > 0.5 or ids == 3"
            )
    if (height, width) not in (size, (image_size, image_size)):
        doubts.append(
            f"is {height} x {width}, the frame {size[0]} x {size[1]} (height x width): it is resized, so it must show "
            "the whole frame; pass one of the frame's size"
        )
    return f"the mask {'; and it '.join(doubts)}" if doubts else None


@contextmanager
def untouched_by_failure(inference_state: dict[str, Any], frame_idx: int, obj_id: Any) -> Iterator[None]:
    """If a prompt fails, forget it. SAM 2 registers object and prompt first; such an object would stop every pass."""
    obj_ids, obj_idx = inference_state["obj_ids"], inference_state["obj_id_to_idx"].get(obj_id)
    inputs = [inference_state[key] for key in ("point_inputs_per_obj", "mask_inputs_per_obj")]
    before = [of_obj[obj_idx].get(frame_idx) for of_obj in inputs] if obj_idx is not None else []
    try:
        yield
    except BaseException:
        if obj_idx is not None:
            for of_obj, prompt in zip(inputs, before, strict=True):
                of_obj[obj_idx].pop(frame_idx, None)
                if prompt is not None:
                    of_obj[obj_idx][frame_idx] = prompt
        elif (new_idx := inference_state["obj_id_to_idx"].pop(obj_id, None)) is not None:
            inference_state["obj_ids"] = obj_ids
            inference_state["obj_idx_to_id"].pop(new_idx)
            for key in (key for key in inference_state if key.endswith("_per_obj")):
                inference_state[key].pop(new_idx, None)
        raise


def _numbers(name: str, value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        numbers = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        if numbers.dtype.kind not in "biuf":  # text that looks like numbers, complex numbers, objects
            raise TypeError
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, got {value!r:.80}") from error
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite numbers, got {_first(numbers)}")
    return np.asarray(numbers)


def _first(numbers: np.ndarray[Any, Any]) -> float:
    return float(next(value for value in numbers.reshape(-1).tolist() if not math.isfinite(value)))
