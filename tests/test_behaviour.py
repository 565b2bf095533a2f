"""What the tree is for: clips on which SAM 2 loses its object and the tree, with the same weights, keeps it.

The clips are of the `val` split (the benchmark reports on `test`); they were searched for, so they show what the
tree can do, not how often: that is the benchmark's to say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam2long import MemoryTreeConfig, build_sam2long_video_predictor
from sam2long.bench.synthetic_settings import Setting
from sam2long.bench.synthetic_track import ClipSpec, track_clip
from sam2long.resources import resource_dir

SAM2 = Setting("SAM 2", MemoryTreeConfig(num_pathways=1))
TREE = Setting("tree", MemoryTreeConfig())


@pytest.fixture(scope="module")
def predictor() -> Any:
    config, checkpoint = resource_dir("configs") / "demo.yaml", resource_dir("checkpoints") / "demo.pt"
    return build_sam2long_video_predictor(config, checkpoint, device="cpu", apply_postprocessing=False)


@pytest.mark.parametrize(
    ("suite", "seed"),
    [("reappear", 101), ("reappear", 107), ("reappear", 109), ("reappear", 110), ("occlusion", 107)],
)
def test_tree_keeps_what_sam2_loses(predictor: Any, suite: str, seed: int) -> None:
    """SAM 2 takes the look-alike for the object that left or hid, the tree says it is away and finds it again."""
    record = track_clip(predictor, ClipSpec(suite, seed, num_frames=32, split="val"), [SAM2, TREE])
    quality, lost = {}, {}
    for name, scores in record["settings"].items():
        j, f = np.asarray(scores["j"]), np.asarray(scores["f"])
        quality[name] = float((j + f).mean() / 2)
        lost[name] = int((j < 0.2).sum())
    assert lost["SAM 2"] >= 5
    assert lost["tree"] <= lost["SAM 2"] - 3
    assert quality["tree"] >= quality["SAM 2"] + 0.08


def test_both_track_an_easy_clip(predictor: Any) -> None:
    record = track_clip(predictor, ClipSpec("easy", 0, num_frames=24, split="val"), [SAM2, TREE])
    for scores in record["settings"].values():
        assert np.mean(scores["j"]) > 0.8
        assert min(scores["j"]) > 0.6
