"""What the memory tree needs of SAM 2's predictor, by the names SAM 2 gives it.

Everything here is a protocol, so that mypy checks what is read and a test can hand in a fake. `StepwisePredictor`
(`stepwise`) is the one place that calls SAM 2's methods of leading underscore.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from sam2long.model.image_features import ImageFeatures


class MemoryEncodings(Protocol):
    """What turns memories into tokens: sizes, temporal encodings and the projection of pointers."""

    num_maskmem: int
    mem_dim: int
    use_obj_ptrs_in_encoder: bool
    add_tpos_enc_to_obj_ptrs: bool
    proj_tpos_enc_in_obj_ptrs: bool
    maskmem_tpos_enc: Tensor  # [num_maskmem, 1, 1, C_mem]

    @property
    def obj_ptr_tpos_proj(self) -> Callable[[Tensor], Tensor]:
        """The projection of the pointers' temporal encodings, [K, B, dim] to [K, B, C_mem]."""


class StepModel(Protocol):
    """The modules of a tracking step, and the options that say how their outputs are used.

    `reuses_buffers`: whether a module's outputs are overwritten by its next call (CUDA graphs of the compiled model).
    """

    image_size: int
    sam_prompt_encoder: Any
    no_obj_ptr: Tensor  # [1, C]
    pred_obj_scores: bool
    soft_no_obj_ptr: bool
    fixed_no_obj_ptr: bool
    non_overlap_masks_for_mem_enc: bool
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


class TreeOptions(Protocol):
    """The options of SAM 2's model that decide whether a memory tree has anything to choose from."""

    num_maskmem: int
    multimask_output_in_sam: bool
    multimask_output_for_tracking: bool
    multimask_min_pt_num: int
    memory_temporal_stride_for_eval: int
    max_cond_frames_in_attn: int
    use_obj_ptrs_in_encoder: bool
    max_obj_ptrs_in_encoder: int
