"""Draws figures of the documents from the embedded clip: `python tools/make_docs_figures.py docs`.

`sam2_and_tree.png`: moments of the clip by SAM 2 and by the tree. `tree.png`: what the tree did.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from sam2long import MemoryTreeConfig, TreeRecord, build_sam2long_video_predictor
from sam2long.cli import demo
from sam2long.evaluation import jaccard
from sam2long.frames import open_frames
from sam2long.resources import resource_dir
from sam2long.views import draw_tree, overlay

MOMENTS = {0: "shown", 3: "leaves", 9: "away", 13: "away", 17: "is back", 24: "stays"}
ROWS = {"SAM 2": (255, 48, 48), "SAM2Long": (60, 160, 255)}
SIDE, GAP, LEFT, TOP = 168, 4, 30, 24
Masks = dict[int, Any]


@torch.inference_mode()
def track(num_pathways: int, on_frame: Callable[[TreeRecord], Any] | None = None) -> Masks:
    checkpoint = resource_dir("checkpoints") / "demo.pt"
    tree = MemoryTreeConfig(num_pathways=num_pathways)
    predictor = build_sam2long_video_predictor("demo", checkpoint, memory_tree=tree, device="cpu")
    state = predictor.init_state(open_frames(demo.CLIP))
    (prompt,) = json.loads(demo.PROMPTS.read_text())
    predictor.add_new_points_or_box(state, prompt["frame"], prompt["obj_id"], box=prompt["box"])
    listening = {} if on_frame is None else {"on_frame": on_frame}
    answers = predictor.propagate_in_video(state, **listening)
    return {t: (logits[0, 0] > 0).cpu().numpy() for t, _, logits in answers}


def draw(rows: dict[str, Masks]) -> Image.Image:
    """A row of moments for each tracker."""
    video = open_frames(demo.CLIP)
    width = LEFT + len(MOMENTS) * (SIDE + GAP)
    panel = Image.new("RGB", (width, TOP + len(rows) * (SIDE + GAP)), (24, 24, 24))
    font = ImageFont.load_default(14)
    for column, (t, what) in enumerate(MOMENTS.items()):
        x = LEFT + column * (SIDE + GAP)
        ImageDraw.Draw(panel).text((x + SIDE // 2, TOP // 2), f"frame {t}: {what}", "white", font, anchor="mm")
        for row, (name, masks) in enumerate(rows.items()):
            picture = Image.fromarray(overlay(video[t], {1: masks[t]}, colors={1: ROWS[name]}))
            panel.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, TOP + row * (SIDE + GAP)))
    for row, name in enumerate(rows):
        label = Image.new("RGB", (SIDE, LEFT), (24, 24, 24))
        ImageDraw.Draw(label).text((SIDE // 2, LEFT // 2), name, ROWS[name], font, anchor="mm")
        panel.paste(label.rotate(90, expand=True), (0, TOP + row * (SIDE + GAP)))
    return panel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    records: list[TreeRecord] = []
    rows = {"SAM 2": track(1), "SAM2Long": track(3, records.append)}
    draw(rows).quantize(256, dither=Image.Dither.NONE).save(folder / "sam2_and_tree.png", optimize=True)
    draw_tree(records).savefig(folder / "tree.png", dpi=90)
    truth = demo.read_truth()
    for name, masks in rows.items():
        ious = [jaccard(masks[t], truth[t]) for t in range(1, len(truth))]
        print(f"{name}: mean IoU {sum(ious) / len(ious):.2f}")


if __name__ == "__main__":
    main()
