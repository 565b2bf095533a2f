"""A frame from recordings: image encoder; memory attention, decoder and scores; memory encoder and pointers.

Each stage is a function of tensors alone, made of the eager modules' calls: a recording holds SAM 2's own kernels and
nothing of the pass it was made in. What outlives the next run of its stage is copied out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from sam2long.model.captures import Captures
from sam2long.model.graphs import autocast_of, copy_tensors
from sam2long.model.image_features import ImageFeatures
from sam2long.model.memory_tokens import MemoryItems, MemoryTokens
from sam2long.model.modules import DecodedMasks, TrackingModules, in_order, own, padded
from sam2long.model.seam import CapturableModel


class CapturedImageEncoder:
    """SAM 2's `forward_image` from a recording.

    Args:
        model: the predictor.
        captures: its recordings.
    """

    def __init__(self, model: CapturableModel, captures: Captures) -> None:
        self._model = model
        self._captures = captures
        # By image size and precision: encodings of positions depend on nothing else, and are larger than the features.
        self._pos: dict[Hashable, list[Tensor]] = {}

    def __call__(self, images: Tensor) -> dict[str, Any]:
        """Features of images [N, 3, S, S]: `backbone_fpn` and `vision_pos_enc`, lists of [N, C, H, W]."""

        model, known, pos_key = self._model, self._pos, (images.shape, autocast_of(images.device))

        def function(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
            output = model.forward_image(tensors[0])
            if pos_key not in known:
                known[pos_key] = list(output["vision_pos_enc"])
            levels: Sequence[Tensor] = output["backbone_fpn"]
            return levels

        modules = _modules([self._model.image_encoder, self._model.sam_mask_decoder])
        levels, static = self._captures.run("image encoder", None, modules, function, [images])
        if static:  # the next frame may be encoded before this one's are read
            levels = _copies(levels)
        return {"backbone_fpn": list(levels), "vision_pos_enc": self._pos[pos_key].copy()}


class CapturedModules(TrackingModules):
    """`TrackingModules` that replays what it did before, wherever it meets the same sizes again.

    Args:
        model: the predictor.
        spatial_pos: spatial positional encoding of a memory, (HW, 1, C_mem).
        max_obj_ptrs: `min(num_frames, max_obj_ptrs_in_encoder)`.
        captures: the predictor's recordings.
        keeps_raw: whether a policy may ask for masks where the decoder says that the object is absent.
    """

    def __init__(
        self,
        model: CapturableModel,
        spatial_pos: Tensor,
        max_obj_ptrs: int,
        captures: Captures,
        *,
        keeps_raw: bool = False,
    ) -> None:
        super().__init__(model, MemoryTokens(model, spatial_pos, max_obj_ptrs))
        self._keeps_raw = keeps_raw
        self._parts = model
        self._spatial_pos = spatial_pos
        self._max_obj_ptrs = max_obj_ptrs
        self._captures = captures

    def propose(
        self, features: ImageFeatures, batches: Sequence[MemoryItems], rows: Sequence[Sequence[int]]
    ) -> DecodedMasks:
        """See `TrackingModules.propose`; each batch goes through attention and decoder alone."""
        outputs = []
        for items, of in zip(batches, rows, strict=True):
            tensors, static = self._propose_batch(features, items)
            kept = [tensor[: len(of)] for tensor in tensors]
            # The next recording that is replayed may write over them.
            outputs.append(_copies(kept) if static else kept)
        columns = [in_order(column, rows) for column in zip(*outputs, strict=True)]
        masks, tokens, occlusion, scores = columns[:4]
        return DecodedMasks(masks, tokens, occlusion, scores, columns[4] if self._keeps_raw else masks)

    def _propose_batch(self, features: ImageFeatures, items: MemoryItems) -> tuple[Sequence[Tensor], bool]:
        sizes, num_levels = features.feat_sizes, len(features.vision_feats)
        num_spatial, num_pointers, batch_size = len(items.features), len(items.pointers), len(items.features[0])
        # The recording must hold none of the video's tensors: these are all it needs of them.
        num_conditioning, weighted = items.num_conditioning, items.weighted
        model, max_obj_ptrs, keeps_raw = self._parts, self._max_obj_ptrs, self._keeps_raw

        def function(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
            each = iter(tensors)
            numbers, pos, spatial_pos = islice(each, 3)
            eager = _eager(model, MemoryTokens(model, spatial_pos, max_obj_ptrs, keeps_pos=False))
            image = ImageFeatures(list(islice(each, num_levels)), [pos], sizes)
            spatial = [list(islice(each, batch_size)) for _ in range(num_spatial)]
            pointers = [list(islice(each, batch_size)) for _ in range(num_pointers)]
            read = MemoryItems(spatial, pointers, num_conditioning, weighted, numbers)
            decoded = eager.decode(image, eager.attend(image, read))
            raw = [decoded.raw_logits] if keeps_raw else []
            return [decoded.mask_logits, decoded.tokens, decoded.object_score_logits, decoded.scores, *raw]

        inputs = [
            items.numbers,
            features.vision_pos[-1],
            self._spatial_pos,
            *features.vision_feats,
            *(memory for row in items.features for memory in row),
            *(pointer for row in items.pointers for pointer in row),
        ]
        key = (batch_size, num_spatial, num_pointers, num_conditioning, weighted, max_obj_ptrs, keeps_raw)
        parts = self._parts
        modules = _modules(
            [parts.memory_attention, parts.sam_prompt_encoder, parts.sam_mask_decoder, parts.obj_ptr_tpos_proj]
        )
        return self._captures.run("attention and decoder", key, modules, function, inputs)

    def remember(
        self, features: ImageFeatures, mask_logits: Tensor, object_score_logits: Tensor, tokens: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """See `TrackingModules.remember`."""
        size = self.memory_batch(features, len(tokens))
        batches = [torch.split(padded(rows, size), size) for rows in (mask_logits, object_score_logits, tokens)]
        remembered: list[tuple[Tensor, Tensor]] = []
        for batch in zip(*batches, strict=True):
            (memories, obj_ptrs), static = self._remember_batch(features, batch)
            num_rows = min(len(memories), len(tokens) - len(remembered))
            rows = (_rows(column, num_rows, static=static) for column in (memories, obj_ptrs))
            remembered += zip(*rows, strict=True)
        return remembered

    def _remember_batch(self, features: ImageFeatures, batch: Sequence[Tensor]) -> tuple[Sequence[Tensor], bool]:
        sizes, eager = features.feat_sizes[-1:], _eager(self._parts)

        def function(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
            feats, mask_logits, object_score_logits, tokens = tensors
            memories = eager.encode_memory(ImageFeatures([feats], [], sizes), mask_logits, object_score_logits)
            return memories, eager.object_pointers(tokens, object_score_logits)

        modules = _modules([self._parts.memory_encoder, self._parts.obj_ptr_proj])
        return self._captures.run("memory encoder", None, modules, function, [features.vision_feats[-1], *batch])

    def finish(self, mask_logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `TrackingModules.finish`."""
        eager, num_masks = _eager(self._parts), len(mask_logits)
        batch = padded(mask_logits, self._parts.padded_batch_size(num_masks))
        key = self._parts.fill_hole_area
        (pred_masks, levels), static = self._captures.run(
            "decided masks", key, [], lambda t: eager.finish(t[0]), [batch]
        )
        pred_masks, levels = pred_masks[:num_masks], levels[:num_masks]
        return (pred_masks.clone(), levels.clone()) if static else (pred_masks, levels)


def _eager(model: CapturableModel, tokens: MemoryTokens | None = None) -> TrackingModules:
    """Modules that keep nothing from frame to frame, and hold nothing of a video: a recording holds them."""
    return TrackingModules(model, tokens, keeps_prompt=False)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each in memory of its own, those of one type by one launch."""
    copies = [torch.empty_like(tensor) for tensor in tensors]
    copy_tensors(copies, tensors)
    return copies


def _rows(batch: Tensor, num_rows: int, *, static: bool) -> list[Tensor]:
    """The first rows as [1, ...], each in memory of its own."""
    if static:
        return _copies(torch.split(batch[:num_rows], 1))
    return [own(batch, row) for row in range(num_rows)]


def _modules(parts: Sequence[object]) -> list[nn.Module]:
    """Those that are modules: SAM 2 has plain functions in the place of some."""
    return [part for part in parts if isinstance(part, nn.Module)]
