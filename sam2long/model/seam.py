"""What the memory tree needs of SAM 2's model, by the names SAM 2 gives it.

These are protocols, so that mypy checks what is read and a test can hand in a fake. `StepwisePredictor` (`stepwise`)
gives SAM 2's inner steps public names; only the predictor's own classes call those of leading underscore.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from sam2long.model.image_features import ImageFeatures


class BankOptions(Protocol):
    """How much SAM 2's memory holds."""

    num_maskmem: int
    use_obj_ptrs_in_encoder: bool


class MemoryEncodings(Protocol):
    """What turns memories into tokens: sizes, temporal encodings and the projection of pointers."""

    num_maskmem: int
    mem_dim: int
    add_tpos_enc_to_obj_ptrs: bool
    proj_tpos_enc_in_obj_ptrs: bool
    maskmem_tpos_enc: Tensor  # [num_maskmem, 1, 1, C_mem]

    @property
    def obj_ptr_tpos_proj(self) -> Callable[[Tensor], Tensor]:
        """The projection of the pointers' temporal encodings, [K, B, dim] to [K, B, C_mem]."""


class TrackingModel(MemoryEncodings, Protocol):
    """The modules of tracking, and the options that say how their outputs are used.

    `reuses_buffers`: whether a module's outputs are overwritten by its next call (CUDA graphs of the compiled model).
    """

    image_size: int
    sam_prompt_encoder: Any
    no_obj_ptr: Tensor  # [1, C]
    pred_obj_scores: bool
    soft_no_obj_ptr: bool
    fixed_no_obj_ptr: bool
    non_overlap_masks_for_mem_enc: bool
    fill_hole_area: int
    reuses_buffers: bool

    @property
    def memory_attention(self) -> Callable[..., Tensor]:
        """SAM 2's memory attention: [HW, B, C]."""

    @property
    def sam_mask_decoder(self) -> Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]:
        """SAM 2's mask decoder: masks, predicted IoUs, mask tokens, occlusion scores."""

    @property
    def obj_ptr_proj(self) -> Callable[[Tensor], Tensor]:
        """The projection from a mask token to an object pointer, [N, C] both."""

    def padded_batch_size(self, batch_size: int) -> int:
        """How many rows a batch of `batch_size` pathways is run with."""

    def encode_memory(self, features: ImageFeatures, mask_logits: Tensor, object_score_logits: Tensor) -> Tensor:
        """Spatial memories [N, C_mem, H, W] of masks [N, 1, image_size, image_size]."""


class CapturableModel(TrackingModel, Protocol):
    """What recordings run, besides."""

    image_encoder: Any
    memory_encoder: Any

    def forward_image(self, img_batch: Tensor) -> dict[str, Any]:
        """SAM 2's image encoder: [N, 3, S, S] to `backbone_fpn` and `vision_pos_enc`, lists of [N, C, H, W]."""


class TreeOptions(Protocol):
    """The options of SAM 2's model that decide whether a memory tree has anything to choose from."""

    num_maskmem: int
    memory_temporal_stride_for_eval: int
    max_cond_frames_in_attn: int
    use_obj_ptrs_in_encoder: bool
    max_obj_ptrs_in_encoder: int

    def proposes_three_masks(self) -> bool:
        """Whether a tracked frame, which has no points, is decoded into three masks."""
