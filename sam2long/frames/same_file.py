"""Whether a file is still the one that was opened: a video is read for hours, and its owner may write another there."""

from __future__ import annotations

import os
from pathlib import Path

# A file's size in bytes and the time of its last change in nanoseconds.
Identity = tuple[int, int]


def identity_of(path: str | Path) -> Identity:
    """What tells this content from one written later. Raises OSError, FileNotFoundError where there is no file."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def require_same(path: str | Path, identity: Identity) -> None:
    """Raises ValueError if another content was written since `identity` was taken, OSError as `identity_of` does."""
    if identity_of(path) != identity:
        raise ValueError("the file was changed since the video was opened; open the video again")
