"""sam2long: SAM 2 that holds on to objects through long, hard videos (SAM2Long, arXiv 2410.16268)."""

from sam2long.build import build_sam2long_video_predictor, build_sam2long_video_predictor_hf
from sam2long.config import MemoryTreeConfig
from sam2long.predictor import SAM2LongVideoPredictor, SAM2LongVideoPredictorVOS
from sam2long.search.scores import FrameScores

__version__ = "0.1.0"

__all__ = [
    "FrameScores",
    "MemoryTreeConfig",
    "SAM2LongVideoPredictor",
    "SAM2LongVideoPredictorVOS",
    "build_sam2long_video_predictor",
    "build_sam2long_video_predictor_hf",
]
