"""From whatever holds a video to the source that reads it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from sam2long.frames.arrays import SequenceFrames, SpooledFrames
from sam2long.frames.images import IMAGE_SUFFIXES, ImageFiles, has_pages, open_image_folder
from sam2long.frames.pages import ImagePages
from sam2long.frames.source import FrameSource
from sam2long.frames.streaming import is_live, is_url, stream_frames
from sam2long.frames.video import VideoFrames


def open_frames(video: Any, *, upright: bool = True) -> FrameSource:
    """Open `video` for reading by frame index. Nothing is decoded but what its size takes.

    `video` is one of

    - a folder of images (JPEG, PNG, TIFF, BMP, WebP), sorted so that numbers in their names count as numbers; where
      JPEGs are named by integers alone, they alone are read, as SAM 2 does; `1_mask.png` beside `1.png` is no frame;
    - a video file or URL that FFmpeg can seek in, or a file's content as `bytes` or an open binary file
      (needs the extra `video`); its packets are read through once to count and locate the frames;
    - `"-"` or a pipe: read to its end and kept on disk, see the last item;
    - an image file (of a TIFF, PNG or WebP all pages or frames), or a list of image files, in the order given;
    - a uint8 RGB array or tensor `[T, H, W, 3]`, or any object with `__len__` and `__getitem__` that gives
      uint8 RGB `[H, W, 3]` arrays, tensors or PIL images;
    - an iterator (any iterable) of such frames: read to its end, uncompressed, into a temporary file;
    - a `FrameSource`: returned as it is.

    Images are turned as their EXIF tag says; SAM 2 ignores it, and so does `upright=False`.
    Raises FileNotFoundError for a path that is not there, ValueError for what holds no video (naming the mend),
    FrameError (a ValueError) where the first frame is broken, and ImportError where PyAV is needed and missing.
    """
    if isinstance(video, FrameSource):
        return video
    if isinstance(video, (str, os.PathLike)):
        return _open_path(os.fsdecode(video), upright)
    if isinstance(video, (bytes, bytearray, memoryview)):
        return _open_bytes(bytes(video), upright)
    if hasattr(video, "read"):
        return VideoFrames(video)
    if isinstance(video, (list, tuple)) and video and all(isinstance(v, (str, os.PathLike)) for v in video):
        return ImageFiles(_existing_files(video), upright=upright)
    if isinstance(video, (np.ndarray, torch.Tensor)):
        return SequenceFrames(cast(Any, video), f"the {type(video).__name__}")
    if hasattr(video, "__len__") and hasattr(video, "__getitem__") and not isinstance(video, (Mapping, Set)):
        return SequenceFrames(video, f"the {type(video).__name__}")
    if isinstance(video, Iterable) and not isinstance(video, (Mapping, Set)):
        return SpooledFrames(video, f"the {type(video).__name__}")
    raise ValueError(
        f"no frames can be read from a {type(video).__name__}; pass a folder, a video file, a list of image "
        "paths, a uint8 array [T, H, W, 3], or an iterator of uint8 frames [H, W, 3]"
    )


def _open_path(name: str, upright: bool) -> FrameSource:
    if not name:
        raise ValueError("the video's path is empty: the current folder is .")
    if is_live(name):
        raise ValueError(
            f"{name} is live: its number of frames is not known before it ends; "
            "read it with stream_frames and track it as a stream"
        )
    if name == "-" or name.startswith("pipe:") or (os.path.exists(name) and stat.S_ISFIFO(os.stat(name).st_mode)):
        return SpooledFrames(stream_frames(name), name)
    if is_url(name):
        return VideoFrames(name)
    path = Path(name)
    if path.is_dir():
        return open_image_folder(path, upright=upright)
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{name} is a link that leads nowhere")
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {name}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _open_image(path, upright)
    return VideoFrames(name)


def _open_image(path: Path, upright: bool) -> FrameSource:
    try:
        with Image.open(path) as image:
            several = has_pages(image)
    except Exception:  # no image: `ImageFiles` says so
        several = False
    return ImagePages(path, upright=upright) if several else ImageFiles([path], upright=upright)


def _open_bytes(video: bytes, upright: bool) -> FrameSource:
    # A path as bytes is what os.listdir gives for one; video files begin with headers that hold NUL bytes.
    if len(video) < 4096 and b"\0" not in video and os.path.exists(video):
        return _open_path(os.fsdecode(video), upright)
    return VideoFrames(io.BytesIO(video))


def _existing_files(names: Sequence[str | os.PathLike[str]]) -> list[Path]:
    paths = [Path(name) for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} of {len(paths)} image files are missing; first {missing[0]}")
    return paths
