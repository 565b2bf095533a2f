"""SAM 2's video predictor with the steps of tracking under public names."""

from __future__ import annotations

from typing import Any

from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from sam2long.model.image_features import ImageFeatures


class StepwisePredictor(SAM2VideoPredictor):
    """`SAM2VideoPredictor` whose inner steps can be called one by one, for many pathways at a time.

    SAM 2's own names for them begin with an underscore; they are called here and in the classes below, by `self`, and
    nowhere else. Everything else is SAM 2's.
    """

    # Whether a component's outputs are overwritten by its next call (CUDA graphs of the compiled predictor).
    reuses_buffers = False

    def padded_batch_size(self, batch_size: int) -> int:
        """How many rows a batch of `batch_size` pathways is run with; the compiled predictor pads."""
        return batch_size

    def image_features(self, inference_state: dict[str, Any], frame_idx: int) -> ImageFeatures:
        """Features of a frame for one object, from SAM 2's cache or encoded now."""
        _, _, feats, pos, sizes = self._get_image_feature(inference_state, frame_idx, 1)
        return ImageFeatures(feats, pos, sizes)

    def encode_memory(self, features: ImageFeatures, mask_logits: Tensor, object_score_logits: Tensor) -> Tensor:
        """Spatial memories of tracked masks.

        Args:
            features: of the frame, shared by all masks.
            mask_logits: [N, 1, image_size, image_size].
            object_score_logits: [N, 1].

        Returns:
            [N, C_mem, H, W].
        """
        memories: Tensor = self._encode_new_memory(
            current_vision_feats=features.vision_feats,
            feat_sizes=features.feat_sizes,
            pred_masks_high_res=mask_logits,
            object_score_logits=object_score_logits,
            is_mask_from_pts=False,
        )[0]
        return memories

    def at_video_res(self, inference_state: dict[str, Any], mask_logits: Tensor) -> Tensor:
        """Logits of any resolution, [N, 1, h, w], at the video's: float32 [N, 1, video_height, video_width]."""
        _, video_res_masks = self._get_orig_video_res_output(inference_state, mask_logits)
        masks: Tensor = video_res_masks
        return masks
