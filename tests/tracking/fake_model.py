"""A predictor to grow trees with: what it proposes on a frame is written down beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sam2long.model.hypotheses import Hypothesis, Proposals
from sam2long.model.image_features import ImageFeatures
from sam2long.model.levels import quantise
from sam2long.model.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.model.modules import DecodedMasks
from sam2long.search.picking import Pick
from sam2long.search.policy import Policy
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates
from sam2long.state.inference_state import new_inference_state

MASK, POINTER, MEMORY = torch.zeros(1, 1, 4, 4), torch.zeros(1, 8), torch.zeros(1, 8, 4, 4)


@dataclass
class FakeModel:
    """Every pathway proposes `ious[t]` with the occlusion score `occlusion[t]`; mask k is 1 + k on every pixel."""

    ious: Sequence[Sequence[float]]
    occlusion: Sequence[float]
    attended: list[list[list[int]]] = field(default_factory=list)  # per call and pathway, the frames remembered
    select: SelectFunction = select_candidates
    choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory
    num_maskmem: int = 7
    max_obj_ptrs_in_encoder: int = 16
    max_cond_frames_in_attn: int = -1
    use_obj_ptrs_in_encoder: bool = True
    only_obj_ptrs_in_the_past_for_eval: bool = False
    use_signed_tpos_enc_to_obj_ptrs: bool = False
    clear_non_cond_mem_around_input: bool = False
    memory_temporal_stride_for_eval: int = 1
    encode_ahead: int = 0
    reuses_buffers: bool = False
    captures: Any = None

    def proposes_three_masks(self) -> bool:
        return True

    def hypothesis_model(self, bank: MemoryBank, spatial_pos: Tensor, max_obj_ptrs: int, policy: Policy) -> FakeModel:
        return self

    def image_features(self, inference_state: dict[str, Any], frame_idx: int) -> ImageFeatures:
        return ImageFeatures([torch.tensor(frame_idx)], [], [])  # the frame's number is all that it shows

    def propose(self, features: ImageFeatures, pathways: Sequence[PathwayMemory]) -> Proposals:
        num_rows, t = len(pathways), int(features.vision_feats[0])
        self.attended.append([[memory.frame_idx for memory in pathway.remembered] for pathway in pathways])
        masks = torch.arange(1.0, 4.0).view(1, 3, 1, 1).expand(num_rows, 3, 4, 4)
        scores = torch.tensor([[*self.ious[t], self.occlusion[t]]]).expand(num_rows, 4)
        return Proposals(DecodedMasks(masks, POINTER, scores[:, 3:], scores, masks))

    def remember(
        self, frame_idx: int, features: ImageFeatures, proposals: Proposals, picks: Sequence[Pick]
    ) -> list[Hypothesis]:
        return [
            Hypothesis(
                FrameMemory(frame_idx, pick.predicted_iou, pick.occlusion_score, MEMORY, POINTER),
                MASK + 1 + pick.mask_idx,
                torch.tensor([[pick.occlusion_score]]),
                pick.score,
            )
            for pick in picks
        ]

    def finish(self, mask_logits: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        return [(mask, quantise(mask)) for mask in mask_logits]

    def at_video_res(self, inference_state: dict[str, Any], mask_logits: Tensor) -> Tensor:
        return mask_logits

    def encode_images(self, images: Tensor) -> dict[str, Any]:
        raise NotImplementedError("nothing is encoded ahead")

    def restore_features(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> Tensor:
        return MEMORY

    def clear_memory_around(self, inference_state: dict[str, Any], frame_idx: int, obj_idx: int) -> None:
        raise NotImplementedError("clear_non_cond_mem_around_input is off")


def prompted_state(num_frames: int, prompted: dict[Any, int]) -> dict[str, Any]:
    """SAM 2's state with each object given on one frame, as after consolidating prompts."""
    state = new_inference_state(NoFrames(num_frames), torch.device("cpu"), False, False)
    state["constants"]["maskmem_pos_enc"] = [MEMORY]
    for obj_idx, (obj_id, frame_idx) in enumerate(prompted.items()):
        given = {
            "maskmem_features": MEMORY,
            "pred_masks": MASK + 9,
            "obj_ptr": POINTER,
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
class NoFrames:
    """A video's length and size."""

    num_frames: int
    height: int = 4
    width: int = 4

    def __len__(self) -> int:
        return self.num_frames
