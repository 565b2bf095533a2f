"""SAM 2's step on one frame over a past that is partly packed: what it reads is made whole again first."""

from __future__ import annotations

import warnings
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sam2long.model.holes import fill_holes, has_sam2_kernel
from sam2long.state.settings import SessionPredictor
from sam2long.state.tracked_frames import TrackedFrame


class RestoringPredictor(SessionPredictor):
    """Runs SAM 2's own code for single frames: prompts, memories of packed frames, passes with one pathway."""

    def clear_memory_around(self, inference_state: dict[str, Any], frame_idx: int, obj_idx: int) -> None:
        """Drop an object's tracked frames around a prompted one, as far as SAM 2's memory reaches."""
        reach = self.memory_temporal_stride_for_eval * self.num_maskmem
        tracked = inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"]
        for t in range(frame_idx - reach, frame_idx + reach + 1):
            tracked.pop(t, None)

    # sam2 1.1.0 calls it by this name and never defines it.
    _clear_obj_non_cond_mem_around_input = clear_memory_around

    def _run_single_frame_inference(
        self, inference_state: dict[str, Any], output_dict: dict[str, Any], frame_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], Tensor]:
        """SAM 2's step for prompts, its memories whole again and its holes filled even without sam2's kernel.

        With `num_pathways=1` nothing is added: that is sam2's result on this machine, bit for bit.
        """
        step = super()._run_single_frame_inference
        self._restore_around(inference_state, output_dict, frame_idx)
        if self.tree_config(inference_state).num_pathways == 1:
            return step(inference_state, output_dict, frame_idx, *args, **kwargs)
        # In float32 SAM 2 fails where all it attends to is bfloat16: before an object's first prompt there is no
        # pointer. One float32 memory makes all of them so, as a pointer would.
        conditioning = {
            t: {**output, "maskmem_features": output["maskmem_features"].float()}
            for t, output in output_dict["cond_frame_outputs"].items()
        }
        output_dict = {**output_dict, "cond_frame_outputs": conditioning}
        if has_sam2_kernel() or self.fill_hole_area <= 0:
            return step(inference_state, output_dict, frame_idx, *args, **kwargs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*Skipping the post-processing step")
            output, pred_masks = step(inference_state, output_dict, frame_idx, *args, **kwargs)
        pred_masks = fill_holes(pred_masks, self.fill_hole_area)
        output["pred_masks"] = pred_masks.to(inference_state["storage_device"], non_blocking=True)
        return output, pred_masks

    def _restore_around(self, inference_state: dict[str, Any], output_dict: dict[str, Any], frame_idx: int) -> None:
        """Make the tracked frames that SAM 2's memory attention may read around a frame whole again."""
        objects = inference_state["output_dict_per_obj"].items()
        obj_idx = next(obj_idx for obj_idx, outputs in objects if outputs is output_dict)
        reach = self.memory_temporal_stride_for_eval * self.num_maskmem
        around = range(frame_idx - reach, frame_idx + reach + 1)
        tracked = {t: output_dict["non_cond_frame_outputs"].get(t) for t in around}
        frames = {t: frame for t, frame in tracked.items() if isinstance(frame, TrackedFrame)}
        obj_id = inference_state["obj_idx_to_id"][obj_idx]
        for frame in frames.values():
            if frame["maskmem_features"] is not None:  # before a restored frame takes its place
                self.session(inference_state).recent.touch(obj_id, frame)
        for t in frames:
            self.restore_features(inference_state, obj_id, t)

    def restore_features(self, inference_state: dict[str, Any], obj_id: Any, frame_idx: int) -> Tensor:
        """Memory features of a tracked frame, [1, C_mem, H, W]; computed again from its mask if they were let go."""
        obj_idx = inference_state["obj_id_to_idx"][obj_id]
        output = inference_state["output_dict_per_obj"][obj_idx]["non_cond_frame_outputs"][frame_idx]
        if output["maskmem_features"] is None:
            pred_masks = output["pred_masks"].to(inference_state["device"])
            size = (self.image_size, self.image_size)
            output["maskmem_features"], _ = self._run_memory_encoder(
                inference_state,
                frame_idx,
                batch_size=1,
                high_res_masks=F.interpolate(pred_masks, size=size, mode="bilinear", align_corners=False),
                object_score_logits=output["object_score_logits"],
                is_mask_from_pts=False,
            )
            if isinstance(output, TrackedFrame):
                self.session(inference_state).recent.add(obj_id, output)
        features: Tensor = output["maskmem_features"]
        return features

    def track_as_sam2(self, inference_state: dict[str, Any], obj_idx: int, frame_idx: int, reverse: bool) -> Tensor:
        """One object on one frame as SAM 2 tracks it; its own loop can only be entered where prompts are consolidated.

        Returns:
            Low-res logits [1, 1, h, w].
        """
        outputs = inference_state["output_dict_per_obj"][obj_idx]
        pred_masks: Tensor
        if frame_idx in outputs["cond_frame_outputs"]:
            pred_masks = outputs["cond_frame_outputs"][frame_idx]["pred_masks"]
            pred_masks = pred_masks.to(inference_state["device"], non_blocking=True)
            if self.clear_non_cond_mem_around_input:
                self.clear_memory_around(inference_state, frame_idx, obj_idx)
        else:
            outputs["non_cond_frame_outputs"][frame_idx], pred_masks = self._run_single_frame_inference(
                inference_state=inference_state,
                output_dict=outputs,
                frame_idx=frame_idx,
                batch_size=1,
                is_init_cond_frame=False,
                point_inputs=None,
                mask_inputs=None,
                reverse=reverse,
                run_mem_encoder=True,
            )
        inference_state["frames_tracked_per_obj"][obj_idx][frame_idx] = {"reverse": reverse}
        return pred_masks
