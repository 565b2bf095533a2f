"""Which options of SAM 2's model a memory tree can work with."""

from __future__ import annotations

from sam2long.config import MemoryTreeConfig
from sam2long.model.seam import TreeOptions


def check_model_suits_tree(model: TreeOptions, config: MemoryTreeConfig) -> None:
    """Refuse the options that leave a tree nothing to choose from; with `num_pathways=1` all are SAM 2's affair.

    Raises:
        ValueError: naming the option, its value and the mend.
    """
    if config.num_pathways == 1:
        return
    if model.num_maskmem == 0:
        raise ValueError("num_maskmem=0 switches memory off; a memory tree needs it (or num_pathways=1)")
    if not model.proposes_three_masks():
        raise ValueError(
            "the memory tree needs three masks per tracked frame: set multimask_output_in_sam=true, "
            "multimask_output_for_tracking=true and multimask_min_pt_num=0 in the model (or num_pathways=1)"
        )
    if model.memory_temporal_stride_for_eval != 1:
        raise ValueError(
            f"memory_temporal_stride_for_eval={model.memory_temporal_stride_for_eval} has no meaning with a "
            "memory tree, which chooses its memories by their scores: set it to 1 (or num_pathways=1)"
        )
    # With these SAM 2 itself fails, or computes NaN, once a video is under way.
    if model.max_cond_frames_in_attn < 2 and model.max_cond_frames_in_attn != -1:
        raise ValueError(
            f"max_cond_frames_in_attn={model.max_cond_frames_in_attn} cannot be met: SAM 2 attends to the closest "
            "conditioning frames on both sides; set it to 2 or more, or to -1 for all of them"
        )
    if model.use_obj_ptrs_in_encoder and model.max_obj_ptrs_in_encoder < 2:
        raise ValueError(
            f"max_obj_ptrs_in_encoder={model.max_obj_ptrs_in_encoder} leaves no past to point to: set it to 2 or "
            "more, or use_obj_ptrs_in_encoder=false"
        )
