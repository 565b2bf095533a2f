"""Fixtures of the tests of saved states: a clip and a file to save to."""

from __future__ import annotations

from pathlib import Path

import pytest
from saving_jobs import NUM_FRAMES, Clip
from support import moving_disks


@pytest.fixture(scope="module")
def disks() -> Clip:
    return moving_disks(NUM_FRAMES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.safetensors"
