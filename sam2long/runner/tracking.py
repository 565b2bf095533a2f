"""One video, all its objects: answers frame by frame, each object from the frame on which it is shown first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.frames import FrameSource, ModelFrames
from sam2long.predictor import SAM2LongVideoPredictor

_NO_OBJECT = -1024.0  # SAM 2's logit where there is nothing
_OVERLAPPED = -10.0  # and the most it leaves an object where another one wins


@dataclass(frozen=True)
class Prompt:
    """What shows an object on a frame: a mask, or clicks and a box, in pixels of the video.

    Attributes:
        mask: bool [H, W].
        box: x0, y0, x1, y1.
        points, labels: (x, y) each, with 1 on the object, 0 not on it.
    """

    frame_idx: int
    obj_id: int
    mask: NDArray[np.bool_] | None = None
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()


def tracked(
    predictor: SAM2LongVideoPredictor,
    source: FrameSource,
    prompts: Sequence[Prompt],
    tree: MemoryTreeConfig,
    max_pending: int | None = None,
) -> Iterator[Tensor]:
    """Track all objects through a video, each forward from the frame on which it is shown first.

    Objects that begin on one frame share a pass. Each answers as it would alone: no object's beginning ends another's
    pass, as showing it in the middle of that pass would.

    Args:
        predictor: its precision is the caller's (`precision_of`).
        source: the video.
        prompts: at least one for each object.
        tree: settings of the tree; with one pathway it is SAM 2.
        max_pending: frames a decision may wait for (None: as long as it takes).

    Yields:
        Mask logits of every frame from 0 on, float32 [N, 1, H, W], objects in the order of their ids; -1024 on frames
        before an object begins.

    Raises:
        FrameError: a frame cannot be read.
    """
    obj_ids = sorted({prompt.obj_id for prompt in prompts})
    starts = {k: min(prompt.frame_idx for prompt in prompts if prompt.obj_id == k) for k in obj_ids}
    frames = ModelFrames(source, predictor.image_size, predictor.device)
    passes = []
    try:
        for start, begun in groupby(sorted(obj_ids, key=lambda k: (starts[k], k)), key=starts.__getitem__):
            members = set(begun)
            shown = [prompt for prompt in prompts if prompt.obj_id in members]
            passes.append(_Pass(predictor, frames, start, shown, tree, max_pending))
        yield from _side_by_side(passes, obj_ids, source)
    finally:
        for one in passes:
            one.answers.close()
        frames.close()


class _Pass:
    """The pass of objects that begin together, over an inference state of its own; begun when its frame comes."""

    def __init__(
        self,
        predictor: SAM2LongVideoPredictor,
        frames: ModelFrames,
        start: int,
        prompts: Sequence[Prompt],
        tree: MemoryTreeConfig,
        max_pending: int | None,
    ) -> None:
        self.start = start
        self.state: dict[str, Any] = {}
        # Buffers that are written again, compiled or recorded, are nothing to share.
        self.shares_features = not (predictor.reuses_buffers or predictor.capture)
        self.answers = self._answers(predictor, frames, prompts, tree, max_pending)

    def _answers(
        self,
        predictor: SAM2LongVideoPredictor,
        frames: ModelFrames,
        prompts: Sequence[Prompt],
        tree: MemoryTreeConfig,
        max_pending: int | None,
    ) -> Any:
        # Masks and memories of past frames wait in host memory, so that a GPU's does not fill up over a long video.
        self.state = predictor.new_state(frames, tree, max_pending, offload_state_to_cpu=True)
        for prompt in sorted(prompts, key=lambda prompt: (prompt.frame_idx, prompt.obj_id)):
            add_prompt(predictor, self.state, prompt)
        yield from predictor.propagate_in_video(self.state)

    def next(self, features: dict[int, Any]) -> tuple[int, list[int], Tensor]:
        """The next answer. `features`: the images encoded last, by frame; what this pass encodes takes their place."""
        if self.state and self.shares_features:
            self.state["cached_features"] = dict(features)
        answer: tuple[int, list[int], Tensor] = next(self.answers)
        features.clear()
        features.update(self.state["cached_features"])
        return answer


def _side_by_side(passes: Sequence[_Pass], obj_ids: Sequence[int], source: FrameSource) -> Iterator[Tensor]:
    """Frame by frame, so that passes that are equally far encode an image once, and one frame of logits is held."""
    features: dict[int, Any] = {}
    for frame_idx in range(len(source)):
        logits: Tensor | None = None
        for one in passes:
            if one.start > frame_idx:
                continue
            answered, ids, masks = one.next(features)
            if answered != frame_idx:
                raise RuntimeError(f"frame {answered} was answered in the place of frame {frame_idx}")
            if logits is None:
                logits = masks.new_full((len(obj_ids), *masks.shape[1:]), _NO_OBJECT, dtype=torch.float32)
            logits[[obj_ids.index(obj_id) for obj_id in ids]] = masks.float()
        yield torch.full((len(obj_ids), 1, source.height, source.width), _NO_OBJECT) if logits is None else logits


def add_prompt(predictor: SAM2LongVideoPredictor, state: dict[str, Any], prompt: Prompt) -> None:
    """Hand a prompt to a predictor."""
    if prompt.mask is not None:
        predictor.add_new_mask(state, prompt.frame_idx, prompt.obj_id, prompt.mask)
        return
    clicks: dict[str, Any] = {}
    if prompt.points:
        clicks = {"points": [list(point) for point in prompt.points], "labels": list(prompt.labels)}
    predictor.add_new_points_or_box(state, prompt.frame_idx, prompt.obj_id, box=prompt.box, **clicks)


def without_overlap(logits: Tensor) -> Tensor:
    """[N, 1, H, W] in which only the object of the largest logit can be positive, as SAM 2's `non_overlap_masks`."""
    if len(logits) == 1:
        return logits
    winner = logits.argmax(dim=0, keepdim=True)
    place = torch.arange(len(logits), device=logits.device)[:, None, None, None]
    return torch.where(winner == place, logits, logits.clamp(max=_OVERLAPPED))


def label_map(logits: Tensor, labels: Sequence[int], threshold: float) -> NDArray[np.integer[Any]]:
    """The label of every pixel, uint8 [H, W]; where several objects exceed the threshold, the first of them.

    Args:
        logits: [N, 1, H, W].
        labels: of the N objects, 1 to 65535.
        threshold: what an object's logit must exceed.

    Returns:
        uint8 [H, W]; uint16 if a label is above 255.
    """
    exceeding = logits[:, 0] > threshold
    fits = max(labels) <= 255
    found = torch.zeros(exceeding.shape[1:], dtype=torch.uint8 if fits else torch.int32, device=logits.device)
    for label, mask in zip(reversed(labels), exceeding.flip(0), strict=True):
        found[mask] = label
    return found.cpu().numpy().astype(np.uint8 if fits else np.uint16, copy=False)
