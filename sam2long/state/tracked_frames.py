"""The committed past: frames in SAM 2's format that shrink to a few kilobytes once they are no longer recent.

SAM 2 keeps half a megabyte of memory features and a quarter of mask logits for every object and frame. A tree
reads only the frames its pathways remember, so for the rest of the past a packed mask, the object pointer and
the scores are kept on the host; from these the memory features are computed again should a click or a reverse
pass come back to the frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, ItemsView, Iterator, ValuesView
from typing import Any

import torch
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from sam2long.model.levels import quantise
from sam2long.search.scores import FrameScores
from sam2long.state.packing import PackedMask, PackedPointer
from sam2long.state.shelf import Shelf

# Where a committed frame's entry in SAM 2's state carries its `FrameScores`.
SCORES_KEY = "scores"
# How many committed frames per object keep everything, as SAM 2 would: twice what its memory reaches. A stream
# keeps no others.
NUM_RECENT = 32


class TrackedFrame(dict[str, Any]):
    """A frame's entry in `non_cond_frame_outputs`: SAM 2's keys, plus `SCORES_KEY`.

    While the frame is recent all values are SAM 2's tensors. `compact` packs it; then `pred_masks`, `obj_ptr`
    and `object_score_logits` are unpacked whenever they are read, in whichever way one reads a dict (signs exact unless
    the mask is noise, logits to about 1/16 of probability), and `maskmem_features` is None until the predictor computes
    it again.

    Args:
        levels: `quantise(pred_masks)`, if it is known already.
        carry: what the pathway that was decided for carried on from here, until the frame is compacted.
    """

    def __init__(
        self,
        *,
        features: Tensor | None,
        pos_enc: list[Tensor],
        pred_masks: Tensor,
        obj_ptr: Tensor,
        object_score_logits: Tensor,
        scores: FrameScores,
        storage_device: torch.device,
        levels: Tensor | None = None,
        carry: Hashable = None,
    ) -> None:
        super().__init__(
            maskmem_features=None if features is None else features.to(storage_device, non_blocking=True),
            maskmem_pos_enc=pos_enc,
            pred_masks=pred_masks.to(storage_device, non_blocking=True),
            obj_ptr=obj_ptr,
            object_score_logits=object_score_logits,
        )
        self[SCORES_KEY] = scores
        self.carry = carry
        # Copies to the host start now and are read when the frame is compacted, many frames later: no waiting.
        self._device, self._storage_device = obj_ptr.device, storage_device
        self._occlusion_score = scores.occlusion_score
        self._levels: Tensor | None = quantise(pred_masks) if levels is None else levels
        self._levels = self._levels.to("cpu", non_blocking=True)
        self._host_ptr: Tensor | PackedPointer = obj_ptr.to("cpu", non_blocking=True)

    def compact(self, shelf: Shelf) -> None:
        """Keep a few kilobytes on the shelf; does nothing but free recomputed features the second time."""
        self["maskmem_features"] = self.carry = None
        if self._levels is not None and isinstance(self._host_ptr, Tensor):
            self["pred_masks"] = PackedMask.pack(self._levels.numpy(), shelf)
            self["obj_ptr"] = self["object_score_logits"] = None
            self._host_ptr = PackedPointer.pack(self._host_ptr, shelf)
            self._levels = None

    def packed(self) -> tuple[PackedMask, Tensor] | None:
        """The packed mask and the object pointer [1, C] on the host; None while the frame is whole."""
        return None if self._levels is not None else (super().__getitem__("pred_masks"), self._unpacked_ptr())

    @classmethod
    def from_packed(
        cls,
        mask: PackedMask,
        obj_ptr: Tensor,
        *,
        features: Tensor | None,
        pos_enc: list[Tensor] | None,
        scores: FrameScores,
        device: torch.device,
        storage_device: torch.device,
    ) -> TrackedFrame:
        """A compacted frame from what `packed` gave; its tensors will be unpacked to `device`."""
        frame = cls.__new__(cls)
        frame.update(maskmem_features=features, maskmem_pos_enc=pos_enc, pred_masks=mask)
        frame.update({"obj_ptr": None, "object_score_logits": None, SCORES_KEY: scores})
        frame._device, frame._storage_device = device, storage_device
        frame._occlusion_score = scores.occlusion_score
        frame._levels, frame._host_ptr = None, obj_ptr
        frame.carry = None
        return frame

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return self._unpacked(key, value) if self._levels is None else value

    # -- the other ways of reading a dict, all by way of `[]` -------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        # Its own, and `dict(frame)`, `{**frame}` and `update` ask for every item; else they take what is packed.
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        """As `dict.get`."""
        try:
            return self[key]
        except KeyError:
            return default

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """As `dict.values`."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """As `dict.items`."""
        return ItemsView(self)

    def copy(self) -> dict[str, Any]:
        """As `dict.copy`: a plain dict, of tensors."""
        return dict(self)

    def pop(self, key: str, *default: Any) -> Any:
        """As `dict.pop`."""
        if key not in self:
            return super().pop(key, *default)
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """As `dict.popitem`."""
        key = next(reversed(self))
        return key, self.pop(key)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As `dict.setdefault`."""
        super().setdefault(key, default)
        return self[key]

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Copied and pickled as it is, packed."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # copies to the host may still be under way
        return new_tracked_frame, (), vars(self), None, iter(list(super().items()))

    def _unpacked(self, key: str, value: Any) -> Any:
        if isinstance(value, PackedMask):
            # SAM 2's value for an absent object lies beyond the packed range
            masks = value.unpack() if self._occlusion_score > 0 else torch.full(value.shape, NO_OBJ_SCORE)
            return masks.to(self._storage_device)
        if key == "obj_ptr" and value is None:
            return self._unpacked_ptr().to(self._device)
        if key == "object_score_logits" and value is None:
            return torch.full((1, 1), self._occlusion_score, device=self._device)
        return value

    def _unpacked_ptr(self) -> Tensor:
        return self._host_ptr.unpack() if isinstance(self._host_ptr, PackedPointer) else self._host_ptr


def new_tracked_frame() -> TrackedFrame:
    """One that is yet to be filled, by `copy` or `pickle`."""
    return TrackedFrame.__new__(TrackedFrame)


class RecentFrames:
    """Per object, the committed frames that are still whole; the oldest is compacted when a new one comes.

    Args:
        num_recent: how many frames stay whole.
        compact: whether older frames are packed; in a stream they are dropped, so packing would be in vain.
    """

    def __init__(self, num_recent: int = NUM_RECENT, compact: bool = True) -> None:
        self._num_recent = num_recent
        self._compact = compact
        self._shelf = Shelf()
        self._frames: dict[Any, deque[TrackedFrame]] = {}

    def add(self, obj_id: Any, frame: TrackedFrame) -> None:
        """A frame was committed, or its features were computed again."""
        frames = self._frames.setdefault(obj_id, deque())
        frames.append(frame)
        if len(frames) > self._num_recent:
            oldest = frames.popleft()
            if self._compact:
                oldest.compact(self._shelf)

    def touch(self, obj_id: Any, frame: TrackedFrame) -> None:
        """A whole frame is needed again: it is the last to be compacted."""
        others = [known for known in self._frames.get(obj_id, ()) if known is not frame]
        self._frames[obj_id] = deque([*others, frame])

    def by_object(self) -> dict[Any, list[TrackedFrame]]:
        """The frames that are whole, oldest first, by object id."""
        return {obj_id: list(frames) for obj_id, frames in self._frames.items()}

    def keep_only(self, obj_ids: list[Any]) -> None:
        """Drop objects that are not tracked any more."""
        self._frames = {obj_id: frames for obj_id, frames in self._frames.items() if obj_id in obj_ids}
