"""Entries of packed frames give tensors by every way of reading a dict."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from sam2long.search.scores import FrameScores
from sam2long.state.shelf import Shelf
from sam2long.state.tracked_frames import TrackedFrame

TENSORS = ("pred_masks", "obj_ptr", "object_score_logits")
KEYS = ("maskmem_features", "maskmem_pos_enc", *TENSORS, "scores")


def packed() -> TrackedFrame:
    frame = TrackedFrame(
        features=torch.zeros(1, 4, 8, 8, dtype=torch.bfloat16),
        pos_enc=[torch.zeros(1)],
        pred_masks=torch.arange(-8.0, 8.0).reshape(1, 1, 4, 4),
        obj_ptr=torch.arange(16.0)[None],
        object_score_logits=torch.tensor([[5.0]]),
        scores=FrameScores(0.9, 5.0, -1.0, 0.5, 3),
        storage_device=torch.device("cpu"),
    )
    frame.compact(Shelf())
    return frame


def update(frame: TrackedFrame) -> dict[str, Any]:
    read: dict[str, Any] = {}
    read.update(frame)
    return read


def popped(frame: TrackedFrame) -> dict[str, Any]:
    frame = copy.copy(frame)
    return dict(reversed([frame.popitem() for _ in range(len(frame))]))


def in_place(frame: TrackedFrame) -> dict[str, Any]:
    read: dict[str, Any] = {}
    read |= frame
    return read


WAYS: dict[str, Callable[[TrackedFrame], dict[str, Any]]] = {
    "[]": lambda frame: {key: frame[key] for key in frame},
    "get": lambda frame: {key: frame.get(key) for key in frame.keys()},  # noqa: SIM118
    "values": lambda frame: dict(zip(frame, frame.values(), strict=True)),
    "items": lambda frame: {key: value for key, value in frame.items()},  # noqa: C416
    "items of a set": lambda frame: dict(iter(frame.items())),
    "{**}": lambda frame: {**frame},
    "dict": lambda frame: dict(frame),
    "dict with more": lambda frame: {key: value for key, value in dict(frame, more=1).items() if key != "more"},
    "copy": lambda frame: frame.copy(),
    "copy.copy": lambda frame: dict(copy.copy(frame)),
    "pop": lambda frame: {key: copy.copy(frame).pop(key) for key in frame},
    "popitem": popped,
    "setdefault": lambda frame: {key: copy.copy(frame).setdefault(key, None) for key in frame},
    "|": lambda frame: frame | {},
    "| from the right": lambda frame: {} | frame,
    "|=": in_place,
    "update": update,
    "call": lambda frame: (lambda **kwargs: kwargs)(**frame),
    "deepcopy": lambda frame: dict(copy.deepcopy(frame)),
    "pickle": lambda frame: dict(pickle.loads(pickle.dumps(frame))),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_tensors(way: str) -> None:
    frame = packed()
    read = WAYS[way](frame)
    assert tuple(read) == KEYS
    assert torch.equal(read["pred_masks"] > 0, torch.arange(-8.0, 8.0).reshape(1, 1, 4, 4) > 0)
    assert torch.equal(read["obj_ptr"], torch.arange(16.0)[None])
    assert torch.equal(read["object_score_logits"], torch.tensor([[5.0]]))
    assert read["scores"] == FrameScores(0.9, 5.0, -1.0, 0.5, 3)
    assert read["maskmem_features"] is None
    assert frame.packed() is not None, "reading changes nothing"
    assert tuple(frame) == KEYS


def test_what_is_not_there() -> None:
    frame = packed()
    assert frame.pop("nothing", 7) == frame.get("nothing", 7) == 7
    with pytest.raises(KeyError):
        frame.pop("nothing")
    with pytest.raises(KeyError):
        frame["nothing"]
    assert frame.setdefault("mine", 3) == frame["mine"] == 3


def test_what_is_written_is_read() -> None:
    frame = packed()
    for key in TENSORS:
        frame[key] = torch.ones(2)
        assert torch.equal(frame[key], torch.ones(2))
    assert "PackedMask" not in repr(packed())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda frame: pickle.loads(pickle.dumps(frame))])
def test_copies_stay_packed(again: Callable[[TrackedFrame], TrackedFrame]) -> None:
    frame = again(packed())
    assert type(frame) is TrackedFrame
    assert frame.packed() is not None
