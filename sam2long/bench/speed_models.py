"""The contestants of the speed benchmark: SAM 2 and trees of the same weights, run in three ways, on one clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.model.captures import Captures
from sam2long.model.graphs import GraphFactory
from sam2long.search.selection import Candidate, SelectFunction, select_candidates

Mode = Literal["eager", "captured", "compiled"]
# Far beyond the paper's uncertainty threshold: the object is visible and every frame certain.
_VISIBLE_BIAS = 10.0


@dataclass(frozen=True)
class Contestant:
    """SAM 2 (`regime="sam2"`), or a tree with `num_pathways` slots that are `shared` or `distinct`."""

    num_pathways: int
    regime: str
    mode: Mode = "eager"

    @property
    def name(self) -> str:
        """As tables call it."""
        how = "" if self.mode == "eager" else f", {self.mode}"
        return f"SAM 2{how}" if self.regime == "sam2" else f"P={self.num_pathways} {self.regime}{how}"


def select_distinct(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
    """Keep the slots on distinct pathways: each slot goes on with the best of its masks that is not taken."""
    taken: list[Candidate] = []
    for slot_idx in range(config.num_pathways):
        ranked = sorted((c for c in candidates if c.slot_idx == slot_idx), key=lambda c: -c.score)
        scores = {c.score for c in taken}  # slots that share a node propose equal scores
        taken.append(next((c for c in ranked if c.score not in scores), ranked[0]))
    return taken


class SpeedModels:
    """The predictors, made when a contestant first needs them, and the clip.

    Args:
        config, checkpoint: the model; random weights without a checkpoint.
        device: where to run.
        num_frames: length of the clip.
        encode_ahead: see `SAM2LongVideoPredictor`.
        overrides: Hydra overrides of the model.
        graphs: what records, in the place of CUDA graphs.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str | None,
        device: torch.device,
        *,
        num_frames: int,
        encode_ahead: int = 0,
        overrides: Sequence[str] = (),
        graphs: GraphFactory | None = None,
    ) -> None:
        self.device = device
        self.num_frames = num_frames
        self._config, self._checkpoint, self._overrides = config, checkpoint, list(overrides)
        self._encode_ahead = encode_ahead
        self._graphs = graphs
        self.sam2 = self._build("SAM2VideoPredictor")
        self.ours = self._around(self.sam2)
        self.frames = _clip(num_frames, self.sam2.image_size)

    def _build(self, target: str, *overrides: str) -> Any:
        torch.manual_seed(0)  # the same random weights each time
        overrides = (*self._overrides, *overrides, f"++model._target_=sam2.sam2_video_predictor.{target}")
        sam2: Any = build_sam2long_video_predictor(
            self._config, self._checkpoint, device=self.device, hydra_overrides_extra=overrides
        )
        head = sam2.sam_mask_decoder.pred_obj_score_head
        with torch.no_grad():
            (head.layers[-1] if hasattr(head, "layers") else head).bias.fill_(_VISIBLE_BIAS)
        return sam2

    def _around(self, sam2: SAM2VideoPredictor, *, capture: bool = False) -> SAM2LongVideoPredictor:
        ours = SAM2LongVideoPredictor.from_sam2(sam2, capture=capture and self._graphs is None)
        if capture and self._graphs is not None:
            ours.use_captures(Captures(self._graphs, self.device))
        ours.encode_ahead = self._encode_ahead
        return ours

    @cached_property
    def captured(self) -> SAM2LongVideoPredictor:
        """Ours, replaying recordings; the modules are those of the eager predictors."""
        return self._around(self.sam2, capture=True)

    @cached_property
    def compiled(self) -> tuple[SAM2VideoPredictor, SAM2LongVideoPredictor]:
        """SAM 2's compiled predictor, and ours around its modules: compiling changes them in place."""
        sam2 = self._build("SAM2VideoPredictorVOS", "++model.compile_image_encoder=true")
        # SAM 2 alone stops here: it reads this output after the prompt encoder's call, which has overwritten it.
        sam2.memory_attention.register_forward_hook(lambda _module, _args, features: features.clone())
        return sam2, self._around(sam2)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Without encoding ahead, so that every stage can be waited for."""
        encode_ahead, self.ours.encode_ahead = self.ours.encode_ahead, 0
        try:
            yield
        finally:
            self.ours.encode_ahead = encode_ahead

    def of(self, contestant: Contestant) -> tuple[SAM2VideoPredictor, SAM2LongVideoPredictor]:
        """(SAM 2, ours) in the contestant's mode."""
        if contestant.mode == "compiled":
            return self.compiled
        return self.sam2, self.captured if contestant.mode == "captured" else self.ours

    def prompted(
        self, contestant: Contestant, num_objects: int, watch: Callable[[SelectFunction], SelectFunction] | None = None
    ) -> tuple[SAM2VideoPredictor, dict[str, Any]]:
        """The contestant's predictor, and a state of the clip with its objects prompted on frame 0.

        Args:
            watch: wraps the tree's selection.
        """
        # SAM 2's memory holds all frames, and so shall the tree's, however little random weights trust their masks.
        tree = MemoryTreeConfig(num_pathways=max(contestant.num_pathways, 1), iou_threshold=0.0)
        sam2, ours = self.of(contestant)
        state = ours.init_state(self.frames, memory_tree=tree)
        predictor = sam2 if contestant.regime == "sam2" else ours
        if contestant.regime == "sam2":
            # SAM 2 holds the whole video as float tensors on the device
            lazy = state["images"]
            state["images"] = torch.empty(self.num_frames, *lazy[0].shape, device=self.device)
            for t in range(self.num_frames):
                state["images"][t] = lazy[t]
        select: SelectFunction = select_distinct if contestant.regime == "distinct" else select_candidates
        ours.select = watch(select) if watch else select
        size = self.frames.shape[1]
        for obj_id in range(num_objects):
            left = size // 8 + obj_id * size // 10
            mask = np.zeros((size, size), dtype=bool)
            mask[size // 3 : size // 2, left : left + size // 8] = True
            predictor.add_new_mask(state, 0, obj_id, mask)
        return predictor, state


def _clip(num_frames: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth random texture that drifts, [T, size, size, 3] uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (size // 32 + num_frames // 8 + 2, size // 32, 3), dtype=np.uint8)
    texture = coarse.repeat(32, axis=0).repeat(32, axis=1)
    return np.stack([texture[4 * t : 4 * t + size, :size] for t in range(num_frames)])
