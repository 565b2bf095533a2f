"""The trees with the official tools' numbers, and how far a result is from them."""

from __future__ import annotations

import json
import math
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

ARCHIVES = Path(__file__).parent / "golden"
# Another set of trees, unpacked, may be put in place of the archives.
OTHER = os.environ.get("SAM2LONG_EVAL_GOLDEN")


class Golden:
    """One benchmark's folder: `gt`, `pred`, and what the official tool says of them."""

    def __init__(self, name: str, home: Path) -> None:
        self.folder = home / name
        if OTHER:
            shutil.copytree(Path(OTHER) / name, self.folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        else:
            with tarfile.open(ARCHIVES / f"{name}.tar.xz") as archive:
                archive.extractall(home, filter="data")
        self.gt, self.pred = self.folder / "gt", self.folder / "pred"
        self.expected: dict[str, Any] = json.loads((self.folder / "expected.json").read_text())

    def overlaid(self, overlay: str, to: Path) -> tuple[Path, Path]:
        """`gt` and `pred` with an overlay's files in them, in a folder of their own."""
        for source in (self.folder, self.folder / overlay):
            for part in ("gt", "pred"):
                if (source / part).exists():
                    shutil.copytree(source / part, to / part, dirs_exist_ok=True, copy_function=shutil.copyfile)
        return to / "gt", to / "pred"


def number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def distance(found: Any, expected: Any, path: str = "") -> float:
    """The largest difference between two trees of numbers of the same shape; "frame" may be more than expected."""
    if isinstance(expected, dict):
        assert set(found) - {"frame"} == set(expected), path
        return max((distance(found[key], value, f"{path}/{key}") for key, value in expected.items()), default=0.0)
    if isinstance(expected, list):
        assert len(found) == len(expected), path
        return max((distance(one, other, path) for one, other in zip(found, expected, strict=True)), default=0.0)
    found, expected = number(found), number(expected)
    if expected is None or found is None or isinstance(expected, bool):
        assert found == expected, path
        return 0.0
    if not (math.isfinite(found) and math.isfinite(expected)):
        assert found == expected or (math.isnan(found) and math.isnan(expected)), path
        return 0.0
    return abs(found - expected)
