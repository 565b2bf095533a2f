"""Video files, by frame index."""

from __future__ import annotations

import copy
import io
import os
import threading
from typing import IO, Any

from sam2long.frames.decoding import UprightPixels, describe
from sam2long.frames.forks import follow_forks, leave_behind
from sam2long.frames.same_file import identity_of, require_same
from sam2long.frames.source import Frame, FrameError, FrameSource, require_size
from sam2long.frames.video_decoder import VideoDecoder


class VideoFrames(FrameSource):
    """The frames of a video file, URL or open binary file that FFmpeg can decode and seek in.

    Frame `i` is the `i`-th frame of decoding from the start to the end, whichever way it is reached:
    reading in order decodes each frame once, any other read begins at the last keyframe before it. The
    last decoded frames (32, or 96 MB) are kept, so that reading backwards decodes each stretch between
    keyframes a few times and not once per frame. A file without usable time stamps (an elementary stream, a
    damaged AVI) is decoded once to count its frames, and reading it backwards starts from its first frame.

    A copy, a forked process and whoever unpickles it open the video for themselves when they first read; that an open
    binary file cannot be opened again is a ValueError, and in a forked process a FrameError. A file that was changed
    since it was opened gives a FrameError instead of other pictures.

    Opening reads every packet once to count the frames, and decodes the first frame for the size. Raises
    FileNotFoundError, or ValueError for a file without video or frames.
    """

    def __init__(self, video: str | IO[bytes]) -> None:
        self._video = video
        self._label = describe(video)
        self._identity = identity_of(video) if isinstance(video, str) and os.path.isfile(video) else None
        self._closed = False
        self._is_elsewhere = False  # whether another process reads the open file too
        self._lock = threading.RLock()
        self._decoder: VideoDecoder | None = VideoDecoder(video, self._label)
        self._index = self._decoder.index
        first = self._decoder.first() if self._index.num_frames else None
        if first is None:
            self._decoder.close()
            raise ValueError(f"{self._label} holds no frame that can be decoded")
        self._pixels_of = UprightPixels(first)
        self.height, self.width = self._pixels_of(first).shape[:2]
        self.display = self._decoder.display(turned=self._pixels_of.turned)
        follow_forks(self)

    def __len__(self) -> int:
        return self._index.num_frames

    def _read(self, frame_idx: int) -> Frame:
        with self._lock:
            frame = self._decode(frame_idx)
            try:
                # Under the lock: the colour converter is not thread-safe.
                return require_size(self._pixels_of(frame), self.height, self.width)
            except ValueError as error:
                raise FrameError(self._label, frame_idx, str(error)) from error

    def _decode(self, frame_idx: int) -> Any:
        if self._closed:
            raise ValueError(f"{self._label} is closed")
        if self._decoder is not None and (frame := self._decoder.recent(frame_idx)) is not None:
            return frame
        self._require_same_video(frame_idx)
        try:
            if self._decoder is None:  # a copy, or a forked process
                self._decoder = VideoDecoder(self._video, self._label, self._index)
            frame = self._decoder.frame(frame_idx)
        except (OSError, ValueError) as error:  # the file is gone, or the network is
            raise FrameError(self._label, frame_idx, f"it cannot be opened again: {error}") from error
        if frame is None:
            reason = "it cannot be decoded; the file is damaged or truncated there"
            raise FrameError(self._label, frame_idx, reason)
        return frame

    def _require_same_video(self, frame_idx: int) -> None:
        if self._is_elsewhere:
            reason = "the open file belongs to the process that forked this one; give its path, or its content as bytes"
            raise FrameError(self._label, frame_idx, reason)
        if self._identity is not None:
            try:
                require_same(str(self._video), self._identity)
            except OSError:
                pass  # gone; what is open still reads
            except ValueError as error:
                raise FrameError(self._label, frame_idx, str(error)) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._decoder is not None:
                self._decoder.close()
                self._decoder = None

    # -- copies and processes ----------------------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """In a forked process: open the video again. The decoder's threads are in the parent, its buffers half used."""
        leave_behind(self._decoder, self._pixels_of)
        self._is_elsewhere = not self._can_be_opened_again
        self._without_decoder()

    def _without_decoder(self) -> None:
        """Begin with nothing open; the first read opens the video."""
        self._lock = threading.RLock()
        self._decoder = None
        self._pixels_of = copy.copy(self._pixels_of)

    @property
    def _can_be_opened_again(self) -> bool:
        return isinstance(self._video, str | io.BytesIO)

    def __getstate__(self) -> dict[str, Any]:
        names = ("_label", "_identity", "_closed", "_is_elsewhere", "_index", "height", "width")
        return {**{name: getattr(self, name) for name in names}, "_video": self._again(), "_pixels_of": self._pixels_of}

    def _again(self) -> str | IO[bytes]:
        """The video for a decoder besides this one."""
        if isinstance(self._video, io.BytesIO):
            return io.BytesIO(self._video.getvalue())
        if isinstance(self._video, str):
            return self._video
        raise ValueError(
            f"{self._label} was given as an open file, which cannot be opened again in a copy or another process; "
            "give its path, or its content as bytes"
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._without_decoder()
        follow_forks(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> VideoFrames:
        """With a decoder of its own, so that two states do not seek to and fro; of an open file there is one."""
        return copy.copy(self) if self._can_be_opened_again else self
