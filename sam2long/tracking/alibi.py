"""Following doubtful masks backwards: two things seen at the same time are not the same thing.

Where a policy's `audit` suspects a chosen mask, the mask is tracked backwards with a memory of its own, as far as the
nearest frame on which its pathway was certain of the object. What is found there is shown to the policy, which may then
choose otherwise. The forward pass is not touched: its state, its memories and its cache stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from sam2long.model.hypotheses import Hypothesis, Node, Proposals
from sam2long.model.image_features import ImageFeatures, ImageModel
from sam2long.model.memory_bank import FrameMemory, PathwayMemory
from sam2long.search.picking import Pick
from sam2long.search.policy import Audit
from sam2long.search.selection import Sighting, choose_memory
from sam2long.tracking.object_track import ObjectTrack, PassSettings, Step

# Suspects of one object that overlap by more are one thing, and followed once.
_SAME_THING = 0.8


class AlibiModel(ImageModel, Protocol):
    """What following backwards needs of the predictor."""

    reuses_buffers: bool
    captures: Any


class BackwardBatch(Protocol):
    """What proposes and remembers masks."""

    def propose(self, features: ImageFeatures, pathways: Sequence[PathwayMemory]) -> Proposals:
        """The masks each pathway proposes for a frame."""

    def remember(
        self, frame_idx: int, features: ImageFeatures, proposals: Proposals, picks: Sequence[Pick]
    ) -> Sequence[Hypothesis]:
        """The memories of the masks that were selected."""


@dataclass(slots=True, eq=False)
class Suspect:
    """A mask on its way back.

    Attributes:
        step: the object's step that chose it.
        pick: what was chosen.
        certain_idx: the frame it is followed to.
        certain_mask: bool [1, 1, h, w], what its pathway has there.
        origin: the memory of the mask itself, read as a prompt is.
        mask: bool [1, 1, h, w], of the frame it is followed to so far.
        remembered: of the frames between, nearest last.
        overlaps: IoU of successive masks.
        occlusion_score: the least so far.
        leader: the same thing in another pathway, which is followed for both.
    """

    step: Step
    pick: Pick
    certain_idx: int
    certain_mask: Tensor
    origin: FrameMemory | None = None
    mask: Tensor = field(default_factory=lambda: torch.empty(0))
    remembered: tuple[FrameMemory, ...] = ()
    overlaps: list[Tensor] = field(default_factory=list)
    occlusion_score: float = math.inf
    leader: Suspect | None = None

    def pathway(self, age: int) -> PathwayMemory:
        """What it attends to, `age` frames back."""
        assert self.origin is not None
        return PathwayMemory([self.origin], [(age, self.origin)], self.remembered, modulated=len(self.remembered) > 0)

    def found(self, mask_logits: Tensor, occlusion_score: float) -> None:
        """Go on to what was found on the next frame of its way, low-res logits [1, 1, h, w]."""
        mask = mask_logits > 0
        self.overlaps.append(_iou(mask, self.mask))
        self.mask, self.occlusion_score = mask, min(self.occlusion_score, occlusion_score)

    def sighting(self) -> Sighting:
        """What was found; waits for the device."""
        way = self.leader or self
        numbers = torch.stack([_iou(way.mask, self.certain_mask), way.mask.sum().float(), *way.overlaps]).tolist()
        return Sighting(self.certain_idx, numbers[0], int(numbers[1]), min(numbers[2:]), way.occlusion_score)


class Alibis:
    """Follows the suspects of a frame backwards, all of them in one batch a frame.

    Args:
        model: the predictor.
        inference_state: its state.
        batch: proposes and remembers.
        settings: of the pass, whose policy has an audit.
        reverse: whether the pass runs towards frame 0, so that backwards is towards the end.
    """

    def __init__(
        self,
        model: AlibiModel,
        inference_state: dict[str, Any],
        batch: BackwardBatch,
        settings: PassSettings,
        *,
        reverse: bool,
    ) -> None:
        self._model = model
        self._state = inference_state
        self._batch = batch
        assert settings.policy.audit is not None
        self._audit: Audit = settings.policy.audit
        self._back = 1 if reverse else -1
        self._config, self._capacity = settings.config, settings.max_obj_ptrs - 1
        self._recent: dict[int, list[Tensor]] = {}  # feature levels of the frames within reach

    def check(
        self,
        frame_idx: int,
        features: ImageFeatures,
        proposals: Proposals,
        steps: Sequence[tuple[ObjectTrack, Step]],
    ) -> None:
        """Follow the frame's suspects backwards, and let their objects choose anew."""
        suspects = [suspect for track, step in steps for suspect in self._suspects(track, step)]
        if suspects:
            hypotheses = self._batch.remember(frame_idx, features, proposals, [suspect.pick for suspect in suspects])
            for suspect, hypothesis in zip(suspects, hypotheses, strict=True):
                suspect.origin, suspect.mask = hypothesis.memory, hypothesis.mask_logits > 0
            self._follow(frame_idx, features, _leaders(suspects))
            for track, step in steps:
                seen = {suspect.pick: suspect.sighting() for suspect in suspects if suspect.step is step}
                if seen and step.picking is not None:
                    track.fill(step, step.picking.after_audit(seen))
        self._keep(frame_idx, features)

    def _suspects(self, track: ObjectTrack, step: Step) -> list[Suspect]:
        if step.picking is None:
            return []
        found = []
        for pick in step.picking.suspects():
            certain = self._certain(track, step.parents[pick.row], step.frame_idx)
            if certain is not None:
                found.append(Suspect(step, pick, *certain))
        return found

    def _certain(self, track: ObjectTrack, tip: Node, frame_idx: int) -> tuple[int, Tensor] | None:
        """The nearest frame on which the pathway was certain, and its mask there; a prompted one however near."""
        for age in range(1, self._audit.reach + 1):
            t = frame_idx + self._back * age
            frame = track.seen(tip, t)
            if frame is None:
                continue
            memory, mask_logits = frame
            if memory is None or (age >= self._audit.nearest and self._audit.is_certain(memory)):
                return t, mask_logits().to(self._state["device"]) > 0
        return None

    def _follow(self, frame_idx: int, present: ImageFeatures, suspects: list[Suspect]) -> None:
        age, due = 0, suspects
        while due:
            age += 1
            t = frame_idx + self._back * age
            features = self._features(t, present)
            proposals = self._batch.propose(features, [suspect.pathway(age) for suspect in due])
            picks = [
                Pick(of.row, max(range(len(of.ious)), key=of.ious.__getitem__), 0.0, max(of.ious), of.occlusion_score)
                for of in proposals.scores()
            ]
            for suspect, pick in zip(due, picks, strict=True):
                suspect.found(proposals.decoded.mask_logits[pick.row, pick.mask_idx][None, None], pick.occlusion_score)
            # Where a way ends nothing reads its memory.
            going_on = {
                s: pick for s, pick in zip(due, picks, strict=True) if s.certain_idx != t and not self._is_lost(s)
            }
            if going_on:
                hypotheses = self._batch.remember(t, features, proposals, list(going_on.values()))
                for suspect, found in zip(going_on, hypotheses, strict=True):
                    suspect.remembered = choose_memory(suspect.remembered, found.memory, self._config, self._capacity)
            due = list(going_on)

    def _is_lost(self, suspect: Suspect) -> bool:
        return suspect.occlusion_score <= self._audit.unseen or float(suspect.overlaps[-1]) < self._audit.lost

    # -- image features ------------------------------------------------------------------------------------------------

    def _keep(self, frame_idx: int, features: ImageFeatures) -> None:
        levels = features.vision_feats
        if self._model.reuses_buffers or self._model.captures is not None:
            levels = [level.clone() for level in levels]
        self._recent[frame_idx] = levels
        while len(self._recent) > self._audit.reach:  # the farthest goes first, whatever was encoded again last
            del self._recent[(min if self._back < 0 else max)(self._recent)]

    def _features(self, frame_idx: int, present: ImageFeatures) -> ImageFeatures:
        """Of an earlier frame; those of a pass that was resumed are encoded again, beside SAM 2's cache."""
        if frame_idx not in self._recent:
            cached = self._state["cached_features"]
            try:
                self._keep(frame_idx, self._model.image_features(self._state, frame_idx))
            finally:
                self._state["cached_features"] = cached
        # Positional encodings are the same for all frames, and larger than the features.
        return ImageFeatures(self._recent[frame_idx], present.vision_pos, present.feat_sizes)


def _iou(one: Tensor, other: Tensor) -> Tensor:
    """Of two bool masks, a scalar on their device; 0 if both are empty."""
    return (one & other).sum() / (one | other).sum().clamp(min=1)


def _leaders(suspects: Sequence[Suspect]) -> list[Suspect]:
    """Those that are followed; each of the others is told who leads it."""
    leaders: list[Suspect] = []
    for suspect in suspects:
        suspect.leader = next((leader for leader in leaders if _is_same(leader, suspect)), None)
        if suspect.leader is None:
            leaders.append(suspect)
    return leaders


def _is_same(one: Suspect, other: Suspect) -> bool:
    alike = one.step is other.step and one.certain_idx == other.certain_idx
    return alike and float(_iou(one.mask, other.mask)) > _SAME_THING
