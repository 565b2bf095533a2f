"""sam2long: SAM 2 that holds on to objects through long, hard videos (SAM2Long, arXiv 2410.16268).

What is listed in `__all__` is imported when it is first asked for: the command line and the evaluation of results need
no torch, and do not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam2long.build import build_sam2long_video_predictor, build_sam2long_video_predictor_hf
    from sam2long.config import MemoryTreeConfig
    from sam2long.predictor import SAM2LongVideoPredictor, SAM2LongVideoPredictorVOS
    from sam2long.search.records import TreeRecord
    from sam2long.search.scores import FrameScores

__version__ = "0.1.0"

__all__ = [
    "FrameScores",
    "MemoryTreeConfig",
    "SAM2LongVideoPredictor",
    "SAM2LongVideoPredictorVOS",
    "TreeRecord",
    "build_sam2long_video_predictor",
    "build_sam2long_video_predictor_hf",
]

_HOMES = {
    "FrameScores": "search.scores",
    "MemoryTreeConfig": "config",
    "SAM2LongVideoPredictor": "predictor",
    "SAM2LongVideoPredictorVOS": "predictor",
    "TreeRecord": "search.records",
    "build_sam2long_video_predictor": "build",
    "build_sam2long_video_predictor_hf": "build",
}


if not TYPE_CHECKING:  # a type checker would take it for leave to any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
