"""Doubtful frames and their alternatives."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, Clip, State, committed, start, track
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.model.hypotheses import Hypothesis
from sam2long.model.memory_bank import FrameMemory
from sam2long.state import review
from sam2long.state.review import Review

CONFIG = MemoryTreeConfig()
INF = float("inf")


def hypothesis(iou: float, occlusion: float, score: float, first_row: int, rows: int) -> Hypothesis:
    logits = torch.full((1, 1, 8, 8), -5.0)
    logits[:, :, first_row : first_row + rows] = 5.0
    memory = FrameMemory(0, iou, occlusion, None, torch.zeros(1, 4))
    return Hypothesis(memory, logits, torch.tensor([[occlusion]]), score)


def doubt_of(alive: list[Hypothesis], margin: float) -> Any:
    kept = Review()
    kept.consider("a", 3, alive, margin, CONFIG)
    return kept.of("a").get(3)


def test_reasons_on_literal_values() -> None:
    assert doubt_of([hypothesis(0.9, 5.0, -1.0, 0, 4)], INF) is None
    unsure = doubt_of([hypothesis(0.9, 0.5, -1.0, 0, 4)], INF)
    assert (unsure.reasons, unsure.amount) == (("uncertain",), pytest.approx(0.75))
    # 4 rows against 3 of the same: IoU 0.75, not apart; a lead of 0.02
    close = doubt_of([hypothesis(0.9, 5.0, -1.0, 0, 4), hypothesis(0.9, 4.0, -1.02, 0, 3)], 0.02)
    assert (close.reasons, close.amount) == (("close",), pytest.approx(0.8))
    apart = doubt_of([hypothesis(0.9, 5.0, -1.0, 0, 4), hypothesis(0.9, 4.0, -1.5, 2, 4)], 0.5)  # IoU 2 / 6
    assert (apart.reasons, apart.amount) == (("parted",), pytest.approx(2 / 3))
    assert [a.cumulative_score for a in apart.alternatives] == [-1.0, -1.5]
    assert (apart.alternatives[1].mask.unpack()[0, 0, :, 0] > 0).tolist() == [False] * 2 + [True] * 4 + [False] * 2


def test_nobody_waits_for_the_masks_of_the_frame_that_is_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    as_it_is = review.ToHost.wait
    monkeypatch.setattr(review.ToHost, "wait", lambda copy: (waited.append(1), as_it_is(copy))[1])
    kept = Review()
    for t in range(3):
        for obj_id in "ab":
            kept.consider(obj_id, t, [hypothesis(0.9, 0.5, 0.0, 0, 4)], INF, CONFIG)
        assert len(waited) == 2 * t, "those of the frame before, and no others"
    kept.consider("b", 2, [hypothesis(0.9, 5.0, 0.0, 0, 4)], INF, CONFIG)  # tracked once more, and certain now
    assert (sorted(kept.of("a")), sorted(kept.of("b"))) == ([0, 1, 2], [0, 1])


def test_a_reappearance_is_worth_a_look() -> None:
    kept = Review()
    for t, occlusion in ((4, 3.0), (5, -3.0), (6, -3.0), (7, 3.0), (9, 3.0)):
        kept.consider("a", t, [hypothesis(0.9, occlusion, 0.0, 0, 4)], INF, CONFIG)
    assert {t: doubt.reasons for t, doubt in kept.of("a").items()} == {7: ("reappeared",)}


def test_only_the_most_doubtful_frames_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "MAX_FRAMES", 3)
    kept = Review()
    for t, occlusion in enumerate((0.5, 1.9, 0.1, 1.0, 1.5)):
        kept.consider("a", t, [hypothesis(0.9, occlusion, 0.0, 0, 4)], INF, CONFIG)
    assert sorted(kept.of("a")) == [0, 2, 3]


@pytest.fixture
def doubted(predictor: SAM2LongVideoPredictor, clip: Clip) -> State:
    state = start(predictor, clip, keep_alternatives=True)
    track(predictor, state)
    return state


def test_nothing_else_changes(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    kept, plain = start(predictor, clip, keep_alternatives=True), start(predictor, clip)
    assert_same(track(predictor, kept), track(predictor, plain))
    with pytest.raises(ValueError, match="keep_alternatives=True"):
        predictor.doubtful_frames(plain, 1)
    with pytest.raises(ValueError, match="unknown object id 2"):
        predictor.doubtful_frames(kept, 2)


def test_doubtful_frames_and_their_alternatives(predictor: SAM2LongVideoPredictor, clip: Clip, doubted: State) -> None:
    frames = predictor.doubtful_frames(doubted, 1)
    assert frames
    assert [frame.doubt for frame in frames] == sorted((frame.doubt for frame in frames), reverse=True)
    for frame in frames:
        alternatives = predictor.alternatives(doubted, 1, frame.frame_idx)
        assert len(alternatives) == frame.num_alternatives
        assert alternatives[0].video_res_masks.shape == (1, 1, *clip[0].shape[1:3])
        scores = predictor.get_scores(doubted, 1)[frame.frame_idx]
        answers = [a for a in alternatives if a.is_answer]
        assert [a.cumulative_score for a in answers] == [scores.cumulative_score]
        answer = committed(doubted)[frame.frame_idx]
        packed = predictor.at_video_res(doubted, answer)
        agreement = ((answers[0].video_res_masks > 0) == (packed > 0)).float().mean()
        assert agreement > 0.99
    quiet = next(t for t in range(1, NUM_FRAMES + 1) if t not in {frame.frame_idx for frame in frames})
    with pytest.raises(ValueError, match=f"frame {quiet} of object 1 is not doubtful"):
        predictor.alternatives(doubted, 1, quiet)


def test_an_alternative_becomes_the_answer_and_stays_it(
    predictor: SAM2LongVideoPredictor, clip: Clip, doubted: State
) -> None:
    frame = next(f for f in predictor.doubtful_frames(doubted, 1) if f.num_alternatives > 1)
    t = frame.frame_idx
    alternatives = predictor.alternatives(doubted, 1, t)
    k = next(k for k, a in enumerate(alternatives) if not a.is_answer)
    with pytest.raises(ValueError, match="k=9"):
        predictor.choose_alternative(doubted, 1, t, 9)
    _, _, shown = predictor.choose_alternative(doubted, 1, t, k)
    # as SAM 2 takes a mask, by way of its own resolution
    assert ((shown > 0) == (alternatives[k].video_res_masks > 0)).float().mean() > 0.99
    shown = shown.clone()
    masks = track(predictor, doubted, start_frame_idx=t)
    assert torch.equal(masks[t] > 0, shown > 0)
    assert t not in {frame.frame_idx for frame in predictor.doubtful_frames(doubted, 1)}, "it was decided by hand"


def test_alternatives_are_saved_and_copied(
    predictor: SAM2LongVideoPredictor, clip: Clip, doubted: State, tmp_path: Path
) -> None:
    predictor.save_state(doubted, tmp_path / "state")
    loaded = predictor.load_state(tmp_path / "state", clip[0])
    for state in (loaded, copy.deepcopy(doubted), pickle.loads(pickle.dumps(doubted))):
        assert predictor.doubtful_frames(state, 1) == predictor.doubtful_frames(doubted, 1)
        for frame in predictor.doubtful_frames(doubted, 1):
            ours, theirs = (predictor.alternatives(s, 1, frame.frame_idx) for s in (state, doubted))
            assert all(torch.equal(a.video_res_masks, b.video_res_masks) for a, b in zip(ours, theirs, strict=True))


def test_a_few_kilobytes_a_frame(doubted: State) -> None:
    doubts = doubted["sam2long"].review.of(1)
    sizes = [sum(len(a.mask.data) for a in doubt.alternatives) for doubt in doubts.values()]
    assert max(sizes) <= 3 * 5000
    assert np.mean(sizes) > 0


def test_removed_objects_leave_no_doubts(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = predictor.init_state(clip[0], memory_tree=BRANCHING, keep_alternatives=True)
    for k in range(2):
        predictor.add_new_mask(state, 0, k + 1, clip[1][k, 0])
    track(predictor, state)
    predictor.remove_object(state, 1)
    track(predictor, state)
    assert list(state["sam2long"].review.doubts) == [2]
