"""What results were made of, told by content and not by place: datasets are moved, and mounted elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sam2long.frames.images import list_images

_ENDS = 1 << 20  # bytes of a video file's beginning and end

Part = tuple[str, bytes]


def digest(parts: Iterable[Part]) -> str:
    """Of named contents, in their order."""
    found = hashlib.sha256()
    for name, content in parts:
        found.update(f"{name}:{len(content)}:".encode(errors="surrogateescape"))
        found.update(content)
    return found.hexdigest()


def of_images(images: Sequence[Path]) -> Iterator[Part]:
    """A video of image files: their names, and the first one's content."""
    yield "frames", "\n".join(image.name for image in images).encode(errors="surrogateescape")
    if images:
        yield "first frame", images[0].read_bytes()


def of_video(video: str) -> Iterator[Part]:
    """Whatever `open_frames` takes as text: of a file its size, its beginning and its end; of a URL its name."""
    path = Path(video)
    if path.is_dir():
        yield from of_images(list_images(path))
    elif path.is_file():
        size = path.stat().st_size
        with open(path, "rb") as file:
            yield "size", str(size).encode()
            yield "beginning", file.read(_ENDS)
            file.seek(max(0, size - _ENDS))
            yield "end", file.read()
    else:
        yield "video", video.encode(errors="surrogateescape")
