"""The settings of the memory tree: one frozen object, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

from sam2long.resources import resource_dir


@dataclass(frozen=True)
class MemoryTreeConfig:
    """Settings of the constrained memory tree (SAM2Long, arXiv 2410.16268, section 3).

    Attributes:
        num_pathways: P, how many hypothesis pathways are kept per object; an int >= 1. At 1 the tree is off
            and the predictor is SAM 2 itself.
        iou_threshold: delta_iou in [0, 1]; a tracked frame enters a pathway's memory bank only if its
            predicted IoU is above it (and its occlusion score is above 0).
        uncertainty_threshold: delta_conf >= 0; a frame whose largest absolute occlusion score does not
            exceed it is uncertain, and there the pathways are kept diverse.
        modulation: [w_low, w_high], 0 < w_low <= w_high; the weights of the least and the most certain
            memory in cross-attention. (1, 1) switches the modulation off.
        merge_iou: hypotheses whose masks have agreed at this IoU, in (0, 1], for `merge_frames` frames are taken
            for one, the better scored; None (default) keeps them apart, which is the paper's algorithm.
        merge_frames: for how many frames in a row; an int >= 1.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """

    num_pathways: int = 3
    iou_threshold: float = 0.3
    uncertainty_threshold: float = 2.0
    modulation: tuple[float, float] = (0.95, 1.05)
    merge_iou: float | None = None
    merge_frames: int = 8

    def __post_init__(self) -> None:
        for name in ("num_pathways", "merge_frames"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {count!r}")
            object.__setattr__(self, name, int(count))
        if not _is_number(self.iou_threshold) or not 0.0 <= self.iou_threshold <= 1.0:
            raise ValueError(f"iou_threshold must be a number in [0, 1], got {self.iou_threshold!r}")
        if not _is_number(self.uncertainty_threshold) or self.uncertainty_threshold < 0.0:
            raise ValueError(f"uncertainty_threshold must be a number >= 0, got {self.uncertainty_threshold!r}")
        if self.merge_iou is not None and not (_is_number(self.merge_iou) and 0.0 < self.merge_iou <= 1.0):
            raise ValueError(f"merge_iou must be None or a number in (0, 1], got {self.merge_iou!r}")
        for name in ("iou_threshold", "uncertainty_threshold", "merge_iou"):  # numpy's numbers become Python's own
            number = getattr(self, name)
            object.__setattr__(self, name, None if number is None else float(number))
        object.__setattr__(self, "modulation", _checked_modulation(self.modulation))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(float(value))


def _checked_modulation(modulation: object) -> tuple[float, float]:
    wanted = "modulation must be two numbers (w_low, w_high) with 0 < w_low <= w_high"
    values = list(modulation) if isinstance(modulation, Sequence) else []
    if len(values) != 2 or not all(_is_number(value) for value in values):
        raise ValueError(f"{wanted}, got {modulation!r}")
    low, high = float(values[0]), float(values[1])
    if not 0.0 < low <= high < math.inf:
        raise ValueError(f"{wanted}, got {modulation!r}")
    return low, high


MemoryTreeLike = MemoryTreeConfig | Mapping[str, Any] | str | PathLike[str] | None


def load_memory_tree(memory_tree: MemoryTreeLike) -> MemoryTreeConfig:
    """Settings from an object, a mapping, the name of a file in `configs/memory_tree/`, or a path to a YAML.

    Args:
        memory_tree: None gives the paper's settings.

    Raises:
        FileNotFoundError: if a name or path does not exist; the message lists the known names.
        ValueError: if the YAML holds unknown keys or a value that `MemoryTreeConfig` refuses.
    """
    if memory_tree is None:
        return MemoryTreeConfig()
    if isinstance(memory_tree, MemoryTreeConfig):
        return memory_tree
    if isinstance(memory_tree, str | PathLike):
        from omegaconf import OmegaConf  # here: a command line without it says so

        source = _find_yaml(memory_tree)
        values = OmegaConf.to_container(OmegaConf.load(source), resolve=True)
    else:
        source, values = None, dict(memory_tree)
    where = f" in {source}" if source else ""
    if not isinstance(values, dict):
        raise ValueError(f"memory tree settings{where} must be a mapping, got {type(values).__name__}")
    known = [field.name for field in fields(MemoryTreeConfig)]
    unknown = sorted(f"{key!s:.40}" for key in values if key not in known)  # a file of something else is one long key
    if unknown:
        raise ValueError(f"unknown memory tree settings {unknown}{where}; known: {known}")
    return MemoryTreeConfig(**values)


def _find_yaml(name_or_path: str | PathLike[str]) -> Path:
    path = Path(name_or_path)
    if path.is_file():
        return path
    folder = resource_dir("configs") / "memory_tree"
    named = folder / f"{path.name.removesuffix('.yaml')}.yaml"
    if path.parent == Path() and named.is_file():
        return named
    names = sorted(entry.stem for entry in folder.glob("*.yaml"))
    raise FileNotFoundError(
        f"no memory tree settings {str(name_or_path)!r}: give a path to a YAML file or one of {names}"
    )
