"""Shared fixtures: predictors with the golden model, and a short clip made on the spot."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image
from sam2.sam2_video_predictor import SAM2VideoPredictor
from support import build_golden, build_sam2_golden, captured_golden, moving_disks

from sam2long import SAM2LongVideoPredictor

# sam2 and sam2long draw a progress bar per pass; in test output it is noise.
os.environ.setdefault("TQDM_DISABLE", "1")
# What a failed assertion compared is printed for these modules as for those of tests.
pytest.register_assert_rewrite("checked_pass", "interaction_calls", "saving_jobs", "three_predictors")
# What a test asserts must not depend on how busy the machine is.
settings.register_profile("sam2long", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sam2long")
# Processes that share cores must not have threads for all of them: they would wait for each other at every step.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, min(2, torch.get_num_threads()) // _WORKERS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture(scope="session")
def predictor() -> SAM2LongVideoPredictor:
    """Our predictor with the golden model and the paper's settings."""
    return build_golden()


@pytest.fixture(scope="session", params=["eager", "captured"])
def either(request: pytest.FixtureRequest, predictor: SAM2LongVideoPredictor) -> SAM2LongVideoPredictor:
    """`predictor`, and one that tracks from recordings."""
    return predictor if request.param == "eager" else captured_golden()


@pytest.fixture(scope="session")
def sam2_predictor(predictor: SAM2LongVideoPredictor) -> SAM2VideoPredictor:
    """sam2's own predictor with the same weights."""
    return build_sam2_golden()


@pytest.fixture(scope="session")
def clip() -> tuple[np.ndarray, np.ndarray]:
    return moving_disks(14)


@pytest.fixture(scope="session")
def clip_folder(clip: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The clip as a JPEG folder, the one input sam2 and sam2long share."""
    folder = tmp_path_factory.mktemp("clip")
    for t, frame in enumerate(clip[0]):
        Image.fromarray(frame).save(folder / f"{t:05d}.jpg", quality=95)
    return str(folder)
