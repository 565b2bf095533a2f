"""Where the files that travel with the package lie: tree settings, model configs, the embedded checkpoint."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(kind: str) -> Path:
    """The folder `configs` or `checkpoints`: inside an installed package, else at the top of the checkout."""
    for folder in (_PACKAGE / kind, _PACKAGE.parent / kind):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"sam2long's {kind!r} folder is missing beside {_PACKAGE}; reinstall the package")
