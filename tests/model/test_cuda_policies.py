"""Policies on a real GPU: captured steps decide as eager ones do, with masks followed backwards on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sam2long import SAM2LongVideoPredictor, build_sam2long_video_predictor
from sam2long.evaluation.measures import jaccard
from sam2long.policies import POLICIES
from sam2long.resources import resource_dir
from sam2long.search.policy import Policy
from sam2long.search.selection import Candidate
from sam2long.synthetic import Clip, render, sample_scene

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def clip() -> Clip:
    """The object leaves, and a look-alike stays."""
    return render(sample_scene("reappear", 101, num_frames=40, split="val"), 256)


def build(device: str, *, capture: bool = False) -> SAM2LongVideoPredictor:
    config, checkpoint = resource_dir("configs") / "demo.yaml", resource_dir("checkpoints") / "demo.pt"
    return build_sam2long_video_predictor(
        config, checkpoint, device=device, capture=capture, apply_postprocessing=False
    )


def watched(name: str) -> tuple[Policy, list[int]]:
    """The policy, and the frames whose masks it has followed backwards."""
    policy, frames = POLICIES[name], []
    assert policy.audit is not None
    judge = policy.audit.judge

    def judging(suspect: Candidate, situation: Any) -> Candidate:
        frames.append(situation.frame_idx)
        return judge(suspect, situation)

    return replace(policy, audit=replace(policy.audit, judge=judging)), frames


def track(predictor: SAM2LongVideoPredictor, clip: Clip, policy: Policy) -> dict[int, np.ndarray]:
    state = predictor.init_state(clip.frames, policy=policy)
    predictor.add_new_mask(state, 0, 1, clip.masks[0, 0])
    return {t: (logits[0, 0] > 0).cpu().numpy() for t, _, logits in predictor.propagate_in_video(state)}


@pytest.mark.parametrize("name", ["doubt", "identity"])
def test_captured_steps_decide_as_eager_ones(name: str, clip: Clip) -> None:
    """Memories that differ in length are decoded apart when captured, which rounds otherwise: the masks' edges may."""
    policy, followed = watched(name)
    expected = track(build("cuda"), clip, policy)
    eagerly = list(followed)
    captured = build("cuda", capture=True)
    for _ in range(2):  # the second video replays from its first frames
        followed.clear()
        masks = track(captured, clip, policy)
        assert followed == eagerly
        assert min(jaccard(masks[t], expected[t]) for t in expected) > 0.95
    assert len(eagerly) > 2
    assert captured.captures is not None
    assert captured.captures.num_replays > 100


def test_the_card_decides_as_the_processor(clip: Clip) -> None:
    policy, followed = watched("identity")
    expected = track(build("cpu"), clip, policy)
    on_the_processor = list(followed)
    followed.clear()
    masks = track(build("cuda"), clip, policy)
    assert followed == on_the_processor
    assert min(jaccard(masks[t], expected[t]) for t in expected) > 0.9


def test_memory_is_flat_while_masks_are_followed(clip: Clip) -> None:
    """The features that are kept for following backwards are those of the frames within its reach."""
    predictor, used = build("cuda", capture=True), {}
    there_and_back = [*range(40), *range(39, -1, -1)] * 4
    policy, followed = watched("identity")
    state = predictor.init_stream(clip.frames[0], policy=policy)
    predictor.add_new_mask(state, 0, 1, clip.masks[0, 0])
    for t, k in enumerate(there_and_back[1:], start=1):
        for _ in predictor.track_frame(state, clip.frames[k]):
            pass
        if t in (150, 310):
            torch.cuda.synchronize()
            used[t] = torch.cuda.memory_allocated()
    assert len(followed) > 10
    assert used[310] <= used[150] + 4 * 2**20
