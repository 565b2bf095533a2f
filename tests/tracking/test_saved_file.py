"""The file of a saved state: its format, and errors that say what is wrong with it and leave the last one whole."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from saving_jobs import BRANCHY, NUM_FRAMES, PAPER, Clip, start, take

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.frames import open_frames
from sam2long.tracking import saving

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


def test_another_video_of_the_same_size(
    predictor: SAM2LongVideoPredictor, disks: Clip, saved_file: Path, path: Path
) -> None:
    """Told by its first, middle and last frame; what cannot be read, or was not saved, tells nothing."""
    backwards = disks[0][::-1].copy()
    with pytest.raises(ValueError, match="not saved with this video: frame 0 was another picture there"):
        predictor.load_state(saved_file, backwards)
    for t in (0, 9, 19):
        changed = disks[0].copy()
        changed[t, 0, 0, 0] ^= 1
        with pytest.raises(ValueError, match=f"frame {t} was another picture"):
            predictor.load_state(saved_file, changed)
    predictor.load_state(saved_file, list(disks[0]))
    with safe_open(saved_file, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    assert json.loads(metadata.pop("frames")).keys() == {"0", "9", "19"}
    save_file(tensors, path, metadata)
    predictor.load_state(path, backwards)  # an older version's


def test_frames_that_cannot_be_read_are_no_fingerprint(disks: Clip) -> None:
    frames = [*disks[0][:5]]
    frames[4] = frames[4][:50]  # of another size
    assert open_frames(frames).fingerprint().keys() == {"0", "2"}


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
        with pytest.raises(ImportError, match=r"pip install safetensors .extra sam2long\[state\]"):
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
