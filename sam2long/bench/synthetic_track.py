"""One clip of the synthetic benchmark: tracked with every setting, scored frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam2long.bench.metrics import boundary_f, jaccard
from sam2long.config import MemoryTreeConfig
from sam2long.predictor import SAM2LongVideoPredictor
from sam2long.synthetic import Clip, render, sample_scene

OBJECT = 1


@dataclass(frozen=True)
class Setting:
    """A contestant: a name for the table and the tree's settings (one pathway is SAM 2 itself)."""

    name: str
    tree: MemoryTreeConfig


@dataclass(frozen=True)
class ClipSpec:
    """Which clip: everything its pixels depend on."""

    suite: str
    seed: int
    num_frames: int = 60
    size: int = 256
    split: str = "test"

    def draw(self) -> Clip:
        return render(sample_scene(self.suite, self.seed, num_frames=self.num_frames, split=self.split), self.size)


def track_clip(predictor: SAM2LongVideoPredictor, spec: ClipSpec, settings: Sequence[Setting]) -> dict[str, Any]:
    """Tracks object 1 of a clip from its mask on frame 0, once per setting.

    Returns:
        A JSON-ready record: the spec, `present` per frame, and per setting the lists `j` and `f` (all frames after
        the first), `double` (highest IoU with a look-alike), and for a tree `oracle` (J&F of the best pathway).
    """
    clip = spec.draw()
    record: dict[str, Any] = {**asdict(spec), "present": clip.present[:, 0].tolist(), "settings": {}}
    features: dict[int, Any] = {}
    for setting in settings:
        record["settings"][setting.name] = _track(predictor, clip, setting.tree, features)
    return record


@torch.inference_mode()
def _track(
    predictor: SAM2LongVideoPredictor, clip: Clip, tree: MemoryTreeConfig, features: dict[int, Any]
) -> dict[str, list[float]]:
    state = predictor.init_state(clip.frames, memory_tree=tree)
    if not features:
        features.update(_encode(predictor, state))
    state["cached_features"] = features  # image features do not depend on the setting
    predictor.add_new_mask(state, 0, OBJECT, clip.masks[0, 0])
    scores: dict[str, list[float]] = {"j": [], "f": [], "double": []}
    oracle: list[float] = []
    for frame_idx, _, logits in _propagate(predictor, state, clip, oracle):
        if frame_idx == 0:
            continue
        found = _mask(logits)
        truth = clip.masks[frame_idx, 0]
        scores["j"].append(round(jaccard(found, truth), 4))
        scores["f"].append(round(boundary_f(found, truth), 4))
        scores["double"].append(round(_on_double(found, clip, frame_idx), 4))
    if tree.num_pathways > 1:
        scores["oracle"] = oracle
    return scores


def _encode(predictor: SAM2LongVideoPredictor, state: dict[str, Any]) -> dict[int, Any]:
    features = {}
    for frame_idx in range(state["num_frames"]):
        state["cached_features"] = {}
        predictor._get_image_feature(state, frame_idx, 1)
        features.update(state["cached_features"])
    return features


def _propagate(predictor: SAM2LongVideoPredictor, state: dict[str, Any], clip: Clip, oracle: list[float]) -> Any:
    """The predictor's generator; on its way the best J&F among the live pathways of each frame joins `oracle`."""
    start = predictor._start_propagation

    def observed(*args: Any, **kwargs: Any) -> Any:
        propagation = start(*args, **kwargs)
        track = propagation.track

        def track_and_score(frame_idx: int) -> None:
            track(frame_idx)
            tree = propagation._trees.get(OBJECT)
            if frame_idx > 0 and tree is not None:
                oracle.append(_best_pathway(tree.tips, clip, frame_idx))

        propagation.__dict__["track"] = track_and_score
        return propagation

    predictor.__dict__["_start_propagation"] = observed  # hides the class's own for this pass
    try:
        yield from predictor.propagate_in_video(state)
    finally:
        del predictor.__dict__["_start_propagation"]


def _best_pathway(tips: Sequence[Any], clip: Clip, frame_idx: int) -> float:
    truth, size = clip.masks[frame_idx, 0], clip.frames.shape[1]
    best = 0.0
    for tip in tips:
        logits = torch.nn.functional.interpolate(tip.output.mask_logits.float(), size=(size, size), mode="bilinear")
        found = _mask(logits)
        best = max(best, (jaccard(found, truth) + boundary_f(found, truth)) / 2)
    return round(best, 4)


def _mask(logits: torch.Tensor) -> NDArray[np.bool_]:
    return np.asarray((logits[0, 0] > 0).cpu().numpy())


def _on_double(found: NDArray[np.bool_], clip: Clip, frame_idx: int) -> float:
    """Highest IoU of the answer with a look-alike that shows."""
    shown = [clip.masks[frame_idx, clip.obj_ids.index(obj_id)] for obj_id in clip.doubles]
    return max((jaccard(found, mask) for mask in shown if mask.any()), default=0.0)
