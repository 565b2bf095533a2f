"""Frames held from the start, and those of sam2's asynchronous loader."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_pictures import picture
from PIL import Image
from sam2.utils.misc import load_video_frames_from_jpg_images
from support import build_golden
from video_files import write_clip

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.frames import FrameError, ModelFrames, open_frames

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jpegs").mkdir()
    for t in range(8):
        Image.fromarray(picture(t, 90, 120)).save(tmp_path / "jpegs" / f"{t:05d}.jpg")
    return tmp_path / "jpegs"


def test_preloaded_frames_outlive_their_folder(folder: Path) -> None:
    expected = ModelFrames(open_frames(folder), 64, CPU)[:]
    frames = ModelFrames(open_frames(folder), 64, CPU, preload=True)
    shutil.rmtree(folder)
    for images in (frames, copy.deepcopy(frames), pickle.loads(pickle.dumps(frames)), copy.copy(frames)):
        assert torch.equal(images[:], expected)
        assert torch.equal(images[-1], expected[-1])
    copied = copy.deepcopy(frames)
    assert copied._reader.held()[3] is frames._reader.held()[3], "held once"


def test_a_state_is_tracked_without_its_files(folder: Path, predictor: SAM2LongVideoPredictor, tmp_path: Path) -> None:
    video = write_clip(tmp_path / "a.mp4", num_frames=8)
    for path, remove in ((folder, shutil.rmtree), (video, Path.unlink)):
        answers = []
        for preload in (False, True):
            state = predictor.init_state(str(path), preload=preload)
            if preload:
                remove(path)
            predictor.add_new_points_or_box(state, 0, 1, points=[[40, 40]], labels=[1])
            answers.append([masks.clone() for _, _, masks in predictor.propagate_in_video(state)])
        assert len(answers[0]) == 8
        assert torch.equal(torch.stack(answers[0]), torch.stack(answers[1]))


def test_a_folder_that_vanishes_is_an_error_at_the_frame(folder: Path, predictor: SAM2LongVideoPredictor) -> None:
    state = predictor.init_state(str(folder))
    predictor.add_new_points_or_box(state, 0, 1, points=[[40, 40]], labels=[1])
    state["images"].close()  # what was read ahead is known
    shutil.rmtree(folder)
    with pytest.raises(FrameError, match=r"frame 1 of .*00001\.jpg: the file has vanished"):
        list(predictor.propagate_in_video(state))


def test_preloading_names_a_broken_frame_at_once(folder: Path, predictor: SAM2LongVideoPredictor) -> None:
    (folder / "00005.jpg").write_bytes(b"nothing")
    with pytest.raises(FrameError, match="frame 5 of"):
        predictor.init_state(str(folder), preload=True)


@pytest.mark.parametrize("image_size", [64, 1024])
def test_values_of_the_asynchronous_loader(folder: Path, image_size: int) -> None:
    theirs, _, _ = load_video_frames_from_jpg_images(
        str(folder), image_size, True, async_loading_frames=True, compute_device=CPU
    )
    ours = ModelFrames(open_frames(folder), image_size, CPU, as_async_loader=True)
    plain = ModelFrames(open_frames(folder), image_size, CPU)
    for t in range(8):
        assert torch.equal(ours[t], theirs[t])
        assert ours[t].stride() == theirs[t].stride()
    assert ours.dtype == ours[0].dtype == torch.float64
    assert not torch.equal(ours[0].float(), plain[0]), "else nothing had to be done"
    assert torch.equal(pickle.loads(pickle.dumps(ours))[2], theirs[2])


def test_one_pathway_answers_as_sam2_loads_asynchronously(folder: Path, sam2_predictor: object) -> None:
    ours = build_golden(memory_tree=MemoryTreeConfig(num_pathways=1))
    answers = []
    for predictor in (ours, sam2_predictor):
        state = predictor.init_state(str(folder), async_loading_frames=True)
        predictor.add_new_points_or_box(state, 0, 1, points=np.array([[40.0, 40.0]]), labels=np.array([1]))
        answers.append([masks.clone() for _, _, masks in predictor.propagate_in_video(state)])
    assert len(answers[0]) == 8
    assert torch.equal(torch.stack(answers[0]), torch.stack(answers[1]))
