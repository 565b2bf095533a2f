"""States copied and pickled at any time: the copy goes on for itself, and answers as the original does."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interaction_calls import BRANCHING, NUM_FRAMES, SAM2, Clip, State, changed, committed, disk_centre, start, track
from support import assert_same

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.state.tracked_frames import NUM_RECENT


def saved_and_loaded(state: State) -> State:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: State = torch.load(file, weights_only=False)
    return loaded


WAYS: dict[str, Callable[[State], State]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda state: pickle.loads(pickle.dumps(state)),
    "torch.save": saved_and_loaded,
}
CONFIGS = {"P=1": SAM2, "P=3": BRANCHING}
each_way = pytest.mark.parametrize("way", WAYS)
each_config = pytest.mark.parametrize("config", CONFIGS)


def begin(predictor: SAM2LongVideoPredictor, clip: Clip, config: str, **kwargs: Any) -> State:
    return start(predictor, clip, memory_tree=CONFIGS[config], **kwargs)


def stopped(predictor: SAM2LongVideoPredictor, state: State, after: int) -> Any:
    passing = predictor.propagate_in_video(state)
    for _ in range(after):
        next(passing)
    return passing


@each_way
@each_config
def test_fresh_prompted_and_tracked(way: str, config: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    fresh = predictor.init_state(clip[0], memory_tree=CONFIGS[config])
    fresh_copy = WAYS[way](fresh)
    for state in (fresh, fresh_copy):
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    prompted_copy = WAYS[way](fresh)
    expected = track(predictor, fresh)
    for state in (fresh_copy, prompted_copy):
        assert_same(track(predictor, state), expected)
    tracked_copy = WAYS[way](fresh)
    assert_same(committed(tracked_copy), committed(fresh))
    assert predictor.get_scores(tracked_copy, 1) == predictor.get_scores(fresh, 1)

    def correct(state: State) -> dict[int, torch.Tensor]:
        predictor.add_new_points_or_box(state, 6, 1, points=[disk_centre(clip, 1, 6)], labels=[1])
        return track(predictor, state)

    before = committed(tracked_copy)
    corrected = correct(fresh)
    assert_same(committed(tracked_copy), before)  # the copy does not notice
    assert_same(correct(tracked_copy), corrected)


@each_way
@each_config
@pytest.mark.parametrize("after", [1, 5, NUM_FRAMES - 1])
def test_in_the_middle_of_a_pass(
    way: str, config: str, after: int, predictor: SAM2LongVideoPredictor, clip: Clip
) -> None:
    """Suspended and left: what is still to come is what the original's generator gives."""
    state = begin(predictor, clip, config)
    passing = stopped(predictor, state, after)
    copied = WAYS[way](state)
    assert sorted(committed(copied)) == list(range(after))
    twice = WAYS[way](copied)
    rest = {frame_idx: masks.clone() for frame_idx, _, masks in passing}
    for going in (copied, twice):
        assert_same(track(predictor, going, start_frame_idx=after), rest)
    assert_same(committed(copied), committed(state))

    left = begin(predictor, clip, config)
    stopped(predictor, left, after).close()
    left_copy = WAYS[way](left)
    for going in (left, left_copy):
        assert_same(track(predictor, going, start_frame_idx=after), rest)


@each_way
def test_a_click_in_the_middle_of_a_pass(way: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """What the tree knew ahead is void for both, and the original's generator goes on from where it was."""
    state = start(predictor, clip)
    passing = stopped(predictor, state, 5)
    copied = WAYS[way](state)
    shown = []
    for going in (state, copied):
        predictor.add_new_points_or_box(going, 7, 1, points=[disk_centre(clip, 1, 7)], labels=[1])
        shown.append(track(predictor, going, start_frame_idx=5))
    assert_same(shown[1], shown[0])
    passing.close()


@each_way
def test_policies_of_the_users_stay_behind(way: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    select = predictor.select
    own = SAM2LongVideoPredictor.from_sam2(predictor, select=lambda *args, **kwargs: select(*args, **kwargs))
    state = start(own, clip)
    stopped(own, state, 5).close()
    copied = WAYS[way](state)
    assert copied["sam2long"].left is not None
    assert_same(track(own, copied, start_frame_idx=5), track(own, state, start_frame_idx=5))


@each_way
def test_streams(way: str, predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """Before the first prompt, and between frames while hypotheses compete; then with a prompt in between."""

    def go_on(state: State, first: int, prompt: bool) -> list[Any]:
        if prompt:
            predictor.add_new_mask(state, first - 1, 2, clip[1][1, first - 1])
        answers = [answer for t in range(first, NUM_FRAMES) for answer in predictor.track_frame(state, clip[0][t])]
        answers += predictor.finish_stream(state)
        return [(frame_idx, list(obj_ids), masks.clone()) for frame_idx, obj_ids, masks in answers]

    fresh = predictor.init_stream(clip[0][0], memory_tree=BRANCHING)
    state = WAYS[way](fresh)
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    for t in range(1, 7):
        predictor.track_frame(state, clip[0][t])
    pending = list(state["sam2long"].propagation.pending(1))
    assert pending, "hypotheses compete, else this shows little"
    plain, prompted, looked_at, twice = (WAYS[way](state) for _ in range(4))
    twice = WAYS[way](twice)
    there, here = (predictor.get_hypotheses(one, 1, pending[0]) for one in (looked_at, state))
    assert [hypothesis.slots for hypothesis in there] == [hypothesis.slots for hypothesis in here]
    with_prompt = WAYS[way](state)
    expected = go_on(state, 7, prompt=False)
    assert [frame_idx for frame_idx, _, _ in expected][-1] == NUM_FRAMES - 1
    for copied in (plain, looked_at, twice):
        assert_same(go_on(copied, 7, prompt=False), expected)
    assert_same(go_on(prompted, 7, prompt=True), go_on(with_prompt, 7, prompt=True))


def test_a_prompt_in_a_copied_stream_loses_no_frame(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    """The frames pending when the prompt came are decided, in a copy as in the original."""
    state = predictor.init_stream(clip[0][0], memory_tree=BRANCHING)
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    for t in range(1, 7):
        predictor.track_frame(state, clip[0][t])
    copied, answers = copy.deepcopy(state), []
    for stream in (state, copied):
        predictor.add_new_mask(stream, 6, 2, clip[1][1, 6])
        answers.append(predictor.track_frame(stream, clip[0][7]))
    assert len(answers[0]) >= 1
    assert_same(answers[1], answers[0])


@each_config
def test_offloaded_states_over_every_kind_of_source(
    config: str, predictor: SAM2LongVideoPredictor, clip: Clip, tmp_path: Path
) -> None:
    np.save(tmp_path / "clip.npy", clip[0])
    kinds = {
        "iterator": lambda: iter(clip[0]),
        "mapped": lambda: np.load(tmp_path / "clip.npy", mmap_mode="r"),
        "preloaded": lambda: clip[0],
    }
    expected = track(predictor, begin(predictor, clip, config))
    for name, video in kinds.items():
        state = predictor.init_state(
            video(),
            memory_tree=CONFIGS[config],
            offload_video_to_cpu=True,
            offload_state_to_cpu=True,
            preload=name == "preloaded",
        )
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
        for way in WAYS.values():
            copied = way(state)
            assert torch.equal(copied["images"][:], state["images"][:])
            assert changed(track(predictor, copied), expected) == set()


@each_way
def test_a_copy_goes_back_to_its_packed_past(way: str, predictor: SAM2LongVideoPredictor) -> None:
    from support import moving_disks

    clip = moving_disks(NUM_RECENT + 12)
    state = start(predictor, clip, memory_tree=MemoryTreeConfig())
    track(predictor, state)
    copied = WAYS[way](state)
    packed = copied["output_dict_per_obj"][0]["non_cond_frame_outputs"][2]
    assert packed.packed() is not None
    masks = []
    for going in (state, copied):
        predictor.add_new_points_or_box(going, 5, 1, points=[disk_centre(clip, 0, 5)], labels=[1])
        masks.append(track(predictor, going, start_frame_idx=5, max_frame_num_to_track=4))
    assert_same(masks[1], masks[0])
    recent = copied["sam2long"].recent.by_object()[1]
    known = copied["output_dict_per_obj"][0]["non_cond_frame_outputs"].values()
    assert any(frame is one for frame in recent for one in known), "its own frames, not others like them"


def test_a_shallow_copy_is_the_same_video(predictor: SAM2LongVideoPredictor, clip: Clip) -> None:
    state = start(predictor, clip)
    copied = copy.copy(state)
    assert_same(track(predictor, copied), track(predictor, start(predictor, clip)))
    assert copied["output_dict_per_obj"] is state["output_dict_per_obj"]
