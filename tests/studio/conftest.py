"""A studio over the golden model and a short clip."""

from __future__ import annotations

from pathlib import Path

import pytest
from studio_support import BRANCHING
from support import build_golden

from sam2long import SAM2LongVideoPredictor
from sam2long.cli.studio import read_masks_of_file
from sam2long.studio import Studio


@pytest.fixture(scope="session")
def branching() -> SAM2LongVideoPredictor:
    return build_golden(memory_tree=BRANCHING)


@pytest.fixture
def studio(branching: SAM2LongVideoPredictor, tmp_path: Path, clip_folder: str) -> Studio:
    """With the clip open."""
    made = Studio(branching, tmp_path / "sessions", read_masks=read_masks_of_file)
    made.open(clip_folder)
    return made
