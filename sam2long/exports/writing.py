"""What every format is: something that takes the frames as they are tracked, and ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from sam2long.exports.frame_masks import FrameMasks
from sam2long.exports.video_info import Numbers, VideoInfo


class Export(ABC):
    """One export that is being written. Frames come in any order; one that comes again replaces what was there.

    A file appears when it is whole, in `finish`, and replaces one of that name. A folder has to be new or empty; its
    pictures appear as the frames come, its `objects.json` at the end.

    Args:
        path: the file or folder to write; its folder has to exist.
        info: what is known of the video.

    Raises:
        ValueError: `info` lacks what the format needs.
        FileExistsError: the folder holds something.
        FileNotFoundError: the folder in which it shall lie does not exist.
        ImportError: a library is missing; the message names the extra.
    """

    is_folder = False

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self.path, self.info = Path(path), info
        self.numbers = Numbers(info)
        self._size: tuple[int, int] | None = None
        self._named: dict[str, int] = {}
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"no folder {self.path.parent} to write {self.path.name} in")
        if self.is_folder:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise FileExistsError(f"{self.path} holds something: give a folder that is new or empty")
        elif self.path.is_dir():
            raise FileExistsError(f"{self.path} is a folder: give a file")

    def write(self, frame: FrameMasks) -> None:
        """Take a frame.

        Raises:
            ValueError: it has another size than those before, or ids or names the format cannot hold.
        """
        if self._size is None:
            self._size = frame.size
            source = self.info.source
            if source is not None and (source.height, source.width) != frame.size:
                raise ValueError(f"masks are {frame.size} (height, width), the video {(source.height, source.width)}")
            if self.is_folder:
                self.path.mkdir(exist_ok=True)
        if frame.size != self._size:
            raise ValueError(f"frame {frame.frame_idx}: masks are {frame.size} (height, width), before {self._size}")
        name = self.info.frame_name(frame.frame_idx)
        if self._named.setdefault(name, frame.frame_idx) != frame.frame_idx:
            raise ValueError(f"frames {self._named[name]} and {frame.frame_idx} are both called {name}")
        self.add(frame)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the masks.

        Raises:
            ValueError: no frame has come.
        """
        if self._size is None:
            raise ValueError(f"nothing to write to {self.path}: no frame was tracked")
        return self._size

    @abstractmethod
    def add(self, frame: FrameMasks) -> None:
        """Take a frame whose size is right."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left to write.

        Raises:
            ValueError: no frame has come.
        """
