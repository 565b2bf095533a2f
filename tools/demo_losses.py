"""SAM 2's training losses on one clip batch, and what a frame's IoU head is asked to predict."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from demo_rollout import ClipBatch, FrameOutput, true_ious
from torch import Tensor

MASK_WEIGHT, DICE_WEIGHT, IOU_WEIGHT, SCORE_WEIGHT = 5.0, 1.0, 2.0, 2.0
ALTERNATIVE_WEIGHT = 0.25
PRESENT_FROM = 0.05  # an object is there when this share of it shows


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Weighted BCE and dice of each mask (B, M, S, S) against `truth` (B, S, S): (B, M)."""
    truth = truth[:, None].float().expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((2, 3))
    found = logits.sigmoid()
    overlap = (found * truth).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (found.sum((2, 3)) + truth.sum((2, 3)) + 1)
    return MASK_WEIGHT * bce + DICE_WEIGHT * dice


def iou_target(true: Tensor, score: Tensor, present: Tensor) -> Tensor:
    """What predicted IoUs shall be, (B, M): the IoU of what would be *answered*.

    An empty mask is answered where the object score (B,) is not positive; so, by `present` (B,), the right answer to an
    absent object is worth 1 and a mask on something else 0. `true` (B, M) are the masks' IoUs with the object.
    """
    answered = torch.where(present[:, None], true, 0.0)
    nothing = (~present).float()[:, None].expand_as(answered)
    return torch.where(score[:, None] > 0, answered, nothing).detach()


def score_target(visibility: Tensor) -> Tensor:
    """What the sigmoid of the object score shall be: visibility with a soft edge, half at `PRESENT_FROM`.

    So the score is small where visibility is in doubt.
    """
    return (visibility / (2 * PRESENT_FROM)).clamp(0, 1)


def frame_losses(output: FrameOutput, target: Tensor, double: Tensor, visibility: Tensor) -> dict[str, Tensor]:
    """Losses of one frame for B clips, each a scalar.

    The mask loss goes to the best of the masks, where the object is there. Of the masks left over the best is drawn,
    at a low weight, to the look-alike where one shows: the second hypothesis of an ambiguous frame.
    """
    present = visibility >= PRESENT_FROM
    losses = mask_loss(output.logits, target)
    best_loss, best = losses.min(1)
    mask = (best_loss * present).sum() / present.sum().clamp_min(1)

    worth = iou_target(true_ious(output.logits, target), output.score, present)
    iou = (output.ious - worth).abs().mean()
    score = F.binary_cross_entropy_with_logits(output.score, score_target(visibility))

    alternative = output.logits.new_zeros(())
    if output.logits.shape[1] > 1:
        shows = double.flatten(1).sum(1) > 20
        taken = (torch.arange(losses.shape[1], device=best.device) == best[:, None]) & present[:, None]
        others = mask_loss(output.logits, double).masked_fill(taken, torch.inf).min(1).values
        alternative = torch.where(shows, others, 0.0).sum() / shows.sum().clamp_min(1)
    return {"mask": mask, "iou": iou, "score": score, "alternative": alternative}


def clip_losses(outputs: list[list[tuple[slice, FrameOutput]]], batch: ClipBatch) -> dict[str, Tensor]:
    """Mean losses over a rollout, their weighted sum as `total`, and the chosen masks' mean IoU as `chosen_iou`."""
    sums: dict[str, Tensor] = {}
    weights = 0.0
    overlap, visible = [], []
    for t, groups in enumerate(outputs):
        for group, output in groups:
            target, visibility = batch.target[group, t], batch.visibility[group, t]
            weight = len(target) / len(batch.target)
            weights += weight
            for name, value in frame_losses(output, target, batch.double[group, t], visibility).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + weight * value
            if t > 0:
                best = output.ious.argmax(1, keepdim=True)
                answer = true_ious(output.logits, target).gather(1, best).squeeze(1) * (output.score > 0)
                overlap.append(answer.detach())
                visible.append(visibility >= PRESENT_FROM)
    means = {name: value / weights for name, value in sums.items()}
    shown = torch.stack(visible)
    means["total"] = (
        means["mask"]
        + IOU_WEIGHT * means["iou"]
        + SCORE_WEIGHT * means["score"]
        + ALTERNATIVE_WEIGHT * means["alternative"]
    )
    means["chosen_iou"] = (torch.stack(overlap) * shown).sum() / shown.sum().clamp_min(1)
    return means
