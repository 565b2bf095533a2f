"""Which model tracks: a description that travels to other processes and builds the same predictor everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from sam2long.config import MemoryTreeConfig
from sam2long.resources import resource_dir

if TYPE_CHECKING:
    from sam2long.predictor import SAM2LongVideoPredictor

_SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
# The configs of the official checkpoints, by the names of their files.
OFFICIAL_CONFIGS = {
    f"{version}_hiera_{size}": f"configs/{version}/{version}_hiera_{letter}.yaml"
    for version in ("sam2.1", "sam2")
    for size, letter in _SIZES.items()
}


def official_name(text: str) -> str:
    """A checkpoint as its file is called, however it is spelt: `facebook/sam2.1-hiera-tiny`, `sam2.1_hiera_tiny.pt`."""
    return text.rpartition("/")[2].removesuffix(".pt").replace("-", "_")


@dataclass(frozen=True)
class ModelChoice:
    """Everything a predictor is built from. `device` None takes CUDA where there is one; `policy` None the paper's."""

    config: str
    checkpoint: Path
    memory_tree: MemoryTreeConfig
    device: str | None = None
    capture: bool = False
    policy: str | None = None

    def build(self, **settings: Any) -> SAM2LongVideoPredictor:
        """The predictor; `settings` are further arguments of `build_sam2long_video_predictor`.

        Raises:
            ValueError: if the checkpoint is damaged or belongs to another config.
        """
        from pickle import UnpicklingError

        from sam2long.build import build_sam2long_video_predictor

        try:
            return build_sam2long_video_predictor(
                self.config,
                str(self.checkpoint),
                device=self.device,
                memory_tree=self.memory_tree,
                capture=self.capture or None,
                policy=self.policy,
                **settings,
            )
        except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError) as error:
            # PyTorch names every tensor that does not fit; the first few tell enough.
            reason = shorten(str(error) or type(error).__name__, 300, placeholder=" ...")
            raise ValueError(f"cannot load {self.checkpoint} into {self.config}: {reason}") from error


def embedded_model(device: str | None = None) -> ModelChoice:
    """The model that comes with the package, at the paper's settings."""
    config, checkpoint = resource_dir("configs") / "demo.yaml", resource_dir("checkpoints") / "demo.pt"
    return ModelChoice(str(config), checkpoint, MemoryTreeConfig(), device)
