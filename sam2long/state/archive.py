"""Nested structures as JSON plus named tensors, and back. What `saving` writes is built here; nothing is unpickled.

Lists, numbers and strings are JSON's own; everything else is an object with one telling key: `{"dict": [[key,
value], ...]}` (keys keep their types), `{"tuple": [...]}`, `{"range": [start, stop, step]}`, `{"float": "inf"}`,
`{"tensor": name}` and `{"object": index}`. Objects of a few known classes lie in one table, each after those it
refers to, so what was shared stays shared: a node that fills two slots, a memory that two pathways remember.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.model.hypotheses import Hypothesis
from sam2long.model.memory_bank import FrameMemory
from sam2long.search.scores import FrameScores
from sam2long.search.tree import MemoryNode, PendingFrame
from sam2long.state.packing import PackedMask
from sam2long.state.session import OpenPass
from sam2long.state.tracked_frames import SCORES_KEY, TrackedFrame

_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (FrameMemory, FrameScores, Hypothesis, MemoryNode, MemoryTreeConfig, OpenPass, PendingFrame)
}
# The scores of a frame that are one number each.
_NUMBERS = tuple(field.name for field in fields(FrameScores) if field.name != "note")
# SAM 2 keeps these entries of a frame's output on the storage device, all else on the model's.
_STORED_KEYS = ("maskmem_features", "pred_masks")
# What a policy alone wrote and can read, of whatever object.
_OF_THE_POLICY = ("note", "carry")
# The entries of a whole `TrackedFrame` that are written; the others follow from them.
_FRAME_KEYS = ("maskmem_features", "pred_masks", "obj_ptr", "object_score_logits", SCORES_KEY)


class ArchiveWriter:
    """Collects the tensors and objects of what it is given, which must not change until they are written.

    Args:
        device: where the model runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.objects: list[Any] = []
        self._device = device
        self._tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        self._object_idxs: dict[int, int] = {}
        self._packed: list[tuple[PackedMask, Tensor, FrameScores]] = []
        self._storages: set[int] = set()

    def put(self, value: Any) -> Any:
        """`value` as JSON.

        Raises:
            ValueError: if it holds something of another type than those listed above.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, Tensor):
            return self._put_tensor(value)
        if isinstance(value, TrackedFrame) or type(value) in _CLASSES.values():
            return {"object": self._object_idx(value)}
        if isinstance(value, Mapping):
            return {"dict": [[self.put(key), self.put(item)] for key, item in value.items()]}
        if isinstance(value, range):
            return {"range": [value.start, value.stop, value.step]}
        if isinstance(value, list | tuple | deque):
            items = [self.put(item) for item in value]
            return {"tuple": items} if isinstance(value, tuple) else items
        raise ValueError(f"a {type(value).__name__} in the inference state cannot be saved: {value!r:.80}")

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, contiguous and on the host; those of compacted frames as one row each of a few long ones."""
        if not self._packed:
            return self._tensors
        masks, pointers, scores = zip(*self._packed, strict=True)
        sizes = [[len(mask.data), mask.bits, *mask.shape] for mask in masks]
        data = bytearray().join(mask.data for mask in masks)
        return self._tensors | {
            "packed.data": torch.frombuffer(data, dtype=torch.uint8),
            "packed.sizes": torch.tensor(sizes),  # int64: bytes, bits a pixel, shape
            "packed.obj_ptrs": torch.cat(pointers),
            "packed.scores": torch.tensor(
                [[getattr(row, name) for name in _NUMBERS] for row in scores], dtype=torch.float64
            ),
        }

    def _object_idx(self, value: Any) -> int:
        if id(value) not in self._object_idxs:
            record = self._put_frame(value) if isinstance(value, TrackedFrame) else self._put_fields(value)
            self.objects.append(record)
            self._object_idxs[id(value)] = len(self.objects) - 1
        return self._object_idxs[id(value)]

    def _put_fields(self, value: Any) -> dict[str, Any]:
        record = {field.name: self.put(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **record}

    def _put_frame(self, frame: TrackedFrame) -> dict[str, Any]:
        packed = frame.packed()
        if packed is None:
            carried = {} if frame.carry is None else {"carry": self.put(frame.carry)}
            return {"type": "TrackedFrame", **{key: self.put(frame[key]) for key in _FRAME_KEYS}, **carried}
        self._packed.append((*packed, frame[SCORES_KEY]))
        record = {"packed": len(self._packed) - 1, "maskmem_features": self.put(frame["maskmem_features"])}
        note = frame[SCORES_KEY].note
        return {**record, "note": self.put(note)} if note else record

    def _put_tensor(self, tensor: Tensor) -> dict[str, Any]:
        # Views of the same memory, as SAM 2 makes them of its constants, are written once.
        key = (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())
        if key not in self._names:
            self._names[key] = f"tensor.{len(self._names)}"
            self._tensors[self._names[key]] = self._host_copy(tensor)
        record: dict[str, Any] = {"tensor": self._names[key]}
        by_stride = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        if tensor.permute(by_stride).is_contiguous() and tensor.stride() != _contiguous_stride(tensor.shape):
            record["stride"] = list(tensor.stride())  # kernels may round differently for another layout
        if tensor.device.type == "cpu" and self._device.type != "cpu":
            record["on_host"] = True
        return record

    def _host_copy(self, tensor: Tensor) -> Tensor:
        host = tensor.detach().cpu().contiguous()
        if host.untyped_storage().data_ptr() in self._storages:  # safetensors writes no two views of one memory
            host = host.clone()
        self._storages.add(host.untyped_storage().data_ptr())
        return host


class ArchiveReader:
    """Builds anew what an `ArchiveWriter` wrote.

    Args:
        tensors: as `ArchiveWriter.tensors` gave them.
        device: where the model runs.
        storage_device: where committed masks and memories are kept.
        without_policy: leave out what the policy wrote: notes of frames, and what pathways carried on.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        device: torch.device,
        storage_device: torch.device,
        *,
        without_policy: bool = False,
    ) -> None:
        self._tensors = tensors
        self._device = device
        self._storage_device = storage_device
        self._left_out = {"type", *(_OF_THE_POLICY if without_policy else ())}
        self._placed: dict[tuple[str, torch.device], Tensor] = {}
        self._objects: list[Any] = []

    def get_objects(self, table: list[Any], pos_enc: list[Tensor] | None) -> None:
        """Build the objects that `get` finds by their index.

        Args:
            table: `ArchiveWriter.objects`.
            pos_enc: SAM 2's constant `maskmem_pos_enc`, which tracked frames refer to.
        """
        packed = self._packed_frames()
        for record in table:
            written = {name: item for name, item in record.items() if name not in self._left_out}
            if "packed" in record:
                mask, obj_ptr, scores = packed[record["packed"]]
                scores = replace(scores, note=self.get(written.get("note", {"tuple": []})))
                value: Any = TrackedFrame.from_packed(
                    mask,
                    obj_ptr,
                    features=self.get(record["maskmem_features"], self._storage_device),
                    pos_enc=pos_enc,
                    scores=scores,
                    device=self._device,
                    storage_device=self._storage_device,
                )
            else:
                named = {name: self.get(item) for name, item in written.items()}
                if record["type"] == "TrackedFrame":
                    named |= {"features": named.pop("maskmem_features"), "pos_enc": pos_enc}
                    value = TrackedFrame(**named, storage_device=self._storage_device)
                else:
                    value = _CLASSES[record["type"]](**named)
            self._objects.append(value)

    def get(self, record: Any, device: torch.device | None = None) -> Any:
        """The value recorded; its tensors on `device` (None: the model's), those SAM 2 stores on the storage device."""
        if isinstance(record, list):
            return [self.get(item, device) for item in record]
        if not isinstance(record, dict):
            return record
        if "tensor" in record:
            return self._get_tensor(record, device)
        ((kind, content),) = record.items()
        if kind == "dict":
            return {self.get(key): self._get_item(key, item, device) for key, item in content}
        if kind == "object":
            return self._objects[content]
        if kind == "tuple":
            return tuple(self.get(content, device))
        if kind == "range":
            return range(*content)
        if kind == "float":
            return float(content)
        raise ValueError(f"unknown kind {kind!r}")

    def _get_item(self, key: Any, item: Any, device: torch.device | None) -> Any:
        return self.get(item, self._storage_device if key in _STORED_KEYS else device)

    def _get_tensor(self, record: dict[str, Any], device: torch.device | None) -> Tensor:
        if device is None:
            device = torch.device("cpu") if record.get("on_host") else self._device
        name = record["tensor"]
        if (name, device) not in self._placed:
            written = self._tensors[name]
            stride = record.get("stride", _contiguous_stride(written.shape))
            # A copy, aligned as PyTorch aligns: what is read lies in the file at any address.
            tensor = torch.empty_strided(written.shape, stride, dtype=written.dtype, device=device)
            self._placed[name, device] = tensor.copy_(written)
        return self._placed[name, device]

    def _packed_frames(self) -> list[tuple[PackedMask, Tensor, FrameScores]]:
        if "packed.sizes" not in self._tensors:
            return []
        data = self._tensors["packed.data"].numpy().tobytes()
        frames, start = [], 0
        for (num_bytes, bits, *shape), obj_ptr, scores in zip(
            self._tensors["packed.sizes"].tolist(),
            torch.split(self._tensors["packed.obj_ptrs"], 1),
            self._tensors["packed.scores"].tolist(),
            strict=True,
        ):
            mask = PackedMask(data[start : start + num_bytes], bits, tuple(shape))
            start += num_bytes
            iou, occlusion, cumulative, margin, distinct_pathways = scores
            frames.append(
                (mask, obj_ptr.clone(), FrameScores(iou, occlusion, cumulative, margin, int(distinct_pathways)))
            )
        return frames


def _contiguous_stride(shape: torch.Size) -> tuple[int, ...]:
    return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))
