"""A saved state goes on as if it had never stopped: to the bit, from any point, whatever killed the job."""

from __future__ import annotations

import json
import lzma
import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from support import assert_same, build_golden, moving_disks

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.tracking import saving

NUM_FRAMES = 20
NUM_RANDOM = int(os.environ.get("SAM2LONG_NUM_RANDOM", "1"))
SAM2 = MemoryTreeConfig(num_pathways=1)
PAPER = MemoryTreeConfig()
BRANCHY = MemoryTreeConfig(uncertainty_threshold=100)  # every frame is uncertain: the tree always branches
MERGING = MemoryTreeConfig(uncertainty_threshold=100, merge_iou=0.6, merge_frames=3)

State = dict[str, Any]
Frames = list[tuple[int, list[Any], torch.Tensor]]
Clip = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def disks() -> Clip:
    return moving_disks(NUM_FRAMES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.safetensors"


def start(
    predictor: SAM2LongVideoPredictor,
    disks: Clip,
    config: MemoryTreeConfig,
    prompted: tuple[int, int] = (0, 4),
    **settings: Any,
) -> State:
    """A state with two prompted objects: a mask on one frame and a click on another."""
    state = predictor.init_state(disks[0], memory_tree=config, **settings)
    ys, xs = np.nonzero(disks[1][1, prompted[1]])
    predictor.add_new_mask(state, prompted[0], 7, disks[1][0, prompted[0]])
    click = [[float(xs.mean()), float(ys.mean())]]
    predictor.add_new_points_or_box(state, prompted[1], "hand", points=click, labels=[1])
    return state


def take(generator: Iterator[Any], count: int | None = None) -> Frames:
    frames = []
    for frame_idx, obj_ids, masks in generator:
        frames.append((frame_idx, list(obj_ids), masks.clone()))
        if len(frames) == count:
            break
    return frames


def assert_states_equal(ours: State, theirs: State) -> None:
    left_out = ("sam2long", "images", "cached_features")
    assert_same(*({key: state[key] for key in theirs if key not in left_out} for state in (ours, theirs)))
    for session in (ours["sam2long"], theirs["sam2long"]):
        assert session.config == theirs["sam2long"].config
        assert session.max_pending_frames == theirs["sam2long"].max_pending_frames
    whole = [
        {
            obj_id: [frame["scores"] for frame in frames]
            for obj_id, frames in state["sam2long"].recent.by_object().items()
        }
        for state in (ours, theirs)
    ]
    assert whole[0] == whole[1]


# -- going on --------------------------------------------------------------------------------------------------------

PASSES: dict[str, tuple[MemoryTreeConfig, dict[str, Any], dict[str, Any]]] = {
    "branched": (BRANCHY, {}, {}),
    "branched, reverse": (BRANCHY, {}, {"start_frame_idx": 15, "reverse": True}),
    "branched, bounded wait": (BRANCHY, {"max_pending_frames": 3}, {}),
    "branched, part of the video": (BRANCHY, {}, {"start_frame_idx": 2, "max_frame_num_to_track": 11}),
    "merging": (MERGING, {}, {}),
    "merging, bounded wait": (MERGING, {"max_pending_frames": 2}, {}),
    "paper": (PAPER, {}, {}),
    "paper, state on the host": (PAPER, {"offload_state_to_cpu": True, "offload_video_to_cpu": True}, {}),
    # sam2 cannot track a frame that comes before an object's first prompt (bfloat16 memory alone, without pointers)
    "sam2": (SAM2, {"prompted": (0, 0)}, {}),
    "sam2, reverse": (SAM2, {"prompted": (15, 15)}, {"start_frame_idx": 15, "reverse": True}),
}


@pytest.mark.parametrize("stop_after", [1, 8])
@pytest.mark.parametrize("kind", PASSES)
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


def test_pending_hypotheses_are_loaded(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    state = start(predictor, disks, BRANCHY)
    generator = predictor.propagate_in_video(state)
    take(generator, 5)
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, disks[0])
    trees, loaded_trees = (
        {obj_id: track.tree for obj_id, track in s["sam2long"].propagation.tracks.items()} for s in (state, loaded)
    )
    num_hypotheses = 0
    for obj_id in (7, "hand"):
        pending, loaded_pending = trees[obj_id].pending, loaded_trees[obj_id].pending
        assert [frame.frame_idx for frame in loaded_pending] == [frame.frame_idx for frame in pending]
        for frame in pending:
            ours, theirs = (predictor.get_hypotheses(s, obj_id, frame.frame_idx) for s in (loaded, state))
            for a, b in zip(ours, theirs, strict=True):
                assert_same(
                    [getattr(a, name) for name in a.__dataclass_fields__],
                    [getattr(b, name) for name in b.__dataclass_fields__],
                )
            num_hypotheses += len(ours)
        # Sharing survives: slots point to nodes of the newest pending frame, not to copies of them.
        assert loaded_trees[obj_id].tips == loaded_pending[-1].nodes
        memories, loaded_memories = (
            {id(memory) for node in t[obj_id].tips for memory in node.remembered} for t in (trees, loaded_trees)
        )
        assert len(loaded_memories) == len(memories)
    assert num_hypotheses > 2, "nothing was pending: the test shows nothing"
    generator.close()  # type: ignore[attr-defined]


def test_objects_that_came_after_the_open_pass_stay_whole(
    predictor: SAM2LongVideoPredictor, disks: Clip, path: Path
) -> None:
    """A loaded pass goes on with its own objects; the recent frames of the others are not forgotten."""
    state = predictor.init_state(disks[0])
    predictor.add_new_mask(state, 0, 7, disks[1][0, 0])
    suspended = predictor.propagate_in_video(state)
    take(suspended, 3)
    predictor.add_new_mask(state, 0, "late", disks[1][1, 0])
    take(predictor.propagate_in_video(state, max_frame_num_to_track=9))
    take(suspended, 1)
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, disks[0])
    assert {obj_id: len(frames) for obj_id, frames in loaded["sam2long"].recent.by_object().items()} == {
        obj_id: len(frames) for obj_id, frames in state["sam2long"].recent.by_object().items()
    }
    assert len(loaded["sam2long"].recent.by_object()["late"]) == 9


def test_an_object_that_was_removed_stays_removed_through_two_saves(
    predictor: SAM2LongVideoPredictor, disks: Clip, path: Path
) -> None:
    state = start(predictor, disks, PAPER)
    take(predictor.propagate_in_video(state), 3)
    generator = predictor.propagate_in_video(state)
    take(generator, 3)
    predictor.remove_object(state, 7)
    predictor.add_new_mask(state, 0, 7, disks[1][1, 0])  # another object, whatever its id
    for _ in range(2):
        predictor.save_state(state, path)
        state = predictor.load_state(path, disks[0])
    with pytest.raises(RuntimeError, match="object 7 was removed while it was being tracked"):
        take(predictor.resume_propagation(state))


def test_a_file_of_version_1_is_still_read(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    """Written when every module lay in one folder: packed and whole frames, pending hypotheses that merge."""
    folder = Path(__file__).parent / "saved"
    path.write_bytes(lzma.decompress((folder / "version-1.safetensors.xz").read_bytes()))
    expected = np.load(folder / "version-1.npz")
    state = predictor.load_state(path, disks[0])
    assert state["obj_ids"] == [7, "hand"]
    assert len(state["sam2long"].propagation.pending("hand")) == 2
    answers = take(predictor.resume_propagation(state))
    assert [t for t, _, _ in answers] == expected["frames"].tolist() == list(range(11, 20))
    masks = np.concatenate([(logits > 0).numpy() for _, _, logits in answers])
    reference = np.unpackbits(expected["masks"], count=masks.size).reshape(expected["shape"]).astype(bool)
    assert masks.any(axis=(1, 2, 3)).all()
    assert np.mean(masks != reference) < 1e-4
    for obj_id in (7, "hand"):
        scores = predictor.get_scores(state, obj_id)
        ours = [[t, s.predicted_iou, s.occlusion_score, s.cumulative_score] for t, s in scores.items()]
        np.testing.assert_allclose(ours, expected[f"scores_{obj_id}"], atol=2e-3)


def test_compacted_frames(predictor: SAM2LongVideoPredictor, path: Path) -> None:
    """Frames that were packed stay packed, and a reverse pass comes back to them as if nothing had happened."""
    clip = moving_disks(45)
    never_saved, saved = (start(predictor, clip, PAPER) for _ in range(2))
    take(predictor.propagate_in_video(never_saved))
    generator = predictor.propagate_in_video(saved)
    take(generator, 40)
    predictor.save_state(saved, path)
    generator.close()  # type: ignore[attr-defined]
    loaded = predictor.load_state(path, clip[0])
    take(predictor.resume_propagation(loaded))
    packed = [frame for frame in loaded["output_dict_per_obj"][0]["non_cond_frame_outputs"].values() if frame.packed()]
    assert len(packed) > 5
    assert_states_equal(loaded, never_saved)
    with safe_open(path, "pt") as file:
        assert file.get_tensor("packed.sizes").shape[0] >= 5

    for state in (never_saved, loaded):
        predictor.add_new_mask(state, 10, 7, clip[1][1, 10])  # reads memories of frames that are packed
    passes = [take(predictor.propagate_in_video(s, start_frame_idx=12, reverse=True)) for s in (loaded, never_saved)]
    assert_same(*passes)
    predictor.save_state(loaded, path)  # now packed frames with features computed again are among them
    again = predictor.load_state(path, clip[0])
    assert_states_equal(again, never_saved)
    assert_same(*(take(predictor.propagate_in_video(state)) for state in (again, never_saved)))


def test_prompts_not_yet_consolidated(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    never_saved = start(predictor, disks, PAPER)
    predictor.save_state(never_saved, path)
    loaded = predictor.load_state(path, disks[0])
    assert any(loaded["temp_output_dict_per_obj"][1].values())
    for state in (loaded, never_saved):
        assert_states_equal(*(s | {"sam2long": predictor.session(s)} for s in (state, never_saved)))
        with pytest.raises(RuntimeError, match="no pass to resume"):
            predictor.resume_propagation(state)
    # A second click refines the mask of the first, which is among the temporary outputs.
    clicks = [
        predictor.add_new_points_or_box(s, 4, "hand", points=[[2.0, 2.0]], labels=[0], clear_old_points=False)
        for s in (loaded, never_saved)
    ]
    assert_same(*clicks)
    assert_same(*(take(predictor.propagate_in_video(s)) for s in (loaded, never_saved)))


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
from support import build_golden
from test_saving import BRANCHY, NUM_FRAMES, moving_disks, start

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


# -- the file --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved_file(predictor: SAM2LongVideoPredictor, disks: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "job.safetensors"
    state = start(predictor, disks, BRANCHY)
    generator = predictor.propagate_in_video(state)
    take(generator, 6)
    predictor.save_state(state, path)
    return path


def test_it_is_safetensors_and_json(
    predictor: SAM2LongVideoPredictor, disks: Clip, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pickle")

    for module, names in ((pickle, ["dump", "dumps", "load", "loads"]), (torch, ["save", "load"])):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    state = start(predictor, disks, BRANCHY)
    take(predictor.propagate_in_video(state), 6)
    predictor.save_state(state, path)
    predictor.load_state(path, disks[0])
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        structure = json.loads(file.get_tensor("structure").numpy().tobytes(), parse_constant=refuse)
    assert metadata["format"] == "sam2long state"
    assert json.loads(metadata["video"]) == {"num_frames": NUM_FRAMES, "height": 96, "width": 128}
    assert structure["obj_ids"] == [7, "hand"]


def test_a_damaged_file(predictor: SAM2LongVideoPredictor, disks: Clip, saved_file: Path, path: Path) -> None:
    whole = saved_file.read_bytes()
    for size in [0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"job\.safetensors is not a complete saved state"):
            predictor.load_state(path, disks[0])
    path.write_bytes(whole.replace(b'"constants"', b'"constatns"'))
    with pytest.raises(ValueError, match=r"job\.safetensors is damaged"):
        predictor.load_state(path, disks[0])
    path.write_bytes(whole.replace(b'"type":"FrameMemory"', b'"type":"os.systemry"'))
    with pytest.raises(ValueError, match=r"job\.safetensors is damaged"):
        predictor.load_state(path, disks[0])
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="save_state did not write it"):
        predictor.load_state(path, disks[0])
    save_file({"structure": torch.zeros(2)}, path, {"format": saving.FORMAT, "version": "0"})
    with pytest.raises(ValueError, match="version 0; this is version 1"):
        predictor.load_state(path, disks[0])
    with pytest.raises(FileNotFoundError, match="no saved state at"):
        predictor.load_state(path.with_name("none"), disks[0])


def test_another_video_or_model(
    predictor: SAM2LongVideoPredictor, saved_file: Path, disks: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="this video, but with num_frames 20, not 19"):
        predictor.load_state(saved_file, disks[0][:19])
    with pytest.raises(ValueError, match="height 96, not 95; width 128, not 127"):
        predictor.load_state(saved_file, disks[0][:, :95, :127])
    with pytest.raises(FileNotFoundError):
        predictor.load_state(saved_file, "no such video")
    monkeypatch.setattr(predictor, "num_maskmem", 5)
    with pytest.raises(ValueError, match="this model, but with num_maskmem 7, not 5"):
        predictor.load_state(saved_file, disks[0])


def test_a_save_that_fails_leaves_the_last_one(
    predictor: SAM2LongVideoPredictor, disks: Clip, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start(predictor, disks, PAPER)
    predictor.save_state(state, path)
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            predictor.save_state(state, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError, match="cannot write"):
        predictor.save_state(state, path.parent / "no such folder" / "job.safetensors")
    state["obj_ids"].append(object())
    with pytest.raises(ValueError, match="a object in the inference state cannot be saved"):
        predictor.save_state(state, path)
    assert path.read_bytes() == before


def test_streams_are_refused(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    state = predictor.init_stream(disks[0][0])
    with pytest.raises(ValueError, match="stream"):
        predictor.save_state(state, path)
    assert not path.exists()


def test_without_safetensors(
    predictor: SAM2LongVideoPredictor, disks: Clip, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = predictor.init_state(disks[0])
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for call in (lambda: predictor.save_state(state, path), lambda: predictor.load_state(path, disks[0])):
        with pytest.raises(ImportError, match=r"pip install 'sam2long\[state\]'"):
            call()


def test_settings_and_ids_come_back(predictor: SAM2LongVideoPredictor, disks: Clip, path: Path) -> None:
    config = MemoryTreeConfig(num_pathways=2, iou_threshold=0.123456789012345, modulation=(1, 1.5))
    state = predictor.init_state(disks[0], memory_tree=config, max_pending_frames=4)
    for obj_id in ("7", 7, np.int64(12), "Hände"):
        predictor.add_new_mask(state, 0, obj_id, disks[1][0, 0])
    predictor.save_state(state, path)
    loaded = predictor.load_state(path, disks[0], offload_state_to_cpu=True)
    assert loaded["sam2long"].config == config
    assert loaded["sam2long"].max_pending_frames == 4
    assert [(type(obj_id), obj_id) for obj_id in loaded["obj_ids"]] == [(str, "7"), (int, 7), (int, 12), (str, "Hände")]
    assert loaded["obj_id_to_idx"] == {"7": 0, 7: 1, 12: 2, "Hände": 3}
    assert loaded["offload_state_to_cpu"] is True
    assert len(take(predictor.propagate_in_video(loaded))) == NUM_FRAMES
    for obj_id in loaded["obj_ids"]:
        assert len(predictor.get_scores(loaded, obj_id)) == NUM_FRAMES - 1
