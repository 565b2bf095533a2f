"""One forward pass over a batch of clips, frame by frame, with SAM 2's own modules.

The same steps as `SAM2Base.track_step`, written for training: every frame goes through the image encoder at once,
all three masks come back before SAM 2's no-object gate (so that a wrongly gated frame still teaches), and the
caller decides which mask is written to memory. No host synchronisation, so a CUDA graph can hold it all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

MAX_POINTERS = 16  # SAM 2's memory holds at most this many object pointers, the prompted frame's included
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

OWN_BEST, ANY_MASK, ON_DOUBLE, TRUE_BEST = range(4)  # which mask a frame writes to memory


@dataclass
class ClipBatch:
    """B clips of T frames at S pixels. The first `num_masked` are prompted with a mask, the next `num_clicked` with
    one click, the rest with a box.

    Attributes:
        frames: (B, T, 3, S, S) float in [0, 1].
        target, double: (B, T, S, S) bool: visible pixels of the object and of one look-alike.
        visibility: (B, T) float, share of the object that shows.
        points, labels: (B, 2, 2) float xy pixels and (B, 2) int32, SAM's point prompt (a box is its two corners).
        memory: (B, T) int, what each frame writes to memory (OWN_BEST, ...); pick: (B, T) int in 0..2, for ANY_MASK.
        gap: () float: frames skipped between the prompted frame and the next.
        burn_in: frames after the prompted one that are tracked without gradients and say nothing.
    """

    frames: Tensor
    target: Tensor
    double: Tensor
    visibility: Tensor
    points: Tensor
    labels: Tensor
    memory: Tensor
    pick: Tensor
    gap: Tensor
    num_masked: int
    num_clicked: int
    burn_in: int = 0


@dataclass
class FrameOutput:
    """What the model says on one frame, before the no-object gate.

    Attributes:
        logits: (B, M, S, S) mask logits; M is 3, or 1 where a box was given.
        ious: (B, M) predicted IoUs; score: (B,) object score logits.
        chosen: (B,) which mask went to memory.
    """

    logits: Tensor
    ious: Tensor
    score: Tensor
    chosen: Tensor


@dataclass
class ClipFeatures:
    """What SAM 2's image encoder makes of B clips of T frames, coarse to fine."""

    pixels: Tensor  # (B, T, C, h, w)
    position: Tensor  # (h * w, 1, C)
    fine: list[Tensor]  # (B, T, c, 4h, 4w), (B, T, c, 2h, 2w)


def true_ious(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU of each thresholded mask (B, M, S, S) with `truth` (B, S, S): (B, M), 0 where both are empty."""
    found, truth = logits > 0, truth[:, None]
    both = (found & truth).sum((2, 3)).float()
    return both / (found | truth).sum((2, 3)).clamp_min(1)


class Rollout:
    """Runs a SAM 2 model over clips as its video predictor does with one prompted frame.

    Args:
        model: a `SAM2Base`; its parameters may require gradients.
    """

    def __init__(self, model: SAM2Base) -> None:
        self.model = model
        device = next(model.parameters()).device
        self.mean = torch.tensor(PIXEL_MEAN, device=device).view(3, 1, 1)
        self.std = torch.tensor(PIXEL_STD, device=device).view(3, 1, 1)

    def __call__(self, batch: ClipBatch, features: ClipFeatures | None = None) -> list[list[tuple[slice, FrameOutput]]]:
        """The outputs of every frame, each with the slice of clips it is about (frame 0 has one per prompt kind).

        Frames of the burn-in have none: a clip may be long without its gradients being so, and what is learned from is
        what the model itself has drifted to. `features` are those of the frames, from `encode`, where they are known.
        """
        features = features or self.encode(batch.frames, batch.burn_in)
        first, memory, pointer = self._prompted_frame(batch, features)
        memories, pointers, outputs = [memory], [pointer], [first]
        everyone = slice(0, len(batch.frames))
        for t in range(1, batch.frames.shape[1]):
            learns = t > batch.burn_in
            with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                conditioned = self._attend(features, t, memories, pointers, batch.gap)
                fine = [level[:, t] for level in features.fine]
                output, tokens = self._decode(conditioned, fine, None, multimask=True)
                memory, pointer = self._remember(batch, features, t, everyone, output, tokens)
            memories.append(memory)
            pointers.append(pointer)
            outputs.append([(everyone, output)] if learns else [])
        return outputs

    def encode(self, frames: Tensor, burn_in: int = 0) -> ClipFeatures:
        """Image features of all frames (B, T, 3, S, S), those of the burn-in without gradients."""
        if not burn_in:
            levels, position = self._encode(frames)
            return ClipFeatures(levels[2], position, levels[:2])
        with torch.no_grad():
            burnt, _ = self._encode(frames[:, 1 : 1 + burn_in])
        learned, position = self._encode(torch.cat([frames[:, :1], frames[:, 1 + burn_in :]], 1))
        levels = [torch.cat([b[:, :1], a, b[:, 1:]], 1) for a, b in zip(burnt, learned, strict=True)]
        return ClipFeatures(levels[2], position, levels[:2])

    def _encode(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """The three levels of features (B, T, ...), fine to coarse, and the coarsest's encoding of positions."""
        b, t = frames.shape[:2]
        images = ((frames - self.mean) / self.std).flatten(0, 1)
        backbone = self.model.forward_image(images)
        levels = [level.unflatten(0, (b, t)) for level in backbone["backbone_fpn"][-3:]]
        return levels, backbone["vision_pos_enc"][-1][:1].flatten(2).permute(2, 0, 1)

    def _prompted_frame(
        self, batch: ClipBatch, features: ClipFeatures
    ) -> tuple[list[tuple[slice, FrameOutput]], Tensor, Tensor]:
        model, size = self.model, len(batch.frames)
        masked = slice(0, batch.num_masked)
        clicked = slice(batch.num_masked, batch.num_masked + batch.num_clicked)
        boxed = slice(clicked.stop, size)
        outputs, memories, pointers = [], [], []
        if masked.stop > masked.start:
            fine = [level[masked, 0] for level in features.fine]
            truth = batch.target[masked, 0, None].float()
            prompted = model._use_mask_as_output(features.pixels[masked, 0], fine, truth)
            _, _, _, low_res, _, pointer, score = prompted
            # The video predictor keeps the low-res mask and writes memory from that, so training does too.
            memories.append(self._write(features.pixels[masked, 0], self._high_res(low_res), score))
            pointers.append(pointer.float())
        for group in (clicked, boxed):
            if group.stop > group.start:
                fine = [level[group, 0] for level in features.fine]
                pixels = features.pixels[group, 0] + model.no_mem_embed.view(1, -1, 1, 1)
                prompt = (batch.points[group], batch.labels[group])
                if group is clicked:
                    prompt = (prompt[0][:, :1], prompt[1][:, :1])
                output, tokens = self._decode(pixels, fine, prompt, multimask=group is clicked)
                memory, pointer = self._remember(batch, features, 0, group, output, tokens)
                memories.append(memory)
                pointers.append(pointer)
                outputs.append((group, output))
        return outputs, torch.cat(memories), torch.cat(pointers)

    def _attend(
        self, features: ClipFeatures, t: int, memories: list[Tensor], pointers: list[Tensor], gap: Tensor
    ) -> Tensor:
        """The frame's features (B, C, h, w) after memory attention over the frames SAM 2 would remember at `t`."""
        model = self.model
        pixels = features.pixels[:, t]
        b, c, h, w = pixels.shape
        kept = [0, *range(max(1, t - model.num_maskmem + 1), t)]
        spatial = torch.cat([memories[k].flatten(2).permute(2, 0, 1) for k in kept])
        place = model.memory_encoder.position_encoding(memories[0][:1]).flatten(2).permute(2, 0, 1)
        # The prompted frame has the last temporal encoding, frame t - k has the k-th (SAM 2's order).
        when = [model.num_maskmem - 1, *(t - k - 1 for k in kept[1:])]
        spatial_pos = torch.cat([place + model.maskmem_tpos_enc[k] for k in when]).expand(-1, b, -1)

        recent = [k for k in range(t - 1, t - MAX_POINTERS, -1) if k > 0]  # at distances 1, 2, ...
        distance = torch.cat([(gap + t).view(1), torch.arange(1, len(recent) + 1, device=gap.device)])
        token = torch.stack([pointers[k] for k in [0, *recent]])
        token_pos = model.obj_ptr_tpos_proj(get_1d_sine_pe(distance / (MAX_POINTERS - 1), dim=c))
        parts = c // model.mem_dim
        token = token.view(-1, b, parts, model.mem_dim).permute(0, 2, 1, 3).flatten(0, 1)
        token_pos = token_pos[:, None].expand(-1, b, -1).repeat_interleave(parts, dim=0)
        attended = model.memory_attention(
            curr=[pixels.flatten(2).permute(2, 0, 1)],
            curr_pos=[features.position.expand(-1, b, -1)],
            memory=torch.cat([spatial, token]),
            memory_pos=torch.cat([spatial_pos, token_pos]),
            num_obj_ptr_tokens=len(token),
        )
        return attended.permute(1, 2, 0).view(b, c, h, w)

    def _decode(
        self, pixels: Tensor, fine: list[Tensor], prompt: tuple[Tensor, Tensor] | None, *, multimask: bool
    ) -> tuple[FrameOutput, Tensor]:
        """SAM's heads without the no-object gate: the output (nothing chosen yet) and mask tokens (B, M, C)."""
        model = self.model
        if prompt is None:
            nothing = torch.zeros(len(pixels), 1, 2, device=pixels.device)
            prompt = nothing, -torch.ones(len(pixels), 1, dtype=torch.int32, device=pixels.device)
        sparse, dense = model.sam_prompt_encoder(points=prompt, boxes=None, masks=None)
        low_res, ious, tokens, score = model.sam_mask_decoder(
            image_embeddings=pixels,
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=fine,
        )
        logits = self._high_res(low_res)
        score = score.float().squeeze(1)
        return FrameOutput(logits, ious.float(), score, score.new_zeros(len(score), dtype=torch.long)), tokens

    def _high_res(self, low_res: Tensor) -> Tensor:
        size = (self.model.image_size, self.model.image_size)
        return F.interpolate(low_res.float(), size=size, mode="bilinear", align_corners=False)

    def _remember(
        self, batch: ClipBatch, features: ClipFeatures, t: int, group: slice, output: FrameOutput, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Chooses the mask to remember, notes it in `output`, and returns its memory and pointer."""
        how, truth = batch.memory[group, t], batch.target[group, t]
        visible = batch.visibility[group, t] >= 0.05
        with torch.no_grad():
            chosen = output.ious.argmax(1)
            if output.ious.shape[1] > 1:
                chosen = torch.where(how == ANY_MASK, batch.pick[group, t], chosen)
                on_double = true_ious(output.logits, batch.double[group, t])
                chosen = torch.where((how == ON_DOUBLE) & (on_double.amax(1) > 0.3), on_double.argmax(1), chosen)
                chosen = torch.where(how == TRUE_BEST, true_ious(output.logits, truth).argmax(1), chosen)
            appearing = torch.where(how == TRUE_BEST, visible, output.score > 0)
        output.chosen = chosen
        mask = output.logits.gather(1, chosen.view(-1, 1, 1, 1).expand(-1, 1, *output.logits.shape[2:]))
        mask = torch.where(appearing.view(-1, 1, 1, 1), mask, NO_OBJ_SCORE)
        gate = torch.where(appearing, 1.0, -1.0)[:, None]
        memory = self._write(features.pixels[group, t], mask, gate)
        token = tokens[torch.arange(len(tokens), device=tokens.device), chosen]
        seen = appearing.float()[:, None]
        pointer = seen * self.model.obj_ptr_proj(token).float() + (1 - seen) * self.model.no_obj_ptr
        return memory, pointer

    def _write(self, pixels: Tensor, mask: Tensor, score: Tensor) -> Tensor:
        """Spatial memory (B, c, h, w) of a mask (B, 1, S, S); `score` (B, 1) > 0 where the object is there."""
        memory, _ = self.model._encode_new_memory(
            current_vision_feats=[pixels.flatten(2).permute(2, 0, 1)],
            feat_sizes=[tuple(pixels.shape[-2:])],
            pred_masks_high_res=mask,
            object_score_logits=score,
            is_mask_from_pts=False,
        )
        return memory.bfloat16().float()  # as the predictor stores it
