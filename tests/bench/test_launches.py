"""A frame asks no more of the host than SAM 2's: on a GPU, launching kernels is what limits the frame rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from support import GOLDEN

from sam2long.bench.launches import LONG_PASS, Launches, UncountedGraph, launches_per_frame
from sam2long.bench.speed_models import Contestant, SpeedModels

SAM2, SHARED, DISTINCT = Contestant(0, "sam2"), Contestant(3, "shared"), Contestant(3, "distinct")

pytestmark = pytest.mark.filterwarnings("ignore:(?s).*cannot import name '_C'")


@pytest.fixture(scope="module")
def per_frame() -> Callable[[Contestant, int], Launches]:
    config, frames = str(GOLDEN / "model.yaml"), LONG_PASS + 2
    models = SpeedModels(config, None, torch.device("cpu"), num_frames=frames, graphs=UncountedGraph)
    return cache(lambda contestant, num_objects: launches_per_frame(models, contestant, num_objects))


PerFrame = Callable[[Contestant, int], Launches]


def test_a_shared_frame_launches_no_more_than_sam2(per_frame: PerFrame) -> None:
    """In spite of modulation, scores, hole filling (SAM 2 without its extension fills none) and packing the past."""
    assert 500 < per_frame(SHARED, 1).kernels <= per_frame(SAM2, 1).kernels


def test_distinct_pathways_launch_as_one_batch(per_frame: PerFrame) -> None:
    assert per_frame(DISTINCT, 1).kernels <= 1.06 * per_frame(SAM2, 1).kernels


def test_objects_launch_as_one_batch(per_frame: PerFrame) -> None:
    """SAM 2 tracks its objects one after the other."""
    assert per_frame(SHARED, 5).kernels <= 0.45 * per_frame(SAM2, 5).kernels


@pytest.mark.parametrize("contestant", [SHARED, DISTINCT])
@pytest.mark.parametrize("num_objects", [1, 5])
def test_a_captured_frame_launches_a_tenth(contestant: Contestant, num_objects: int, per_frame: PerFrame) -> None:
    """Three replays, the copies into and out of them, and what is done with a decided frame of each object."""
    captured = per_frame(replace(contestant, mode="captured"), num_objects)
    assert captured.host_reads == 0
    assert captured.kernels <= 0.1 * per_frame(SAM2, num_objects).kernels
    assert captured.kernels <= 0.25 * per_frame(contestant, num_objects).kernels


def test_the_host_reads_the_scores_only(per_frame: PerFrame) -> None:
    """`DecodedMasks.proposals` is the one wait of a frame, and no operation hides another."""
    for contestant, num_objects in ((SHARED, 1), (SHARED, 5), (DISTINCT, 1)):
        assert per_frame(contestant, num_objects).host_reads == 0
