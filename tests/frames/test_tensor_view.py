"""Images that programs written for SAM 2 look at as its tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from noise_pictures import picture

from sam2long.frames import HeldFrames, ModelFrames, open_frames

CPU = torch.device("cpu")
T, S = 6, 16


@pytest.fixture(scope="module")
def frames() -> ModelFrames:
    return ModelFrames(open_frames(np.stack([picture(t) for t in range(T)])), S, CPU)


@pytest.fixture(scope="module")
def tensor(frames: ModelFrames) -> torch.Tensor:
    return torch.stack([frames[t] for t in range(T)])


def test_facts_of_a_tensor(frames: ModelFrames, tensor: torch.Tensor) -> None:
    assert type(frames.shape) is torch.Size
    for fact in ("shape", "ndim", "dtype", "device"):
        assert getattr(frames, fact) == getattr(tensor, fact), fact
    assert frames.dim() == tensor.dim()
    assert frames.size() == tensor.size()
    assert [frames.size(dim) for dim in (0, 1, -1)] == [tensor.size(dim) for dim in (0, 1, -1)]
    assert len(frames) == len(tensor)


@pytest.mark.parametrize(
    "index",
    [
        2,
        -1,
        np.int64(3),
        np.array(3),
        torch.tensor(-2),
        slice(None),
        slice(1, 5, 2),
        slice(-2, None),
        slice(4, 4),
        [3, 1, 1],
        [],
        np.array([0, -1]),
        np.array([True, False, True, False, False, True]),
        torch.tensor([[0, 1], [2, 3]]),
        torch.tensor([True, False, False, False, False, True]),
        (3, 1),
        (slice(0, 2), slice(None), 4),
        ([0, 2], [1, 1], slice(2, 5)),
        (torch.tensor([0, 2]), slice(None), torch.tensor([3, 4])),
        (Ellipsis, 0),
        (None, 2),
        Ellipsis,
        None,
        (),
        True,
    ],
    ids=str,
)
def test_every_index_of_a_tensor(index: Any, frames: ModelFrames, tensor: torch.Tensor) -> None:
    expected = tensor[index] if not (isinstance(index, list) and not index) else tensor[:0]
    assert torch.equal(frames[index], expected)


@pytest.mark.parametrize("index", [T, -T - 1, [0, T], torch.tensor([T]), np.array([True, False])], ids=str)
def test_beyond_the_ends(index: Any, frames: ModelFrames) -> None:
    with pytest.raises(IndexError):
        frames[index]


def test_iteration_ends(frames: ModelFrames, tensor: torch.Tensor) -> None:
    assert torch.equal(torch.stack(list(frames)), tensor)
    assert torch.equal(torch.cat([image[None] for image in frames]), tensor)
    assert len(list(zip(frames, range(100), strict=False))) == T


def test_what_is_given_is_the_callers_own(frames: ModelFrames, tensor: torch.Tensor) -> None:
    frames[:].zero_()
    frames[2].zero_()
    assert torch.equal(frames[:], tensor)


def test_a_stream_is_the_tensor_of_what_was_received() -> None:
    held = HeldFrames(S, CPU)
    for t in range(20):
        held.append(picture(t))
    assert held.shape == (20, 3, S, S)
    assert (held.dtype, held.device, len(held)) == (torch.float32, CPU, 20)
    assert torch.equal(held[-1], held[19])
    assert torch.equal(held[[4, 19]], torch.stack([held[4], held[19]]))
    assert held[4:].shape == (16, 3, S, S)
    for gone in (3, -17, slice(2, 6)):
        with pytest.raises(ValueError, match=r"frame \d of the stream is not held"):
            held[gone]
    with pytest.raises(ValueError, match="frame 0 of the stream is not held"):
        list(held)
    with pytest.raises(IndexError, match="frame 20 of a video of 20 frames"):
        held[20]
