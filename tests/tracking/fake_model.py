"""A model of twenty lines to grow trees with: what it proposes on a frame is written down beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sam2long.model.image_features import ImageFeatures
from sam2long.model.memory_bank import FrameMemory
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates
from sam2long.state.inference_state import new_inference_state

SIDE, C = 4, 8  # of the features; masks are as large


@dataclass
class FakeModel:
    """Proposes `ious[t]`, three a row, with the occlusion score `occlusion[t]`; mask k is 1 + k on every pixel."""

    ious: Sequence[Sequence[float]]
    occlusion: Sequence[float]
    rows: list[int] = field(default_factory=list)  # of every call of the decoder
    image_size: int = 4 * SIDE
    num_maskmem: int = 7
    mem_dim: int = C
    max_obj_ptrs_in_encoder: int = 16
    max_cond_frames_in_attn: int = -1
    fill_hole_area: int = 0
    encode_ahead: int = 0
    use_obj_ptrs_in_encoder: bool = True
    add_tpos_enc_to_obj_ptrs: bool = False
    proj_tpos_enc_in_obj_ptrs: bool = False
    only_obj_ptrs_in_the_past_for_eval: bool = False
    use_signed_tpos_enc_to_obj_ptrs: bool = False
    clear_non_cond_mem_around_input: bool = False
    pred_obj_scores: bool = True
    soft_no_obj_ptr: bool = False
    fixed_no_obj_ptr: bool = True
    non_overlap_masks_for_mem_enc: bool = False
    reuses_buffers: bool = False
    maskmem_tpos_enc: Tensor = field(default_factory=lambda: torch.zeros(7, 1, 1, C))
    no_obj_ptr: Tensor = field(default_factory=lambda: torch.zeros(1, C))
    sam_prompt_encoder: Any = None
    select: SelectFunction = select_candidates
    choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory

    def __post_init__(self) -> None:
        self.sam_prompt_encoder = PromptEncoder(torch.zeros(1, C, SIDE, SIDE))

    def padded_batch_size(self, batch_size: int) -> int:
        return batch_size

    def obj_ptr_tpos_proj(self, pos: Tensor) -> Tensor:
        return pos

    def obj_ptr_proj(self, tokens: Tensor) -> Tensor:
        return tokens

    def forward_image(self, img_batch: Tensor) -> dict[str, Any]:
        raise NotImplementedError("nothing is encoded ahead")

    def image_features(self, inference_state: dict[str, Any], frame_idx: int) -> ImageFeatures:
        feats = torch.full((SIDE * SIDE, 1, C), float(frame_idx))  # the frame's number is all that it shows
        return ImageFeatures([feats], [torch.zeros_like(feats)], [(SIDE, SIDE)])

    def memory_attention(self, *, curr: list[Tensor], **_: Any) -> Tensor:
        return curr[0]

    def sam_mask_decoder(self, *, image_embeddings: Tensor, **_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        num_rows, frame_idx = image_embeddings.shape[0], int(image_embeddings[0, 0, 0, 0])
        self.rows.append(num_rows)
        masks = torch.arange(1.0, 4.0).view(1, 3, 1, 1).expand(num_rows, 3, SIDE, SIDE)
        ious = torch.tensor([self.ious[frame_idx]]).expand(num_rows, 3)
        return masks, ious, torch.ones(num_rows, 3, C), torch.full((num_rows, 1), self.occlusion[frame_idx])

    def encode_memory(self, features: ImageFeatures, mask_logits: Tensor, object_score_logits: Tensor) -> Tensor:
        return torch.ones(mask_logits.shape[0], C, SIDE, SIDE)

    def restore_features(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> Tensor:
        return torch.ones(1, C, SIDE, SIDE)

    def clear_memory_around(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> None:
        raise NotImplementedError("clear_non_cond_mem_around_input is off")

    def prompted_state(self, num_frames: int, prompted: dict[Any, int]) -> dict[str, Any]:
        """SAM 2's state with each object given on one frame, as after consolidating prompts."""
        state = new_inference_state(NoFrames(num_frames), torch.device("cpu"), False, False)
        state["constants"]["maskmem_pos_enc"] = [torch.zeros(1, C, SIDE, SIDE)]
        for obj_idx, (obj_id, frame_idx) in enumerate(prompted.items()):
            given = {
                "maskmem_features": torch.ones(1, C, SIDE, SIDE),
                "pred_masks": torch.full((1, 1, SIDE, SIDE), 9.0),
                "obj_ptr": torch.ones(1, C),
                "object_score_logits": torch.tensor([[10.0]]),
            }
            state["obj_ids"].append(obj_id)
            state["obj_id_to_idx"][obj_id], state["obj_idx_to_id"][obj_idx] = obj_idx, obj_id
            state["frames_tracked_per_obj"][obj_idx] = {}
            state["output_dict_per_obj"][obj_idx] = {
                "cond_frame_outputs": {frame_idx: given},
                "non_cond_frame_outputs": {},
            }
        return state


@dataclass
class PromptEncoder:
    """Of no prompt."""

    dense_pe: Tensor

    def get_dense_pe(self) -> Tensor:
        return self.dense_pe

    def __call__(self, *, points: tuple[Tensor, Tensor], boxes: None, masks: None) -> tuple[Tensor, Tensor]:
        num_rows = points[1].shape[0]
        return torch.zeros(num_rows, 0, C), self.dense_pe.expand(num_rows, -1, -1, -1)


@dataclass
class NoFrames:
    """A video's length and size."""

    num_frames: int
    height: int = SIDE
    width: int = SIDE

    def __len__(self) -> int:
        return self.num_frames
