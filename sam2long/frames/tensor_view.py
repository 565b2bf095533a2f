"""Frames that programs written for SAM 2 can look at as its tensor of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, SupportsIndex, overload

import numpy as np
import torch
from torch import Tensor

from sam2long.frames.source import normalise_index


class TensorView(ABC):
    """Frames by index that answer as SAM 2's `inference_state["images"]`, a tensor `[T, 3, S, S]`, would.

    Each frame is made when it is asked for, as a tensor of the caller's own; several are stacked. What is written
    into them changes nothing here.

    Attributes:
        image_size: S, the model's.
        device: where the tensors lie.
        dtype: of the tensors.
    """

    image_size: int
    device: torch.device
    dtype: torch.dtype = torch.float32
    ndim = 4

    @abstractmethod
    def __len__(self) -> int:
        """The number of frames, T."""

    @abstractmethod
    def _frame(self, frame_idx: int) -> Tensor:
        """Frame `frame_idx`, which lies in `0 .. len(self) - 1`, as `[3, S, S]`."""

    @property
    def shape(self) -> torch.Size:
        """[T, 3, S, S]."""
        return torch.Size((len(self), 3, self.image_size, self.image_size))

    def dim(self) -> int:
        """4, as of every tensor of images."""
        return self.ndim

    @overload
    def size(self, dim: None = None) -> torch.Size: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> torch.Size | int:
        """`shape`, or one of its numbers."""
        return self.shape if dim is None else self.shape[dim]

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Tensor: ...
    @overload
    def __getitem__(self, index: Any, /) -> Tensor: ...
    def __getitem__(self, index: Any, /) -> Tensor:
        """What a tensor would give: `[3, S, S]` for a number, `[n, 3, S, S]` for a slice, list, array or mask.

        A tuple goes on into the frames: `images[5, :, 0]`. Raises IndexError beyond the ends, and FrameError or
        ValueError for a frame that cannot be given.
        """
        if _is_number(index):
            return self._frame(normalise_index(int(index), len(self)))
        if not isinstance(index, tuple):
            return self._stacked(torch.arange(len(self))[index])
        if not index or index[0] is None or index[0] is Ellipsis:
            return self[:][index]
        if _is_number(index[0]):
            return self[index[0]][index[1:]]
        chosen, inside = torch.arange(len(self))[index[0]], tuple(index[1:])
        if isinstance(index[0], slice):
            return self._stacked(chosen)[(slice(None),) + inside]
        # Lists of frames go along with lists of places in them, pair by pair.
        places = torch.arange(chosen.numel()).reshape(chosen.shape)
        return self._stacked(chosen.reshape(-1))[(places,) + inside]

    def _stacked(self, frame_idxs: Tensor) -> Tensor:
        """The frames of these numbers, `[*frame_idxs.shape, 3, S, S]`."""
        frames = [self._frame(frame_idx) for frame_idx in frame_idxs.reshape(-1).tolist()]
        if not frames:
            return torch.empty((*frame_idxs.shape, *self.shape[1:]), dtype=self.dtype, device=self.device)
        if self.device.type == "cpu":  # without torch's threads, which no fork has
            stacked = torch.from_numpy(np.stack([frame.numpy() for frame in frames]))
        else:
            stacked = torch.stack(frames)
        return stacked.reshape(*frame_idxs.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[Tensor]:
        return (self._frame(frame_idx) for frame_idx in range(len(self)))


def wait_for_copies(device: torch.device) -> None:
    """Before a state is copied: what its device still writes to the host has to arrive there.

    A state names its images first, so that their copying is the place to wait.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _is_number(index: Any) -> bool:
    """Whether an index chooses one frame: an integer of Python, NumPy or torch."""
    if isinstance(index, Tensor | np.ndarray):
        return index.ndim == 0 and index.dtype != torch.bool and index.dtype != np.bool_
    return isinstance(index, int | np.integer) and not isinstance(index, bool)
