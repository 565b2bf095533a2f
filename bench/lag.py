"""How long a tree's answers wait: frames tracked beyond a frame before it is yielded.

    python bench/lag.py                          the synthetic suites (split val), the embedded model
    python bench/lag.py --video FOLDER MASK ...  videos of your own, each with the mask of its first frame

Prints one Markdown row per suite or video and setting: median, 90th percentile and maximum.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.bench.synthetic_track import ClipSpec
from sam2long.cli.mask_file import read_masks
from sam2long.resources import resource_dir

SUITES = ("easy", "occlusion", "distractor", "reappear", "crowd")
SETTINGS: dict[str, tuple[dict[str, Any], int | None]] = {
    "default": ({}, None),
    "`merge_iou=0.98`": ({"merge_iou": 0.98}, None),
    "`max_pending_frames=8`": ({}, 8),
}


def lags(predictor: SAM2LongVideoPredictor, video: Any, masks: dict[int, Any], setting: str) -> Iterator[int]:
    """For every frame yielded, how many frames beyond it had been tracked by then."""
    tree, max_pending = SETTINGS[setting]
    state = predictor.init_state(video, memory_tree=MemoryTreeConfig(**tree), max_pending_frames=max_pending)
    for obj_id, mask in masks.items():
        predictor.add_new_mask(state, 0, obj_id, mask)
    for frame_idx, _, _ in predictor.propagate_in_video(state):
        yield predictor.session(state).open_pass.remaining.start - 1 - frame_idx  # type: ignore[union-attr]


def row(name: str, setting: str, found: list[int]) -> str:
    at_once = 100 * np.mean(np.array(found) == 0)
    median, high = np.percentile(found, [50, 90], method="lower")
    return f"| {name} | {setting} | {len(found)} | {at_once:.0f} % | {median} | {high} | {max(found)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", nargs=2, action="append", type=Path, metavar=("VIDEO", "MASK"))
    parser.add_argument("--clips", type=int, default=10, help="of each suite")
    args = parser.parse_args()
    predictor = build_sam2long_video_predictor("demo", resource_dir("checkpoints") / "demo.pt")
    lines = ["| clip | setting | frames | at once | median | 90 % | longest |", "|---|---|---|---|---|---|---|"]
    with torch.inference_mode():
        for setting in SETTINGS:
            for video, mask in args.video or ():
                lines.append(row(video.name, setting, list(lags(predictor, video, read_masks(mask, None), setting))))
            for suite in () if args.video else SUITES:
                clips = (ClipSpec(suite, seed, split="val").draw() for seed in range(args.clips))
                found = [lag for clip in clips for lag in lags(predictor, clip.frames, {1: clip.masks[0, 0]}, setting)]
                lines.append(row(suite, setting, found))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
