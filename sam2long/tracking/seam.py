"""What the trees of a pass need of the predictor."""

from __future__ import annotations

from typing import Protocol

from sam2long.model.image_features import ImageModel
from sam2long.model.memory_bank import FrameMemory
from sam2long.model.seam import MemoryEncodings, StepModel
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction
from sam2long.state.object_past import PastModel


class TreeModel(MemoryEncodings, StepModel, ImageModel, PastModel, Protocol):
    """What the trees of a pass are grown with: SAM 2's modules, its past, and the policies."""

    encode_ahead: int
    max_obj_ptrs_in_encoder: int

    @property
    def select(self) -> SelectFunction:
        """Which candidates live on."""

    @property
    def choose_memory(self) -> ChooseMemoryFunction[FrameMemory]:
        """Which frames a pathway remembers."""
