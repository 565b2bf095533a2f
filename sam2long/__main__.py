"""`python -m sam2long` is the `sam2long` command."""

from __future__ import annotations

import sys

from sam2long.cli import main

if __name__ == "__main__":
    sys.exit(main())
