"""The newest frames of a stream."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2long.frames.arrays import SequenceFrames
from sam2long.frames.model_frames import ModelFrames
from sam2long.frames.tensor_view import TensorView, wait_for_copies

# Frames of a stream that can still be prompted; older ones are gone.
NUM_HELD_FRAMES = 16


class HeldFrames(TensorView):
    """The newest frames of a stream as the model reads them: what a stream's `inference_state["images"]` holds.

    As a tensor it has all frames received so far; asking for one that is not held any more is a ValueError.

    Args:
        image_size: of the model.
        device: where the tensors go.

    Attributes:
        num_held: how many frames are held; more where a policy looks further back.
    """

    num_held = NUM_HELD_FRAMES

    def __init__(self, image_size: int, device: torch.device) -> None:
        self.image_size = image_size
        self.device = device
        self._held: OrderedDict[int, Tensor] = OrderedDict()
        self.num_received = 0
        self.height = self.width = 0

    def checked(self, frame: NDArray[np.uint8] | Tensor) -> NDArray[np.uint8]:
        """A frame that may be the next one, uint8 [H, W, 3] RGB.

        Raises:
            ValueError: if it is no such array, or of another size than the frames before.
        """
        array = frame.cpu().numpy() if isinstance(frame, Tensor) else np.asarray(frame)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 [H, W, 3] RGB, got {array.dtype} {list(array.shape)}")
        if self.num_received and array.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"frame {self.num_received} is {array.shape[1]}x{array.shape[0]}, "
                f"the stream began with {self.width}x{self.height}"
            )
        return array

    def append(self, frame: NDArray[np.uint8] | Tensor) -> int:
        """Take the next frame; returns its index. Raises what `checked` does."""
        array = self.checked(frame)
        self.height, self.width = array.shape[:2]
        # The same code resizes and normalises as for a video, so the pixels are the same.
        source = SequenceFrames(array[None], "the stream")
        self._held[self.num_received] = ModelFrames(source, self.image_size, self.device, prefetch=0)[0]
        if len(self._held) > self.num_held:
            self._held.popitem(last=False)
        self.num_received += 1
        return self.num_received - 1

    def __len__(self) -> int:
        return self.num_received

    def _frame(self, frame_idx: int) -> Tensor:
        self.require(frame_idx)
        return self._held[frame_idx]

    def __getstate__(self) -> dict[str, Any]:
        wait_for_copies(self.device)
        return vars(self)

    def require(self, frame_idx: int) -> None:
        """Raises ValueError if the frame is not held."""
        if frame_idx not in self._held:
            raise ValueError(
                f"frame {frame_idx} of the stream is not held: only the newest {self.num_held} of "
                f"{self.num_received} frames can be prompted (use init_state on a file to come back to any frame)"
            )
