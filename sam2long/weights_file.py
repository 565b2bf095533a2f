"""Files that stand where a checkpoint should: named for what they are, before anything is loaded."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

_HEAD = 512  # bytes that tell


def require_weights(path: str | PathLike[str]) -> None:
    """See that a file can be a checkpoint of PyTorch's.

    Raises:
        ValueError: for an empty file, a web page, a Git LFS pointer, other text, another format of weights: saying so.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if trouble := _trouble(head):
        raise ValueError(f"{path} is no checkpoint: {trouble}")


def _trouble(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "it is empty (0 bytes), as after a download that broke off; fetch it again"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, a note where the file lies; run `git lfs pull` in its repository"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, as servers send instead of a file (a wrong address, a login); fetch it again"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return "it is in safetensors format; give SAM 2's .pt file"
    if text.startswith((b"{", b"[")) or (len(head) > 16 and head.isascii() and head.decode().isprintable()):
        return f"it is text, which begins with {head[:40].decode(errors='replace')!r}"
    return None
