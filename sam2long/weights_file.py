"""Files that stand where a checkpoint or a video should: named for what they are, before anything is loaded."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

_HEAD = 512  # bytes that tell


def require_weights(path: str | PathLike[str]) -> None:
    """See that a file can be a checkpoint of PyTorch's.

    Raises:
        ValueError: for an empty file, a web page, a Git LFS pointer, other text, another format of weights: saying so.
    """
    if trouble := what_stands_there(path) or _other_weights(path):
        raise ValueError(f"{path} is no checkpoint: {trouble}")


def what_stands_there(path: str | PathLike[str]) -> str | None:
    """What a file is that should have been data: an empty file, a web page, a Git LFS pointer; None if it is none."""
    head = _head(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "it is empty (0 bytes), as after a download that broke off; fetch it again"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, a note where the file lies; run `git lfs pull` in its repository"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, as servers send instead of a file (a wrong address, a login); fetch it again"
    return None


def _other_weights(path: str | PathLike[str]) -> str | None:
    head = _head(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return "it is in safetensors format; give SAM 2's .pt file"
    if text.startswith((b"{", b"[")) or (len(head) > 16 and head.isascii() and head.decode().isprintable()):
        return f"it is text, which begins with {head[:40].decode(errors='replace')!r}"
    return None


def _head(path: str | PathLike[str]) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(_HEAD)
