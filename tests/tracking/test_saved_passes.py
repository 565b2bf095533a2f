"""A saved pass goes on as if it had never stopped: to the bit, from any point, whatever killed the job."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from saving_jobs import BRANCHY, MERGING, NUM_FRAMES, PAPER, SAM2, Clip, Frames, State, assert_states_equal, start, take
from support import assert_same, build_golden

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor

NUM_RANDOM = int(os.environ.get("SAM2LONG_NUM_RANDOM", "1"))


# -- going on --------------------------------------------------------------------------------------------------------

PASSES: dict[str, tuple[MemoryTreeConfig, dict[str, Any], dict[str, Any]]] = {
    "branched": (BRANCHY, {}, {}),
    "branched, reverse": (BRANCHY, {}, {"start_frame_idx": 15, "reverse": True}),
    "branched, both": (BRANCHY, {"prompted": (4, 4)}, {"direction": "both"}),
    "branched, bounded wait": (BRANCHY, {"max_pending_frames": 3}, {}),
    "branched, part of the video": (BRANCHY, {}, {"start_frame_idx": 2, "max_frame_num_to_track": 11}),
    "merging": (MERGING, {}, {}),
    "merging, bounded wait": (MERGING, {"max_pending_frames": 2}, {}),
    "paper": (PAPER, {}, {}),
    "paper, state on the host": (PAPER, {"offload_state_to_cpu": True, "offload_video_to_cpu": True}, {}),
    # sam2 cannot track a frame that comes before an object's first prompt (bfloat16 memory alone, without pointers)
    "sam2": (SAM2, {"prompted": (0, 0)}, {}),
    "sam2, both": (SAM2, {"prompted": (4, 4)}, {"direction": "both"}),
    "sam2, reverse": (SAM2, {"prompted": (15, 15)}, {"start_frame_idx": 15, "reverse": True}),
}


@pytest.mark.parametrize(("kind", "stop_after"), [*product(PASSES, (1, 8)), ("branched, both", 18), ("sam2, both", 18)])
def test_a_pass_goes_on(kind: str, stop_after: int, predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    config, settings, arguments = PASSES[kind]
    never_saved = start(predictor, disks, config, **settings)
    expected = take(predictor.propagate_in_video(never_saved, **arguments))
    assert sum((masks > 0).any() for _, _, masks in expected) > 8, "objects are visible, or equality says little"

    saved = start(predictor, disks, config, **settings)
    generator = predictor.propagate_in_video(saved, **arguments)
    first = take(generator, stop_after)
    predictor.save_state(saved, path)
    rest = take(generator)  # the generator that was suspended does not notice
    assert_same(first + rest, expected)

    loaded = predictor.load_state(path, disks[0])
    assert loaded["offload_state_to_cpu"] is settings.get("offload_state_to_cpu", False)
    assert_same(take(predictor.resume_propagation(loaded)), rest)
    assert_states_equal(loaded, never_saved)
    assert loaded["sam2long"].propagation is None
    assert loaded["sam2long"].open_pass is None


@pytest.mark.parametrize("kind", ["sam2", "branched"])
def test_a_click_during_the_pass(kind: str, predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    """A prompt waits until the next pass, in the resumed one as in the one never stopped."""
    config, settings, _ = PASSES[kind]
    state = start(predictor, disks, config, **settings)
    generator = predictor.propagate_in_video(state)
    take(generator, 6)
    predictor.add_new_points_or_box(state, 3, 7, points=[[5.0, 5.0]], labels=[0])
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, disks[0])
    assert_same(take(predictor.resume_propagation(loaded)), take(generator))
    assert_same(*(take(predictor.propagate_in_video(s)) for s in (loaded, state)))
    assert_states_equal(loaded, state)


@pytest.mark.parametrize("kind", ["branched", "branched, reverse", "sam2, reverse"])
def test_a_new_process_for_every_frame(kind: str, predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    config, settings, arguments = PASSES[kind]
    state = start(predictor, disks, config, **settings)
    expected = take(predictor.propagate_in_video(state, **arguments))
    state = start(predictor, disks, config, **settings)
    generator = predictor.propagate_in_video(state, **arguments)
    frames: Frames = []
    while one := take(generator, 1):
        frames += one
        predictor.save_state(state, path)
        state = predictor.load_state(path, disks[0])
        predictor.save_state(state, path)  # not resumed yet: the open pass is kept
        state = predictor.load_state(path, disks[0])
        generator = predictor.resume_propagation(state)
    assert_same(frames, expected)


def random_call(rng: random.Random, predictor: SAM2LongVideoPredictor, disks: Clip) -> Callable[[State], Any]:
    frame_idx, obj_id = rng.randrange(NUM_FRAMES), rng.choice([7, "hand", 3])
    point, label = [rng.uniform(0, 128), rng.uniform(0, 96)], rng.choice([0, 1, 1])
    count, reverse = rng.randrange(1, 9), rng.random() < 0.4
    calls: list[Callable[[State], Any]] = [
        lambda s: predictor.add_new_points_or_box(s, frame_idx, obj_id, points=[point], labels=[label]),
        lambda s: predictor.add_new_mask(s, frame_idx, obj_id, disks[1][0, frame_idx]),
        lambda s: predictor.clear_all_prompts_in_frame(s, frame_idx, obj_id),
        lambda s: predictor.remove_object(s, obj_id),
        lambda s: take(predictor.propagate_in_video(s, None, count, reverse)),
        lambda s: take(predictor.propagate_in_video(s, frame_idx, None, reverse)),
    ]
    return rng.choices(calls, weights=[3, 2, 1, 0.5, 3, 2])[0]


@pytest.mark.parametrize("kind", ["sam2", "branched"])
@pytest.mark.parametrize("seed", range(NUM_RANDOM))
def test_random_calls(seed: int, kind: str, predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    """The same calls to two states, of which one is saved and loaded after every call."""
    rng = random.Random(seed)
    config, settings, _ = PASSES[kind]
    states = [start(predictor, disks, config, **settings) for _ in range(2)]
    passes: list[Any] = [None, None]  # the open pass of each state

    def each(call: Callable[..., Any], *arguments: list[Any]) -> list[Any]:
        """The outcomes of a call for both states, which are equal."""
        outcomes = []
        for one in zip(*arguments, strict=True):
            try:
                outcomes.append(call(*one))
            except Exception as error:
                outcomes.append(type(error))
        assert_same(*outcomes)
        return outcomes

    for _ in range(8):
        each(random_call(rng, predictor, disks), states)
        if rng.random() < 0.4:  # leave a pass open
            passes = [predictor.propagate_in_video(state) for state in states]
            each(take, passes, [rng.randrange(1, 6)] * 2)
        predictor.save_state(states[0], path)
        states[0] = predictor.load_state(path, disks[0])
        if states[0]["sam2long"].open_pass is None:
            passes = [None, None]
        else:
            passes[0] = predictor.resume_propagation(states[0])
            each(take, passes, [rng.randrange(1, 6)] * 2)
    if passes[0] is not None:
        each(take, passes)
    assert_states_equal(states[0], states[1] | {"sam2long": predictor.session(states[1])})


def test_a_new_pass_replaces_the_open_one(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    state = start(predictor, disks, BRANCHY)
    generator = predictor.propagate_in_video(state)
    take(generator, 5)
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, disks[0])
    # sam2's meaning: what is pending is committed, and the pass starts over.
    assert_same(*(take(predictor.propagate_in_video(s)) for s in (loaded, state)))
    with pytest.raises(RuntimeError, match="propagate_in_video"):
        predictor.resume_propagation(loaded)
    reset = predictor.load_state(path, disks[0])
    predictor.reset_state(reset)
    with pytest.raises(RuntimeError, match="no pass to resume"):
        predictor.resume_propagation(reset)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["sam2", "branched"])
@pytest.mark.parametrize("offload", [False, True])
def test_across_devices(kind: str, offload: bool, disks: Clip, path: Path) -> None:
    on_gpu, on_cpu = build_golden(device="cuda"), build_golden(device="cpu")
    config, settings, _ = PASSES[kind]
    state = start(on_gpu, disks, config, **settings, offload_state_to_cpu=offload)
    generator = on_gpu.propagate_in_video(state)
    take(generator, 6)
    on_gpu.save_state(state, path)
    rest = take(generator)
    loaded = on_gpu.load_state(path, disks[0])
    assert_same(take(on_gpu.resume_propagation(loaded)), rest)
    assert_states_equal(loaded, state)
    for output in loaded["output_dict_per_obj"][0]["cond_frame_outputs"].values():
        assert output["pred_masks"].is_cuda is not offload
        assert output["obj_ptr"].is_cuda
    moved = on_cpu.load_state(path, disks[0])
    assert [frame[:2] for frame in take(on_cpu.resume_propagation(moved))] == [frame[:2] for frame in rest]
    assert moved["output_dict_per_obj"][0]["cond_frame_outputs"][0]["obj_ptr"].device.type == "cpu"


# -- kill -9 ---------------------------------------------------------------------------------------------------------

JOB = """
import os, signal, sys
import numpy as np
from saving_jobs import BRANCHY, NUM_FRAMES, start
from support import build_golden, moving_disks

folder, killed_in_save = sys.argv[1], int(sys.argv[2])
predictor, disks = build_golden(), moving_disks(NUM_FRAMES)
state = start(predictor, disks, BRANCHY)
for i, (frame_idx, obj_ids, masks) in enumerate(predictor.propagate_in_video(state)):
    np.save(f"{folder}/{frame_idx}.npy", masks.numpy())
    if i % 3 == 2:
        if i // 3 == killed_in_save:
            os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        predictor.save_state(state, f"{folder}/job.safetensors")
    if i // 3 == 4:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("killed_in_save", "num_yielded"), [(99, 12), (2, 6)], ids=["while tracking", "while saving"])
def test_kill_9(
    killed_in_save: int, num_yielded: int, predictor: SAM2LongVideoPredictor, disks: Clip, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(folder) for folder in Path(__file__).parents[:2])}
    command = [sys.executable, "-c", JOB, str(tmp_path), str(killed_in_save)]
    assert subprocess.run(command, env=environment, timeout=120).returncode == -signal.SIGKILL
    expected = take(predictor.propagate_in_video(start(predictor, disks, BRANCHY)))
    path = tmp_path / "job.safetensors"
    state = predictor.load_state(path, disks[0])
    assert_same(take(predictor.resume_propagation(state)), expected[num_yielded:])
    for frame_idx, _, masks in expected[:num_yielded]:  # the job saw these before its last whole save
        assert_same(torch.from_numpy(np.load(tmp_path / f"{frame_idx}.npy")), masks)
    predictor.save_state(state, path)
    assert [file.name for file in tmp_path.glob("job*")] == ["job.safetensors"], "what the kill left over is gone"
