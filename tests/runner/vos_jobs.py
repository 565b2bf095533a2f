"""Jobs with the golden model, and SAM 2's way of doing them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import GOLDEN

from sam2long.config import MemoryTreeConfig
from sam2long.datasets import DatasetLayout
from sam2long.model_choice import ModelChoice
from sam2long.runner import Job
from sam2long.runner.tasks import VosTask
from sam2long.runner.worker import TrackerSettings

TREE = MemoryTreeConfig()
SAM2 = MemoryTreeConfig(num_pathways=1)


def golden_settings(**changes: Any) -> TrackerSettings:
    return TrackerSettings(ModelChoice(str(GOLDEN / "model.yaml"), GOLDEN / "model.pt", TREE, "cpu"), **changes)


def vos_job(
    layout: DatasetLayout,
    output: Path,
    tree: MemoryTreeConfig = SAM2,
    settings: TrackerSettings | None = None,
    about: Mapping[str, Any] | None = None,
) -> Job:
    tasks = [VosTask(item, output, tree) for item in layout.items()]
    return Job(tasks, settings or golden_settings(), {output: about or {"pathways": tree.num_pathways}})


Objects = dict[int, dict[int, np.ndarray]]  # object -> frame -> mask


@torch.inference_mode()
def together_by_sam2(predictor: SAM2VideoPredictor, video: Path, objects: Objects) -> dict[int, dict[int, np.ndarray]]:
    """frame -> object -> logits [H, W]: all objects in one state, as SAM 2's script if all are there at first."""
    state = predictor.init_state(video_path=str(video))
    for obj_id in sorted(objects):
        for frame_idx in sorted(objects[obj_id]):
            predictor.add_new_mask(state, frame_idx=frame_idx, obj_id=obj_id, mask=objects[obj_id][frame_idx])
    return {
        frame_idx: {obj_id: logits[i, 0].numpy() for i, obj_id in enumerate(obj_ids)}
        for frame_idx, obj_ids, logits in predictor.propagate_in_video(state)
    }


@torch.inference_mode()
def apart_by_sam2(predictor: SAM2VideoPredictor, video: Path, objects: Objects) -> dict[int, dict[int, np.ndarray]]:
    """The same, a state for every object, as the script does where objects appear later."""
    state = predictor.init_state(video_path=str(video))
    found: dict[int, dict[int, np.ndarray]] = {t: {} for t in range(state["num_frames"])}
    for obj_id in sorted(objects):
        predictor.reset_state(state)
        for frame_idx, mask in sorted(objects[obj_id].items()):
            predictor.add_new_mask(state, frame_idx=frame_idx, obj_id=obj_id, mask=mask)
        start = min(objects[obj_id])
        for frame_idx, _, logits in predictor.propagate_in_video(state, start_frame_idx=start, reverse=False):
            found[frame_idx][obj_id] = logits[0, 0].numpy()
    return found


def one_map(logits: Mapping[int, np.ndarray], shape: tuple[int, int], threshold: float = 0.0) -> np.ndarray:
    """Label maps as the script packs them: the largest logit keeps a pixel, and smaller ids are written last."""
    found = np.zeros(shape, np.uint8)
    if not logits:
        return found
    obj_ids = sorted(logits)
    stacked = torch.from_numpy(np.stack([logits[obj_id] for obj_id in obj_ids]))[:, None]
    winner = stacked.argmax(dim=0, keepdim=True)
    kept = torch.where(winner == torch.arange(len(obj_ids))[:, None, None, None], stacked, stacked.clamp(max=-10.0))
    for i in reversed(range(len(obj_ids))):
        found[(kept[i, 0] > threshold).numpy()] = obj_ids[i]
    return found
