"""SAM 2's video predictor: the one door through which it comes in, found to be the right one, and typed.

sam2 carries no types; what a type checker sees instead is what it documents, so that a misspelt method or keyword in a
program that uses sam2long is found.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _found_sam2() -> str:
    """What `import sam2` finds, in words: a fork may lie before sam2 on the path."""
    spec = find_spec("sam2")
    if spec is None:
        return "none; README.md says how to install it"
    where = spec.origin or ", ".join(spec.submodule_search_locations or ())
    return f"another one at {where}, which lies first on sys.path"


if TYPE_CHECKING:
    from torch import Tensor, device, nn

    SAM2_FOLDER: Path
    OFFICIAL_MODELS: dict[str, tuple[str, str]]

    class SAM2VideoPredictor(nn.Module):
        """What of SAM 2's predictor is used here; its methods are typed where they are overridden."""

        image_size: int
        hidden_dim: int
        mem_dim: int
        num_maskmem: int
        max_cond_frames_in_attn: int
        memory_temporal_stride_for_eval: int
        max_obj_ptrs_in_encoder: int
        use_obj_ptrs_in_encoder: bool
        only_obj_ptrs_in_the_past_for_eval: bool
        use_signed_tpos_enc_to_obj_ptrs: bool
        add_tpos_enc_to_obj_ptrs: bool
        proj_tpos_enc_in_obj_ptrs: bool
        pred_obj_scores: bool
        soft_no_obj_ptr: bool
        fixed_no_obj_ptr: bool
        non_overlap_masks: bool
        non_overlap_masks_for_mem_enc: bool
        clear_non_cond_mem_around_input: bool
        fill_hole_area: int
        maskmem_tpos_enc: Tensor
        no_obj_ptr: Tensor
        sam_prompt_encoder: Any
        sam_mask_decoder: Any
        image_encoder: Any
        memory_encoder: Any
        memory_attention: Any
        obj_ptr_proj: Any
        obj_ptr_tpos_proj: Any

        @property
        def device(self) -> device: ...
        def forward_image(self, img_batch: Tensor) -> dict[str, Any]: ...
        def init_state(self, *args: Any, **kwargs: Any) -> Any: ...
        def add_new_points_or_box(self, *args: Any, **kwargs: Any) -> Any: ...
        def add_new_mask(self, *args: Any, **kwargs: Any) -> Any: ...
        def clear_all_prompts_in_frame(self, *args: Any, **kwargs: Any) -> Any: ...
        def remove_object(self, *args: Any, **kwargs: Any) -> Any: ...
        def reset_state(self, *args: Any, **kwargs: Any) -> Any: ...
        def propagate_in_video_preflight(self, *args: Any, **kwargs: Any) -> Any: ...
        def propagate_in_video(self, *args: Any, **kwargs: Any) -> Any: ...
        def track_step(self, *args: Any, **kwargs: Any) -> Any: ...
        def _use_multimask(self, *args: Any, **kwargs: Any) -> Any: ...
        def _get_image_feature(self, *args: Any, **kwargs: Any) -> Any: ...
        def _get_orig_video_res_output(self, *args: Any, **kwargs: Any) -> Any: ...
        def _run_single_frame_inference(self, *args: Any, **kwargs: Any) -> Any: ...
        def _run_memory_encoder(self, *args: Any, **kwargs: Any) -> Any: ...
        def _prepare_memory_conditioned_features(self, *args: Any, **kwargs: Any) -> Any: ...
        def _encode_new_memory(self, *args: Any, **kwargs: Any) -> Any: ...

    class SAM2VideoPredictorVOS(SAM2VideoPredictor):
        """The predictor whose components are compiled."""

else:
    try:
        # The second came with sam2 1.1, as did the state with objects of their own; vendored forks are often older.
        import sam2
        from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES as OFFICIAL_MODELS
        from sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != "sam2":  # what sam2 itself needs
            raise
        raise ImportError(f"sam2long needs sam2 >= 1.1, found {_found_sam2()}: {error}") from error
    SAM2_FOLDER = Path(sam2.__path__[0])  # where its `configs` lie

__all__ = ["OFFICIAL_MODELS", "SAM2_FOLDER", "SAM2VideoPredictor", "SAM2VideoPredictorVOS"]
