"""One clip of the synthetic benchmark: tracked with every setting, scored frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam2long.bench.synthetic_oracles import oracle
from sam2long.bench.synthetic_settings import Setting
from sam2long.config import MemoryTreeConfig
from sam2long.evaluation.measures import boundary_f, jaccard
from sam2long.predictor import SAM2LongVideoPredictor
from sam2long.state.inspection import FrameHypothesis
from sam2long.synthetic import Clip, render, sample_scene

OBJECT = 1


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
        the first), `double` (highest IoU with a look-alike), `answered` (whether with anything), `pathways` (how many
        there are), for a tree `oracle` (J&F of the best pathway), and `ms`: milliseconds a frame takes beyond its
        encoding.
    """
    clip = spec.draw()
    record: dict[str, Any] = {**asdict(spec), "present": clip.present[:, 0].tolist(), "settings": {}}
    features = _encode(predictor, clip)  # they do not depend on the setting
    for setting in settings:
        record["settings"][setting.name] = _track(predictor, clip, setting, features)
    return record


@torch.inference_mode()
def _track(predictor: SAM2LongVideoPredictor, clip: Clip, setting: Setting, features: dict[int, Any]) -> dict[str, Any]:
    predictor.select, predictor.choose_memory = setting.select, setting.choose_memory
    predictor.policy = setting.policy if setting.oracle is None else oracle(setting.oracle, clip)
    scores: dict[str, list[float]] = {"j": [], "f": [], "double": [], "answered": []}
    watched = Watched()
    track = _answers_of_sam2 if setting.tree.num_pathways == 1 else _answers_of_tree
    answers = track(predictor, clip, setting.tree, features, watched)
    for frame_idx, _, logits in answers:
        found = _mask(logits)
        truth = clip.masks[frame_idx, 0]
        scores["j"].append(round(jaccard(found, truth), 4))
        scores["f"].append(round(boundary_f(found, truth), 4))
        scores["double"].append(round(_on_double(found, clip, frame_idx), 4))
        scores["answered"].append(int(found.any()))
    ms = round(1000 * watched.seconds / len(watched.pathways), 3)
    return {**scores, "oracle": watched.oracle, "pathways": watched.pathways, "ms": ms}


@dataclass
class Watched:
    """What is seen while tracking, frame by frame: the best pathway's J&F, the number of pathways, the time."""

    oracle: list[float] = field(default_factory=list)
    pathways: list[int] = field(default_factory=list)
    seconds: float = 0.0


Answers = Iterator[tuple[int, list[Any], torch.Tensor]]


def _answers_of_sam2(
    predictor: SAM2LongVideoPredictor, clip: Clip, tree: MemoryTreeConfig, features: dict[int, Any], watched: Watched
) -> Answers:
    state = predictor.init_state(clip.frames, memory_tree=tree)
    state["cached_features"] = features
    predictor.add_new_mask(state, 0, OBJECT, clip.masks[0, 0])
    frames = predictor.propagate_in_video(state)
    next(frames)  # the prompted one
    for _ in clip.frames[1:]:
        start = perf_counter()
        answer = next(frames)
        watched.seconds += perf_counter() - start
        watched.pathways.append(1)
        yield answer


def _answers_of_tree(
    predictor: SAM2LongVideoPredictor, clip: Clip, tree: MemoryTreeConfig, features: dict[int, Any], watched: Watched
) -> Answers:
    """As a stream, whose answers are a video's, so that every frame's pathways can be looked at when it is tracked."""
    state = predictor.init_stream(clip.frames[0], memory_tree=tree)
    state["cached_features"] = features
    predictor.add_new_mask(state, 0, OBJECT, clip.masks[0, 0])
    for frame_idx, frame in enumerate(clip.frames[1:], start=1):
        start = perf_counter()
        answers = predictor.track_frame(state, frame)
        watched.seconds += perf_counter() - start
        yield from answers
        hypotheses = predictor.get_hypotheses(state, OBJECT, frame_idx)
        watched.oracle.append(_best_pathway(hypotheses, clip, frame_idx))
        watched.pathways.append(len(hypotheses))
    yield from predictor.finish_stream(state)


@torch.inference_mode()
def _encode(predictor: SAM2LongVideoPredictor, clip: Clip) -> dict[int, Any]:
    """SAM 2's cached image features of all frames; positional encodings, larger and always the same, are kept once."""
    state = predictor.init_state(clip.frames)
    features: dict[int, Any] = {}
    for frame_idx in range(state["num_frames"]):
        state["cached_features"] = {}
        predictor.image_features(state, frame_idx)
        image, encoded = state["cached_features"][frame_idx]
        encodings = features[0][1]["vision_pos_enc"] if features else encoded["vision_pos_enc"]
        features[frame_idx] = image, {"backbone_fpn": encoded["backbone_fpn"], "vision_pos_enc": encodings}
    return features


def _best_pathway(hypotheses: Sequence[FrameHypothesis], clip: Clip, frame_idx: int) -> float:
    truth = clip.masks[frame_idx, 0]
    found = [_mask(hypothesis.video_res_masks) for hypothesis in hypotheses]
    return round(max((jaccard(mask, truth) + boundary_f(mask, truth)) / 2 for mask in found), 4)


def _mask(logits: torch.Tensor) -> NDArray[np.bool_]:
    return np.asarray((logits[0, 0] > 0).cpu().numpy())


def _on_double(found: NDArray[np.bool_], clip: Clip, frame_idx: int) -> float:
    """Highest IoU of the answer with a look-alike that shows."""
    shown = [clip.masks[frame_idx, clip.obj_ids.index(obj_id)] for obj_id in clip.doubles]
    return max((jaccard(found, mask) for mask in shown if mask.any()), default=0.0)
