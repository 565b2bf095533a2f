"""Results in the formats of other tools: masks in, files that those tools read out.

Frames come as `propagate_in_video` yields them, one at a time; each format is an `Export` that takes them in any order
and keeps no more of them than it has to. `VideoInfo` says what is known besides masks. Start with `formats`; `writing`
has what the formats share, `frame_masks` the rules for overlaps, `results` reads what `sam2long track` wrote.
"""

from sam2long.exports.detections import detections
from sam2long.exports.formats import FORMATS, export, open_export
from sam2long.exports.frame_masks import FrameMasks
from sam2long.exports.results import TrackedResults
from sam2long.exports.video_info import VideoInfo
from sam2long.exports.writing import Export

__all__ = ["FORMATS", "Export", "FrameMasks", "TrackedResults", "VideoInfo", "detections", "export", "open_export"]
