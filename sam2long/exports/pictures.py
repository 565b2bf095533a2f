"""The frames with the masks on them: an overlay, and the objects cut out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from sam2long.exports.encoding import DEFAULT_FPS, H264, PRORES_4444, VP9_ALPHA, Encoding, video_writer
from sam2long.exports.frame_masks import FrameMasks, PackedFrames
from sam2long.exports.images import save_png
from sam2long.exports.video_info import OBJECTS, VideoInfo
from sam2long.exports.writing import Export
from sam2long.files import replacing
from sam2long.frames.decoding import import_av
from sam2long.views.visualize import BoolArray, UInt8Array, overlay


class VideoFile(Export):
    """A picture of each frame of the video, as a video file: from the first to the last, whether tracked or not.

    Frames come in the video's order whatever the order of tracking, so all is written at the end; until then masks wait
    packed. Frames are shown when the video shows them.

    Args:
        fps: sets an even pace instead.
    """

    encoding = H264

    def __init__(self, path: Path, info: VideoInfo, fps: Fraction | None = None) -> None:
        super().__init__(path, info)
        import_av()
        self._source = info.frames(self.path.name)
        self._fps = fps
        self._frames = PackedFrames()

    def add(self, frame: FrameMasks) -> None:
        self._frames.add(frame)

    def finish(self) -> None:
        display = self._source.display
        if self._fps is not None:
            display = replace(display, ticks=None)
        rate = self._fps or display.frame_rate or DEFAULT_FPS
        with replacing(self.path) as part, video_writer(part, rate, self.size, display, self.encoding) as write:
            for t, picture in enumerate(self._source):
                write(self.picture(picture, self._frames.get(t)))

    def picture(self, picture: UInt8Array, frame: FrameMasks | None) -> UInt8Array:
        """What is shown of a frame, uint8 [H, W, 3 or 4]; `frame` is None where nothing was tracked."""
        raise NotImplementedError


class Overlay(VideoFile):
    """The masks painted over the video, H.264 in mp4; where they overlap, the later object lies on top."""

    def picture(self, picture: UInt8Array, frame: FrameMasks | None) -> UInt8Array:
        if frame is None:
            return picture
        numbers = self.numbers.of(frame.obj_ids)
        colors = {n: self.numbers.color(k) for n, k in zip(numbers, frame.obj_ids, strict=True)}
        return overlay(picture, dict(zip(numbers, frame.masks, strict=True)), colors=colors)


class CutoutVideo(VideoFile):
    """The objects on nothing: VP9 with alpha in WebM. What is transparent is black, so nothing of it can be seen."""

    encoding: Encoding = VP9_ALPHA

    def picture(self, picture: UInt8Array, frame: FrameMasks | None) -> UInt8Array:
        return cut_out(picture, frame)


class CutoutProRes(CutoutVideo):
    """The same as ProRes 4444 in mov, for editing."""

    encoding = PRORES_4444


class CutoutImages(Export):
    """The same as `NAME.png`, RGB and alpha, for each tracked frame; every pixel of an object is the video's own."""

    is_folder = True

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path, info)
        self._source = info.frames(self.path.name)

    def add(self, frame: FrameMasks) -> None:
        self.numbers.of(frame.obj_ids)
        picture = cut_out(self._source[frame.frame_idx], frame)
        save_png(self.path / f"{self.info.frame_name(frame.frame_idx)}.png", Image.fromarray(picture))

    def finish(self) -> None:
        _ = self.size
        self.numbers.write(self.path / OBJECTS)


def cut_out(picture: UInt8Array, frame: FrameMasks | None) -> UInt8Array:
    """A frame [H, W, 3] as RGB and alpha [H, W, 4]: opaque where an object is, elsewhere transparent and black."""
    alpha: BoolArray = np.zeros(picture.shape[:2], dtype=np.bool_)
    for mask in () if frame is None else frame.masks:
        alpha |= mask
    return np.dstack([picture * alpha[..., None], alpha * np.uint8(255)])
