from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam2long import MemoryTreeConfig
from sam2long.config import load_memory_tree
from sam2long.state.session import checked_count


def test_defaults_are_the_papers() -> None:
    assert MemoryTreeConfig() == MemoryTreeConfig(3, 0.3, 2.0, (0.95, 1.05))
    assert load_memory_tree("paper") == MemoryTreeConfig()
    assert load_memory_tree(None) == MemoryTreeConfig()


def test_authors_command() -> None:
    assert load_memory_tree("authors_command") == MemoryTreeConfig(iou_threshold=0.1, uncertainty_threshold=2.0)


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MemoryTreeConfig().num_pathways = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_pathways", 0),
        ("num_pathways", 2.0),
        ("num_pathways", True),
        ("num_pathways", "3"),
        ("iou_threshold", -0.1),
        ("iou_threshold", 1.1),
        ("iou_threshold", float("nan")),
        ("iou_threshold", None),
        ("uncertainty_threshold", -1.0),
        ("uncertainty_threshold", float("nan")),
        ("modulation", (1.05, 0.95)),
        ("modulation", (0.0, 1.0)),
        ("modulation", (0.9,)),
        ("modulation", "ab"),
        ("modulation", 1.0),
        ("modulation", (1.0, float("inf"))),
    ],
)
def test_bad_values_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field) as error:
        MemoryTreeConfig(**{field: value})
    assert repr(value) in str(error.value)


def test_numpys_numbers_are_taken_as_pythons() -> None:
    """Sweeps often come from numpy; what is kept compares, prints and saves like plain numbers."""
    config = MemoryTreeConfig(
        num_pathways=np.int64(2),  # type: ignore[arg-type]
        iou_threshold=np.float32(0.5),  # type: ignore[arg-type]
        merge_iou=np.float64(0.75),
        merge_frames=np.uint8(3),  # type: ignore[arg-type]
    )
    assert repr(config) == repr(MemoryTreeConfig(2, 0.5, merge_iou=0.75, merge_frames=3))
    assert checked_count("max_pending_frames", np.int32(4)) == 4  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_pending_frames"):
        checked_count("max_pending_frames", np.int32(-1))  # type: ignore[arg-type]


def test_yaml_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("num_pathways: 4\nmodulation: [1, 1]\n")
    assert load_memory_tree(path) == MemoryTreeConfig(num_pathways=4, modulation=(1.0, 1.0))
    path.write_text("num_pathway: 4\n")
    with pytest.raises(ValueError, match=r"num_pathway'.*mine\.yaml"):
        load_memory_tree(path)
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match="mapping"):
        load_memory_tree(str(path))


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(FileNotFoundError, match=r"papr.*authors_command.*paper"):
        load_memory_tree("papr")
