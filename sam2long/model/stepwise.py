"""SAM 2's video predictor with the steps of tracking under public names."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

from sam2long.model.captured_modules import CapturedImageEncoder, CapturedModules
from sam2long.model.captures import Captures
from sam2long.model.hypotheses import HypothesisModel
from sam2long.model.image_features import ImageFeatures
from sam2long.model.memory_bank import MemoryBank
from sam2long.model.memory_tokens import MemoryTokens
from sam2long.model.modules import TrackingModules
from sam2long.model.sam2_predictor import SAM2VideoPredictor
from sam2long.search.policy import PAPER, Policy

# Batches of pathways are padded to these sizes where each size has a price: it is compiled, or captured. torch.compile
# raises after 8 of them (SAM 2 asks for whole graphs), so a few sizes must serve any number of pathways and objects:
# one object needs only 1 and 3 at the paper's setting, five objects mostly 5 and 16.
BATCH_SIZES = (1, 3, 5, 8, 16, 32, 64)


class StepwisePredictor(SAM2VideoPredictor):
    """`SAM2VideoPredictor` whose inner steps can be called one by one, for many pathways at a time.

    SAM 2's own names for them begin with an underscore; they are called by `self`, here and in the classes that derive
    from this one, and nowhere else. Everything else is SAM 2's.
    """

    # Whether a component's outputs are overwritten by its next call (CUDA graphs of the compiled predictor).
    reuses_buffers = False
    # The recordings it replays; None: everything runs eagerly.
    captures: Captures | None = None
    _captured_encoder: CapturedImageEncoder | None = None

    def use_captures(self, captures: Captures | None) -> None:
        """Track from recordings from now on, or eagerly; prompts and `num_pathways=1` are eager in any case."""
        if self.captures is not None:
            self.captures.wait()
        self.captures = captures
        # A proxy: recordings hold functions of the model, and must not keep it alive.
        self._captured_encoder = None if captures is None else CapturedImageEncoder(weakref.proxy(self), captures)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        """`nn.Module`'s, behind `to`, `cuda`, `half`: recordings read weights where they lay before."""
        self.use_captures(None)
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """A copy, or a pickle, has no recordings: they read the weights where they lay."""
        return {**self.__dict__, "captures": None, "_captured_encoder": None}

    def padded_batch_size(self, batch_size: int) -> int:
        """How many rows a batch of `batch_size` pathways is run with: more where every size has its price."""
        if self.captures is None and not self.reuses_buffers:
            return batch_size
        return next((size for size in BATCH_SIZES if size >= batch_size), batch_size)

    def proposes_three_masks(self) -> bool:
        """Whether a tracked frame, which has no points, is decoded into three masks."""
        return bool(self._use_multimask(is_init_cond_frame=False, point_inputs=None))

    def hypothesis_model(
        self, bank: MemoryBank, spatial_pos: Tensor, max_obj_ptrs: int, policy: Policy = PAPER
    ) -> HypothesisModel:
        """What proposes and remembers masks for one pass, eagerly or from recordings.

        Args:
            bank: chooses what pathways attend to.
            spatial_pos: spatial positional encoding of a memory, [1, C_mem, H, W] (SAM 2's `maskmem_pos_enc`).
            max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`.
            policy: whose evidence is computed.
        """
        spatial_pos = spatial_pos.to(self.device).flatten(2).permute(2, 0, 1)  # (HW, 1, C_mem)
        if self.captures is None:
            modules = TrackingModules(self, MemoryTokens(self, spatial_pos, max_obj_ptrs))
        else:
            self.captures.follow(self)
            modules = CapturedModules(
                weakref.proxy(self), spatial_pos, max_obj_ptrs, self.captures, keeps_raw=policy != PAPER
            )
        return HypothesisModel(self, bank, modules, policy.wants)

    @property
    def encoder_is_compiled(self) -> bool:
        """Whether SAM 2's `compile_image_encoder` has put a compiled `forward` on the module."""
        return "forward" in vars(self.image_encoder)

    def forward_image(self, img_batch: Tensor) -> dict[str, Any]:
        """SAM 2's, cloned where the encoder is compiled: CUDA graphs write outputs again, features are kept."""
        output: dict[str, Any] = super().forward_image(img_batch)
        if self.encoder_is_compiled and not self.reuses_buffers:  # SAM 2's compiled predictor clones by itself
            for name in ("backbone_fpn", "vision_pos_enc"):
                output[name] = [level.clone() for level in output[name]]
        return output

    def encode_images(self, images: Tensor) -> dict[str, Any]:
        """SAM 2's `forward_image`, or what it launched before.

        Args:
            images: normalised, [N, 3, image_size, image_size].

        Returns:
            `backbone_fpn` and `vision_pos_enc`, lists of [N, C, H, W].
        """
        if self._captured_encoder is not None:
            return self._captured_encoder(images)
        output: dict[str, Any] = self.forward_image(images)
        return output

    def image_features(self, inference_state: dict[str, Any], frame_idx: int) -> ImageFeatures:
        """Features of a frame for one object, from SAM 2's cache or encoded now."""
        if self.captures is not None and frame_idx not in inference_state["cached_features"]:
            # As SAM 2's `_get_image_feature` does, which launches every kernel anew.
            image = inference_state["images"][frame_idx].to(inference_state["device"]).float().unsqueeze(0)
            inference_state["cached_features"] = {frame_idx: (image, self.encode_images(image))}
        image, _, feats, pos, sizes = self._get_image_feature(inference_state, frame_idx, 1)
        return ImageFeatures(feats, pos, sizes, image)

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
