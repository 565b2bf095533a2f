"""Fits the demo model's two score heads on whole clips that it tracks itself.

    python tools/demo_head_fit.py checkpoints/demo.pt -o outputs/demo_model/demo.pt --clips 15

The curriculum's clips are short: on them the object is seldom away for long, and memory seldom wrong for long. On a
clip of sixty frames a model so trained still says "visible" of an absent object, and trusts the mask it drifted to.
Here everything but the heads for predicted IoU and object score stays as it is, so that no gradient passes through
time and clips can be as long as those to be tracked. The clips are of the split `train`; every round tracks with the
heads of the round before, so that they learn about the states that they themselves lead to. The committed model has
not had this stage: checkpoints/demo.md says what it does to it.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from demo_data import Stage, memory_plan, point_prompts
from demo_heads import held_out_batch
from demo_losses import IOU_WEIGHT, PRESENT_FROM, SCORE_WEIGHT, iou_target, score_target
from demo_model import CONFIG, build_model, save_half
from demo_rollout import ClipBatch, ClipFeatures, Rollout, true_ious
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from tqdm import tqdm

_log = logging.getLogger("demo_head_fit")
BATCH_SIZE, EPOCHS, LEARNING_RATE = 512, 10, 3e-4
SUITES = ("occlusion", "distractor", "reappear", "easy")
# Half of the tracked clips remember as at inference, half go wrong for a stretch, as pathways do that are not the best.
STRAYING = Stage(1.0, 0, 1, (), teacher=0.0, mistakes=1.0)


@dataclass
class Decoded:
    """What the heads are given where SAM's decoder ran, N times, and the truth about it.

    Attributes:
        iou_token, score_token: (N, C) inputs of the two heads.
        true: (N, 4) IoU with the object of SAM's single mask and of its three; NaN of those that were not decoded.
        visibility: (N,) share of the object that shows.
    """

    iou_token: Tensor
    score_token: Tensor
    true: Tensor
    visibility: Tensor

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, item.name)) for item in fields(self)}
        if len(lengths) != 1:
            raise ValueError(f"the heads were given {sorted(lengths)} frames, and all must be of one number")

    @classmethod
    def cat(cls, parts: list[Decoded]) -> Decoded:
        return cls(*(torch.cat([getattr(part, item.name) for part in parts]) for item in fields(cls)))


@contextmanager
def inputs_of(*modules: torch.nn.Module) -> Iterator[list[list[Tensor]]]:
    """Lists that fill with what each module is called with."""
    seen: list[list[Tensor]] = [[] for _ in modules]
    hooks = [
        module.register_forward_pre_hook(lambda _, args, calls=calls: calls.append(args[0]))
        for module, calls in zip(modules, seen, strict=True)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def decode(model: SAM2Base, batch: ClipBatch, features: ClipFeatures) -> Decoded:
    """All frames of a batch of one clip on which the decoder ran."""
    decoder = model.sam_mask_decoder
    with inputs_of(decoder.iou_prediction_head, decoder.pred_obj_score_head) as (iou_tokens, score_tokens):
        outputs = Rollout(model)(batch, features)
    rows, frames = [], [t for t, groups in enumerate(outputs) if groups]
    for t in frames:
        ((_, output),) = outputs[t]
        true = true_ious(output.logits, batch.target[:, t])  # (1, 3), or (1, 1) where a box was given
        rows.append(F.pad(true, (0, 3) if true.shape[1] == 1 else (1, 0), value=torch.nan))
    # Of a given mask SAM's decoder only makes the pointer: that call of the heads comes first and says nothing.
    spare = batch.num_masked
    tokens = [torch.cat(calls[spare:]) for calls in (iou_tokens, score_tokens)]
    return Decoded(*tokens, torch.cat(rows), batch.visibility[0, frames])


@torch.no_grad()
def track(model: SAM2Base, suite: str, seed: int, num_frames: int, device: torch.device) -> Decoded:
    """One clip tracked from its mask with the model's own memory, from a click with memory that strays, and boxed."""
    torch.manual_seed(seed)
    batch = held_out_batch(suite, range(seed, seed + 1), num_frames, model.image_size, "train", device)
    features = Rollout(model).encode(batch.frames)
    click, box = (
        replace(batch, num_masked=0, num_clicked=n, **dict(zip(("points", "labels"), prompt, strict=True)))
        for n in (1, 0)
        for prompt in [point_prompts(batch.target[:, 0], n)]
    )
    click.memory = memory_plan(1, num_frames, STRAYING, device)
    click.pick = torch.randint(0, 3, (1, num_frames), device=device)
    box.frames = box.frames[:, :1]
    return Decoded.cat([decode(model, clip, features) for clip in (batch, click, box)])


def fit(model: SAM2Base, decoded: Decoded, *, epochs: int, seed: int) -> dict[str, float]:
    """Fits the two heads to `decoded`; returns the mean losses of the last epoch."""
    decoder = model.sam_mask_decoder
    heads = [decoder.iou_prediction_head, decoder.pred_obj_score_head]
    parameters = [parameter.requires_grad_(True) for head in heads for parameter in head.parameters()]
    generator = torch.Generator().manual_seed(seed)
    size = len(decoded.true)
    batches = max(1, size // BATCH_SIZE)
    optimiser = torch.optim.AdamW(parameters, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=epochs * batches, pct_start=0.1
    )
    last: list[dict[str, float]] = []
    for _ in range(epochs * batches):
        rows = torch.randint(0, size, (min(size, BATCH_SIZE),), generator=generator).to(decoded.true.device)
        losses = head_losses(heads, Decoded(*(getattr(decoded, item.name)[rows] for item in fields(Decoded))))
        optimiser.zero_grad()
        (IOU_WEIGHT * losses["iou"] + SCORE_WEIGHT * losses["score"]).backward()
        optimiser.step()
        schedule.step()
        last = [*last, {name: value.item() for name, value in losses.items()}][-batches:]
    for parameter in parameters:
        parameter.requires_grad_(False)
    return {name: sum(losses[name] for losses in last) / len(last) for name in last[0]}


def head_losses(heads: list[torch.nn.Module], decoded: Decoded) -> dict[str, Tensor]:
    """As in the curriculum, but predicted IoUs are squared off: where object and look-alike cannot be told apart, the
    mean IoU is asked for, not the likelier one.
    """
    ious, score = heads[0](decoded.iou_token), heads[1](decoded.score_token).squeeze(1)
    worth = iou_target(decoded.true, score, decoded.visibility >= PRESENT_FROM)
    known = ~decoded.true.isnan()
    return {
        "iou": F.mse_loss(ious[known], worth[known]),
        "score": F.binary_cross_entropy_with_logits(score, score_target(decoded.visibility)),
    }


def fit_heads(model: SAM2Base, device: torch.device, *, clips: int, rounds: int, num_frames: int = 60) -> None:
    """In each round tracks `clips` clips a suite, no clip twice, and fits the heads to all that was tracked so far."""
    model.eval().requires_grad_(False)
    decoded: list[Decoded] = []
    for number in range(rounds):
        jobs = [(suite, number * clips + k) for k in range(clips) for suite in SUITES]
        for suite, seed in tqdm(jobs, f"round {number + 1} of {rounds}"):
            decoded.append(track(model, suite, seed, num_frames, device))
        losses = fit(model, Decoded.cat(decoded), epochs=EPOCHS, seed=number)
        _log.info("%d frames", sum(len(part.true) for part in decoded))
        _log.info("round %d: %s", number + 1, {name: round(value, 4) for name, value in losses.items()})


def main(argv: list[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a demo.pt of tools/train_demo.py")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where the fitted model goes")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clips", type=int, default=25, help="clips a suite and round")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args(argv)
    device = torch.device(options.device)
    model = build_model(options.config, device, options.checkpoint)
    fit_heads(model, device, clips=options.clips, rounds=options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_half(model, options.out)


if __name__ == "__main__":
    main()
