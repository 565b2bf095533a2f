"""Download SAM 2's official checkpoints: `sam2long download sam2.1_hiera_large`.

A download grows under NAME.pt.part and gets its name when it is complete: run the command again to resume.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sam2long.cli.errors import UserError
from sam2long.cli.saying import add_saying_arguments, say
from sam2long.model_choice import OFFICIAL_CONFIGS, official_name
from sam2long.resources import resource_dir
from sam2long.weights_file import require_weights

_BLOCK = 1 << 20
_SCRIPT = "download_ckpts.sh"  # which knows the addresses


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(OFFICIAL_CONFIGS))
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("checkpoints"), metavar="DIR", help="default: checkpoints"
    )
    add_saying_arguments(parser)


def run(args: argparse.Namespace) -> int:
    names = [official_name(name) for name in args.names]
    for name in names:
        if name not in OFFICIAL_CONFIGS:
            raise UserError(f"unknown checkpoint {name!r}; known: {', '.join(OFFICIAL_CONFIGS)}")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {args.out}: {error}") from error
    for name in names:
        path = args.out / f"{name}.pt"
        if path.exists():
            _require(path)
            say(f"{path} is already here")
            continue
        _download(url_of(name), path)
        say(f"{path} ({path.stat().st_size} bytes)")
    return 0


def url_of(name: str) -> str:
    """The address of a checkpoint, as checkpoints/download_ckpts.sh has it; the same variable replaces the base."""
    script = (resource_dir("checkpoints") / _SCRIPT).read_text(encoding="utf-8-sig")
    (base,) = re.findall(r'base_url="\$\{SAM2LONG_CHECKPOINT_URL:-([^}]+)\}"', script)
    folders = dict(re.findall(r'^\s*(\S+)\) echo "\$base_url/(\w+)/\$1\.pt"', script, re.MULTILINE))
    folder = folders["sam2.1_*" if name.startswith("sam2.1_") else "*"]
    return f"{os.environ.get('SAM2LONG_CHECKPOINT_URL') or base}/{folder}/{name}.pt"


def _download(url: str, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        _append_missing(url, part)
        _require(part)
        os.replace(part, path)
    except (OSError, ValueError) as error:  # urllib's errors are OSErrors
        reason = getattr(error, "reason", None) or error
        raise UserError(f"cannot download {url}: {reason} (run again to resume)", exit_status=1) from error


def _append_missing(url: str, part: Path) -> None:
    """Write what is missing of a file; all of it where the server cannot send the rest."""
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: Any = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # nothing is missing, or the file is another one: the checks below tell
            whole = (error.headers.get("Content-Range") or "").rpartition("/")[2]
            if whole == str(have):
                return
            part.unlink()
            raise OSError(f"{part} had {have} bytes, the server's file has {whole or 'others'}") from error
        raise
    with answer:
        rest = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else rest + int(length)
        with (
            part.open("ab" if rest else "wb") as file,
            tqdm(total=total, initial=rest, unit="B", unit_scale=True, desc=part.stem, file=sys.stderr) as bar,
        ):
            while block := answer.read(_BLOCK):
                bar.update(file.write(block))
    if total is not None and part.stat().st_size != total:
        raise OSError(f"{part.stat().st_size} of {total} bytes came")


def _require(path: Path) -> None:
    try:
        require_weights(path)
    except ValueError as error:
        if path.suffix == ".part":
            path.unlink()
        raise UserError(str(error), exit_status=1) from error
