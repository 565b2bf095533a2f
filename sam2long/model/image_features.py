"""Image features, frame by frame: encoded once for all objects and pathways, and ahead of the tracking if asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ImageFeatures:
    """What the image encoder makes of one frame, batch size 1, as SAM 2's `_get_image_feature` gives it.

    Attributes:
        vision_feats, vision_pos: per level, [HW, 1, C].
        feat_sizes: per level, (H, W).
        image: [1, 3, S, S], as SAM 2 normalises it; None where only the features were kept.
    """

    vision_feats: list[Tensor]
    vision_pos: list[Tensor]
    feat_sizes: list[tuple[int, int]]
    image: Tensor | None = None


class ImageModel(Protocol):
    """What encodes images."""

    def encode_images(self, images: Tensor) -> dict[str, Any]:
        """[N, 3, S, S] to `backbone_fpn` and `vision_pos_enc`, lists of [N, C, H, W]."""

    def image_features(self, inference_state: dict[str, Any], frame_idx: int) -> ImageFeatures:
        """The features of a frame, through `inference_state["cached_features"]`."""


class FrameEncoder:
    """Encodes the frames of one pass, each once, through SAM 2's own cache (`inference_state["cached_features"]`).

    A GPU encodes the next frame while the host waits for the scores of the present one and selects. With `encode_ahead`
    the frames ahead are encoded in one batch, on a stream of its own, before the present frame is tracked.

    Args:
        model: the predictor.
        inference_state: its state.
        order: the frames of the pass, in order; empty if they are not known (a stream).
        encode_ahead: how many frames to encode ahead, in one batch; 0 encodes one frame at a time.
            With 1 results are the same to the bit; a batch of several may round differently.
    """

    def __init__(
        self, model: ImageModel, inference_state: dict[str, Any], order: Sequence[int], encode_ahead: int
    ) -> None:
        self._model = model
        self._state = inference_state
        self._device: torch.device = inference_state["device"]
        self._order = order
        self._encode_ahead = encode_ahead
        on_gpu = self._device.type == "cuda" and encode_ahead > 0
        self._stream = torch.cuda.Stream(self._device) if on_gpu else None  # type: ignore[no-untyped-call]
        self._encoded: torch.cuda.Event | None = None

    def of(self, frame_idx: int) -> ImageFeatures:
        """Features of the frame being tracked."""
        if self._encoded is not None:
            torch.cuda.current_stream(self._device).wait_event(self._encoded)
        features = self._model.image_features(self._state, frame_idx)
        if self._encode_ahead:
            self._keep_beside(frame_idx, lambda: self._encode(self._after(frame_idx, self._encode_ahead)))
        return features

    def encode_next(self, frame_idx: int) -> None:
        """Queue the encoding of the frame after this one, where the device works while the host does something else."""
        if works_behind_the_host(self._device) and not self._encode_ahead:
            self._keep_beside(frame_idx, lambda: self._encode_one(*self._after(frame_idx)))

    def _after(self, frame_idx: int, count: int = 1) -> list[int]:
        """The next frames of the pass, as far as they are known."""
        if frame_idx not in self._order:
            return []
        following = self._order.index(frame_idx) + 1
        return list(self._order[following : following + count])

    def _keep_beside(self, frame_idx: int, encode: Callable[[], dict[int, Any]]) -> None:
        """Put frames ahead into the cache, beside the present one, unless they are there."""
        ahead, cached = self._after(frame_idx), self._state["cached_features"]
        if not ahead or ahead[0] in cached:
            return
        present = {frame_idx: cached[frame_idx]} if frame_idx in cached else {}
        try:
            encoded = encode()
        except Exception as error:  # it loses no other frame; tracking that one raises it
            logger.debug("encoding ahead of frame %d failed: %s", frame_idx, error)
            encoded = {}
        self._state["cached_features"] = present | encoded

    def _encode_one(self, frame_idx: int) -> dict[int, Any]:
        self._model.image_features(self._state, frame_idx)
        cached: dict[int, Any] = self._state["cached_features"]
        return cached

    def _encode(self, frames: list[int]) -> dict[int, Any]:
        if self._stream is None:
            return self._encode_batch(frames)
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            encoded = self._encode_batch(frames)
            self._encoded = self._stream.record_event()
        for image, output in encoded.values():
            for tensor in (image, *output["backbone_fpn"], *output["vision_pos_enc"]):
                tensor.record_stream(current)  # its memory may be used again only when this stream is done with it
        return encoded

    def _encode_batch(self, frames: list[int]) -> dict[int, Any]:
        source = self._state["images"]
        images = torch.stack([source[t].to(self._device, non_blocking=True).float() for t in frames])  # (n, 3, S, S)
        output = self._model.encode_images(images)
        return {
            t: (
                images[i : i + 1],
                {key: [level[i : i + 1] for level in output[key]] for key in ("backbone_fpn", "vision_pos_enc")},
            )
            for i, t in enumerate(frames)
        }


def works_behind_the_host(device: torch.device) -> bool:
    """Whether the host queues work for the device and goes on."""
    return device.type == "cuda"
