"""Do the model's heads mean what SAM 2's mean? Measured on clips it was not trained on.

    python tools/demo_heads.py checkpoints/demo.pt --clips 12
    python tools/demo_heads.py checkpoints/demo.pt --clips 12 --true-memory

prints a table of the figures per suite. With true memory every frame is remembered by its truly best mask: what is
wrong then is the heads' own doing, the rest comes of memory that has drifted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from demo_losses import PRESENT_FROM
from demo_model import CONFIG, build_model
from demo_rollout import TRUE_BEST, ClipBatch, Rollout, true_ious
from sam2.modeling.sam2_base import SAM2Base

from sam2long.synthetic import SUITES, sample_scene
from sam2long.synthetic.render import render_layers
from sam2long.synthetic.scene import pack
from sam2long.synthetic.textures import TextureBank

Array = np.ndarray


def held_out_batch(suite: str, seeds: range, num_frames: int, size: int, split: str, device: torch.device) -> ClipBatch:
    """Clips of `split` prompted with the mask on frame 0; memory is written as at inference."""
    scenes = pack([sample_scene(suite, seed, num_frames=num_frames, split=split) for seed in seeds])
    parts = []
    bank = TextureBank(split)
    for k in range(len(seeds)):  # one scene at a time: a crowd of 60 frames is large
        one = type(scenes)(**{name: value[k : k + 1] for name, value in vars(scenes).items()})
        drawn = render_layers(one, size, bank, device)
        obj_id, double_of = (torch.from_numpy(a).to(device) for a in (one.obj_id, one.double_of))
        target = (drawn.visible & (obj_id == 1)[:, None, :, None, None]).any(2)
        double = (drawn.visible & (double_of == 1)[:, None, :, None, None]).any(2)
        area = (drawn.area * (obj_id == 1)[:, None]).sum(2).clamp_min(1)
        frames = (drawn.frames * 255).round() / 255
        parts.append((frames, target, double, (target.sum((2, 3)) / area).clamp(0, 1)))
    frames, target, double, visibility = (torch.cat(part) for part in zip(*parts, strict=True))
    clips = len(seeds)
    zeros = torch.zeros(clips, num_frames, dtype=torch.long, device=device)
    points, labels = torch.zeros(clips, 2, 2, device=device), torch.zeros(clips, 2, dtype=torch.int32, device=device)
    gap = torch.zeros((), device=device)
    return ClipBatch(frames, target, double, visibility, points, labels, zeros, zeros, gap, clips, 0)


def _auc(positive: Array, negative: Array) -> float:
    """Chance that a positive scores above a negative, ties half."""
    if not len(positive) or not len(negative):
        return float("nan")
    pool = np.concatenate([positive, negative])
    order = pool.argsort(kind="stable")
    ranks = np.empty(len(pool))
    ranks[order] = np.arange(1, len(pool) + 1)
    wins = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(wins / (len(positive) * len(negative)))


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _correlation(a: Array, b: Array) -> float:
    """Pearson's, where both vary."""
    if not a.size or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _records(model: SAM2Base, batch: ClipBatch) -> dict[str, Array]:
    """Per frame and clip: predicted and true IoUs of the three masks, scores, and how much the masks differ."""
    columns: dict[str, list[Array]] = {name: [] for name in ("ious", "true", "double", "score", "pairs")}
    on_cuda = batch.frames.is_cuda
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=on_cuda):
        outputs = Rollout(model)(batch)
    for t, groups in enumerate(outputs[1:], start=1):
        ((_, output),) = groups
        masks = output.logits > 0
        pairs = [true_ious(output.logits[:, [a]], masks[:, b])[:, 0] for a, b in ((0, 1), (0, 2), (1, 2))]
        for name, value in (
            ("ious", output.ious),
            ("true", true_ious(output.logits, batch.target[:, t])),
            ("double", true_ious(output.logits, batch.double[:, t])),
            ("score", output.score),
            ("pairs", torch.stack(pairs, 1).mean(1)),
        ):
            columns[name].append(value.float().cpu().numpy())
    records = {name: np.stack(values) for name, values in columns.items()}
    records["visibility"] = batch.visibility[:, 1:].T.cpu().numpy()
    return records


def summarise(records: dict[str, Array]) -> dict[str, float]:
    """The figures of one suite from its per-frame records."""
    ious, true, score, visibility = (records[name] for name in ("ious", "true", "score", "visibility"))
    present, best = visibility >= PRESENT_FROM, ious.argmax(2)[..., None]
    chosen = np.take_along_axis(true, best, 2)[..., 0]
    predicted = np.take_along_axis(ious, best, 2)[..., 0]
    on_double = np.take_along_axis(records["double"], best, 2)[..., 0]
    tracked = present & (score > 0)
    answered = np.where(score > 0, np.where(present, chosen, 0.0), ~present)
    doubtful = (visibility > 0) & (visibility < 2 * PRESENT_FROM)
    uncertain = np.abs(score) <= 2
    return {
        "mean_iou": _mean((chosen * (score > 0))[present]),
        "answer_iou": _mean(answered.ravel().astype(float)),
        "oracle_iou": _mean((true.max(2) * (score > 0))[present]),
        "iou_correlation": _correlation(predicted[tracked], chosen[tracked]),
        "iou_correlation_all_masks": _correlation(ious[tracked], true[tracked]),
        "answer_correlation": _correlation(predicted, answered),
        "predicted_on_object": _mean(predicted[tracked & (chosen > 0.5)]),
        "predicted_on_double": _mean(predicted[(score > 0) & (on_double > 0.5) & (chosen < 0.2)]),
        "on_double": _mean((present & (score > 0) & (on_double > 0.5) & (chosen < 0.2)).ravel()),
        "score_auc": _auc(score[visibility > 0.15], score[visibility == 0]),
        "absent_with_positive_score": _mean((score > 0)[visibility == 0]),
        "score_size_in_doubt": _mean(np.abs(score)[doubtful]),
        "score_size_visible": _mean(np.abs(score)[visibility > 0.3]),
        "uncertain": _mean(uncertain.ravel()),
        "pairwise_iou_certain": _mean(records["pairs"][~uncertain & present]),
        "pairwise_iou_uncertain": _mean(records["pairs"][uncertain & present]),
    }


def measure_heads(
    model: SAM2Base,
    device: torch.device,
    *,
    split: str = "val",
    clips: int = 24,
    num_frames: int = 40,
    chunk: int = 8,
    true_memory: bool = False,
) -> dict[str, dict[str, float]]:
    """Head figures per suite, and over all suites as `all`."""
    was_training = model.training
    model.eval()
    gathered: list[dict[str, Array]] = []
    report = {}
    for suite in SUITES:
        parts = []
        for first in range(0, clips, chunk):
            seeds = range(first, min(first + chunk, clips))
            batch = held_out_batch(suite, seeds, num_frames, model.image_size, split, device)
            if true_memory:
                batch.memory = torch.full_like(batch.memory, TRUE_BEST)
            parts.append(_records(model, batch))
        gathered.append({name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]})
        report[suite] = summarise(gathered[-1])
    report["all"] = summarise({name: np.concatenate([g[name] for g in gathered], axis=1) for name in gathered[0]})
    model.train(was_training)
    return report


COLUMNS = {
    "mean IoU": "mean_iou",
    "answer's IoU": "answer_iou",
    "IoU correlation, chosen": "iou_correlation",
    "all masks": "iou_correlation_all_masks",
    "on object": "predicted_on_object",
    "on look-alike": "predicted_on_double",
    "score AUC": "score_auc",
    "absent, score > 0": "absent_with_positive_score",
    "abs. score in doubt": "score_size_in_doubt",
    "visible": "score_size_visible",
    "uncertain frames": "uncertain",
    "masks' IoU, certain": "pairwise_iou_certain",
    "uncertain": "pairwise_iou_uncertain",
}


def table(report: dict[str, dict[str, float]]) -> str:
    """The figures in Markdown, a row a suite; empty where there was nothing to measure."""
    rows = [["suite", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    for suite, figures in report.items():
        values = [figures[name] for name in COLUMNS.values()]
        rows.append([suite, *("" if np.isnan(value) else f"{value:.2f}" for value in values)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a demo.pt of tools/train_demo.py")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--split", default="val", choices=["val", "test"], help="val is for tuning, test for reports")
    parser.add_argument("--clips", type=int, default=24, help="clips a suite (default 24)")
    parser.add_argument("--frames", type=int, default=60, help="frames a clip (default 60)")
    parser.add_argument("--true-memory", action="store_true", help="remember every frame by its truly best mask")
    parser.add_argument("-o", "--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args(argv)
    device = torch.device(options.device)
    report = measure_heads(
        build_model(options.config, device, options.checkpoint),
        device,
        split=options.split,
        clips=options.clips,
        num_frames=options.frames,
        true_memory=options.true_memory,
    )
    if options.out:
        options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
