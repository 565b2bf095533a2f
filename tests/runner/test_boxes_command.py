"""`sam2long boxes`: from a box to boxes, in the files that the evaluators read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_trees import write_frames
from PIL import Image

from sam2long.cli import main
from sam2long.evaluation import evaluate
from sam2long.model_choice import embedded_model
from sam2long.runner.box_task import box_around
from sam2long.synthetic import render, sample_scene


def write_benchmark(home: Path, folder: str, images: str, separator: str = ",") -> np.ndarray:
    """A synthetic clip and the boxes of its object; frames on which it does not show have its last box."""
    clip = render(sample_scene("easy", 5, num_frames=10), 96)
    (home / folder / images).mkdir(parents=True)
    boxes: list[tuple[float, ...]] = []
    for t, frame in enumerate(clip.frames):
        Image.fromarray(frame).save(home / folder / images / f"{t + 1:08d}.jpg", quality=95)
        boxes.append(box_around(torch.from_numpy(clip.masks[t, 0]).float()) or boxes[-1])
    np.savetxt(home / folder / "groundtruth.txt", boxes, fmt="%d", delimiter=separator)
    return np.array(boxes, dtype=float)


def test_lasot_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = write_benchmark(tmp_path / "data", "cat/cat-1", "img")
    for flags in ("full_occlusion", "out_of_view"):
        (tmp_path / "data" / "cat" / "cat-1" / f"{flags}.txt").write_text(",".join("0" * 10))
    assert main(["boxes", "lasot", str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--baseline", "--quiet"]) == 0
    found = np.loadtxt(tmp_path / "out" / "cat-1.txt", delimiter=",")
    assert found.shape == (10, 4)
    assert np.array_equal(found[0], boxes[0])
    success = [evaluate("lasot", tmp_path / "data", tmp_path / of)["global"]["success"] for of in ("out", "out_sam2")]
    assert min(success) > 50  # an easy clip of the kind the embedded model was made for
    expected = boxes_by_hand(tmp_path / "data" / "cat" / "cat-1" / "img", boxes[0])
    assert np.array_equal(np.loadtxt(tmp_path / "out_sam2" / "cat-1.txt", delimiter=","), expected)
    capsys.readouterr()


@torch.inference_mode()
def boxes_by_hand(images: Path, first: np.ndarray) -> np.ndarray:
    """What one pathway answers through the predictor's own methods."""
    predictor = embedded_model("cpu").build(apply_postprocessing=False)
    state = predictor.init_state(str(images), memory_tree={"num_pathways": 1})
    x, y, width, height = first
    predictor.add_new_points_or_box(state, 0, 1, box=[x, y, x + width, y + height])
    found = [box_around(logits[0, 0]) for _, _, logits in predictor.propagate_in_video(state)]
    assert all(found)
    return np.array([tuple(first), *found[1:]], dtype=float)


def test_got10k_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "GOT-10k_Val_000001"
    write_benchmark(tmp_path / "data" / "val", name, ".")
    home = tmp_path / "data" / "val" / name
    (home.parent / "list.txt").write_text(f"{name}\n")
    (home / "cover.label").write_text("8\n" * 10)
    (home / "meta_info.ini").write_text("[METAINFO]\nresolution: (96, 96)\n")
    options = ["--tracker", "mine", "--num_pathway", "1", "--quiet"]
    assert main(["boxes", "got10k", str(tmp_path / "data"), "-o", str(tmp_path / "out"), *options]) == 0
    times = np.loadtxt(tmp_path / "out" / "GOT-10k" / "mine" / name / f"{name}_time.txt")
    assert times.shape == (10,)
    assert (times > 0).all()
    assert evaluate("got10k", tmp_path / "data", tmp_path / "out")["global"]["ao"] > 0.5
    assert (
        main(["boxes", "got10k", str(tmp_path / "data"), "-o", str(tmp_path / "out"), *options]) == 0
    )  # nothing to do
    capsys.readouterr()


def test_the_box_around_a_mask() -> None:
    logits = torch.full((6, 8), -1.0)
    assert box_around(logits) is None
    logits[2, 3] = logits[4, 6] = 1.0
    assert box_around(logits) == (3, 2, 4, 3)


def test_a_box_beyond_the_image_fails_that_video_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, box in (("cat-1", "500,20,30,40"), ("cat-2", "100,70,60,60")):
        write_frames(tmp_path / "data" / name / "img", 3)
        (tmp_path / "data" / name / "groundtruth.txt").write_text(f"{box}\n" * 3)
    (tmp_path / "data" / "cat-3" / "img").mkdir(parents=True)
    out = tmp_path / "out"
    assert main(["boxes", "lasot", str(tmp_path / "data"), "-o", str(out), "--num_pathway", "1"]) == 1
    printed = capfd.readouterr()
    assert "lies outside the image, 128x96" in printed.err
    assert "left out, as they have no annotation: 1 folders (cat-3)" in printed.out
    assert [path.name for path in out.glob("*.txt")] == ["cat-2.txt"]


def test_a_tracker_is_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes", "got10k", str(tmp_path), "-o", str(tmp_path / "out"), "--tracker", "../x"]) == 2
    assert "it is the name of a folder" in capsys.readouterr().err
