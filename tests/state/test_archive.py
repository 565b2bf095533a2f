"""Structures as JSON and tensors, and back."""

from __future__ import annotations

import json
import math
from collections import deque
from typing import Any

import pytest
import torch

from sam2long.search.scores import FrameScores
from sam2long.search.tree import MemoryNode
from sam2long.state.archive import ArchiveReader, ArchiveWriter

CPU = torch.device("cpu")


def there_and_back(value: Any, device: torch.device = CPU) -> tuple[Any, ArchiveWriter]:
    writer = ArchiveWriter(device)
    record, objects = json.loads(json.dumps([writer.put(value), writer.objects], allow_nan=False))
    reader = ArchiveReader(writer.tensors(), CPU, CPU)
    reader.get_objects(objects, pos_enc=None)
    return reader.get(record), writer


@pytest.mark.parametrize(
    "value",
    [None, True, -7, 0.1, math.inf, -math.inf, "Hände", [1, "1", [2.5]], (1, (2,), []), range(9, -1, -2), {}]
    + [{1: "a", "1": {True: None}, (2, 3): 0.5}, FrameScores(0.5, -3.25, -0.125, math.inf, 2)],
    ids=repr,
)
def test_values_keep_their_types(value: Any) -> None:
    back, _ = there_and_back(value)
    assert back == value
    assert repr(back) == repr(value)  # 1 and True are equal too
    assert math.isnan(there_and_back(math.nan)[0])
    assert there_and_back(deque([1, 2]))[0] == [1, 2]


def test_tensors_keep_bits_and_layout() -> None:
    base = torch.randn(2, 3, 4, 5)
    tensors = [
        base,
        base.permute(0, 3, 1, 2),
        base.to(memory_format=torch.channels_last),
        base[1],
        base[:, 1:, ::2],
        base.flatten()[3],
        torch.arange(3).expand(4, 3),
        base.to(torch.bfloat16),
        base > 0,
        torch.zeros(0, 3),
    ]
    back, writer = there_and_back([*tensors, base])
    for ours, theirs in zip(back, tensors, strict=False):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    for i in range(4):
        assert back[i].stride() == tensors[i].stride()
    assert back[-1] is back[0]
    assert len(writer.tensors()) == len(tensors)
    storages = [tensor.untyped_storage().data_ptr() for tensor in writer.tensors().values() if tensor.numel()]
    assert len(set(storages)) == len(storages), "safetensors refuses views of one memory"


def test_what_waits_on_the_host_stays_there() -> None:
    record = ArchiveWriter(torch.device("cuda")).put(torch.zeros(2))
    assert record["on_host"] is True
    assert "on_host" not in ArchiveWriter(CPU).put(torch.zeros(2))


def test_shared_nodes_stay_shared_however_deep() -> None:
    pending: list[MemoryNode[Any, Any]] = [MemoryNode(0, 0.0)]
    for frame_idx in range(1, 3000):
        pending.append(MemoryNode(frame_idx, -0.1 * frame_idx, remembered=("memory",), parent=pending[-1]))
    back, _ = there_and_back({"pending": pending, "slots": [pending[-1]] * 3})
    assert all(node is back["pending"][-1] for node in back["slots"])
    assert back["slots"][0].ancestor(0) is back["pending"][0]
    assert back["pending"][7].remembered == ("memory",)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="set in the inference state cannot be saved"):
        there_and_back({"a": {1, 2}})
    with pytest.raises(ValueError, match="unknown kind 'module'"):
        ArchiveReader({}, CPU, CPU).get({"module": "os"})
    with pytest.raises(KeyError):
        ArchiveReader({}, CPU, CPU).get_objects([{"type": "Popen", "args": "ls"}], None)
