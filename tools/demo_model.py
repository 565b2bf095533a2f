"""The demo model on disk: built from a SAM 2 YAML, kept in fp16, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "demo.yaml"


def build_model(config: Path, device: torch.device, checkpoint: Path | None = None) -> SAM2Base:
    """The architecture of a SAM 2 YAML, with fresh weights or those of a checkpoint."""
    model: SAM2Base = instantiate(OmegaConf.load(config).model, _recursive_=True)
    if checkpoint:
        model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["model"])
    return model.to(device)


def save_file(content: object, path: Path) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    torch.save(content, part)
    os.replace(part, path)


def save_half(model: SAM2Base, path: Path) -> None:
    """The model in fp16, as SAM 2's checkpoints hold theirs."""
    save_file({"model": {name: value.half().cpu() for name, value in model.state_dict().items()}}, path)
