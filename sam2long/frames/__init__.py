"""Where frames come from, and how they reach the model: whatever holds a video in, tensors of frames out.

`open_frames` turns anything that holds a video into a `FrameSource`: uint8 RGB frames by index, decoded
when asked for. `ModelFrames` wraps a source as the normalised square tensors SAM 2 reads. `stream_frames`
decodes a live or unseekable video as it comes.
"""

from sam2long.frames.chosen import ChosenFrames
from sam2long.frames.held_frames import HeldFrames
from sam2long.frames.model_frames import ModelFrames
from sam2long.frames.opening import open_frames
from sam2long.frames.source import FrameError, FrameSource
from sam2long.frames.streaming import stream_frames

__all__ = ["ChosenFrames", "FrameError", "FrameSource", "HeldFrames", "ModelFrames", "open_frames", "stream_frames"]
