"""Image features, frame by frame: encoded once for all objects and pathways, and ahead of the tracking if asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(slots=True)
class ImageFeatures:
    """What the image encoder makes of one frame, batch size 1, as SAM 2's `_get_image_feature` gives it.

    Attributes:
        vision_feats, vision_pos: per level, [HW, 1, C].
        feat_sizes: per level, (H, W).
    """

    vision_feats: list[Tensor]
    vision_pos: list[Tensor]
    feat_sizes: list[tuple[int, int]]


class ImageModel(Protocol):
    """What encodes images."""

    def forward_image(self, img_batch: Tensor) -> dict[str, Any]:
        """SAM 2's image encoder: [N, 3, S, S] to `backbone_fpn` and `vision_pos_enc`, lists of [N, C, H, W]."""

    def image_features(self, inference_state: dict[str, Any], frame_idx: int) -> ImageFeatures:
        """The features of a frame, through `inference_state["cached_features"]`."""


class FeatureCache:
    """The features of the frames of one pass, through SAM 2's own cache (`inference_state["cached_features"]`).

    On a GPU the frames ahead are encoded on a stream of their own while the present frame is tracked, so that
    the device has work while the host waits for the scores and selects.

    Args:
        model: the predictor.
        inference_state: its state.
        order: the frames of the pass, in order; empty if they are not known (a stream).
        encode_ahead: how many frames to encode ahead, in one batch; 0 encodes each frame when it is tracked.
            With 1 results are the same to the bit; a batch of several may round differently.
    """

    def __init__(
        self, model: ImageModel, inference_state: dict[str, Any], order: Sequence[int], encode_ahead: int
    ) -> None:
        self._model = model
        self._state = inference_state
        self._order = order
        self._encode_ahead = encode_ahead
        on_gpu = inference_state["device"].type == "cuda" and encode_ahead > 0
        device = inference_state["device"]
        self._stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self._encoded: torch.cuda.Event | None = None

    def of(self, frame_idx: int) -> ImageFeatures:
        """Features of the frame being tracked; starts on the frames after it."""
        if self._encoded is not None:
            torch.cuda.current_stream(self._state["device"]).wait_event(self._encoded)
        features = self._model.image_features(self._state, frame_idx)
        if self._encode_ahead:
            self._encode_after(frame_idx)
        return features

    def _encode_after(self, frame_idx: int) -> None:
        if frame_idx not in self._order:
            return
        following = self._order.index(frame_idx) + 1
        ahead = list(self._order[following : following + self._encode_ahead])
        cached = self._state["cached_features"]
        if not ahead or ahead[0] in cached:
            return
        present = {frame_idx: cached[frame_idx]} if frame_idx in cached else {}
        self._state["cached_features"] = present | self._encode(ahead)

    def _encode(self, frames: list[int]) -> dict[int, Any]:
        if self._stream is None:
            return self._encode_batch(frames)
        current = torch.cuda.current_stream(self._state["device"])
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            encoded = self._encode_batch(frames)
            self._encoded = self._stream.record_event()
        for image, output in encoded.values():
            for tensor in (image, *output["backbone_fpn"], *output["vision_pos_enc"]):
                tensor.record_stream(current)  # its memory may be used again only when this stream is done with it
        return encoded

    def _encode_batch(self, frames: list[int]) -> dict[int, Any]:
        device, source = self._state["device"], self._state["images"]
        images = torch.stack([source[t].to(device, non_blocking=True).float() for t in frames])  # (n, 3, S, S)
        output = self._model.forward_image(images)
        return {
            t: (
                images[i : i + 1],
                {key: [level[i : i + 1] for level in output[key]] for key in ("backbone_fpn", "vision_pos_enc")},
            )
            for i, t in enumerate(frames)
        }
