"""`sam2long track` from the outside: what it writes, and that it is what the library computes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tracked_runs import HEIGHT, NUM_FRAMES, WIDTH, clip, read_masks, read_strictly

from sam2long import MemoryTreeConfig
from sam2long.cli import main
from sam2long.cli.overlay_video import mp4_writer
from sam2long.cli.prompts import MAX_OBJ_ID
from sam2long.cli.track_job import id_map
from sam2long.model_choice import embedded_model
from sam2long.views.visualize import davis_palette

av = pytest.importorskip("av")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "video"
    path.mkdir()
    for t, frame in enumerate(clip()):
        Image.fromarray(frame).save(path / f"frame_{t:03d}.png")
    return path


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_everything_a_run_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["track", str(folder), "--point", "40,45", "--point", "90,55,0", "-o", str(out)]) == 0
    assert names(out) == ["masks", "overlay.mp4", "run.json", "scores.json", "state"]
    assert names(out / "masks") == [f"frame_{t:03d}.png" for t in range(NUM_FRAMES)]

    image = Image.open(out / "masks" / "frame_000.png")
    assert image.mode == "P"
    assert image.size == (WIDTH, HEIGHT)
    assert image.getpalette()[: 3 * 256] == davis_palette().flatten().tolist()
    pixels = np.array(image)
    assert set(np.unique(pixels)) == {0, 1}
    assert pixels[45, 40] == 1

    scores = read_strictly(out / "scores.json")
    (of_object,) = scores["objects"]
    assert of_object["obj_id"] == 1
    assert [frame["frame"] for frame in of_object["frames"]] == list(range(1, NUM_FRAMES))
    for frame in of_object["frames"]:
        assert frame["name"] == f"frame_{frame['frame']:03d}"
        assert 0 <= frame["predicted_iou"] <= 1
        assert frame["margin"] is None or frame["margin"] >= 0
        assert 1 <= frame["distinct_pathways"] <= 3
        assert {"occlusion_score", "cumulative_score"} < frame.keys()

    run = read_strictly(out / "run.json")
    assert run["memory_tree"]["num_pathways"] == 3
    assert run["prompts"][0]["points"] == [[40, 45], [90, 55]]

    printed = capsys.readouterr().out
    assert all(str(out / name) in printed for name in ("masks", "scores.json", "overlay.mp4"))


def test_overlay_plays_everywhere(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["track", str(folder), "--box", "22,28,58,63", "-o", str(out)]) == 0
    with av.open(str(out / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (WIDTH + 1, HEIGHT + 1)
        assert stream.average_rate == 24
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == NUM_FRAMES
    # Under the mask the picture is no longer the video's; away from it it is, but for the codec.
    mask = np.array(Image.open(out / "masks" / "frame_003.png")) > 0
    change = np.abs(frames[3][:HEIGHT, :WIDTH].astype(int) - clip()[3]).mean(axis=2)
    assert mask.any()
    assert change[mask].mean() > 20
    assert change[-20:].mean() < 12


def test_masks_are_what_the_library_computes(folder: Path, tmp_path: Path) -> None:
    prompts = [
        {"frame": 0, "obj_id": 7, "points": [[40, 45]]},
        {"frame": 0, "obj_id": 255, "box": [74, 38, 106, 72]},
    ]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    out = tmp_path / "out"
    command = ["track", str(folder), "--prompts", str(tmp_path / "prompts.json"), "-o", str(out), "--no-overlay"]
    assert main([*command, "--num-pathways", "2", "--uncertainty-threshold", "9", "--device", "cpu"]) == 0
    assert not (out / "overlay.mp4").exists()

    predictor = embedded_model("cpu").build()
    tree = MemoryTreeConfig(num_pathways=2, uncertainty_threshold=9.0)
    state = predictor.init_state(str(folder), memory_tree=tree)
    predictor.add_new_points_or_box(state, 0, 7, points=[[40, 45]], labels=[1])
    predictor.add_new_points_or_box(state, 0, 255, box=[74, 38, 106, 72])
    written = read_masks(out)
    seen = 0
    for t, obj_ids, logits in predictor.propagate_in_video(state):
        assert obj_ids == [7, 255]
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        first, second = logits[:, 0].numpy()
        expected[(first > 0) & (first >= second)] = 7
        expected[(second > 0) & (second > first)] = 255
        assert (written[f"frame_{t:03d}"] == expected).all()
        seen += 1
    assert seen == len(written) == NUM_FRAMES

    by_object = {entry["obj_id"]: entry["frames"] for entry in read_strictly(out / "scores.json")["objects"]}
    for obj_id in (7, 255):
        scores = predictor.get_scores(state, obj_id)
        assert {frame["frame"]: frame["predicted_iou"] for frame in by_object[obj_id]} == {
            t: pytest.approx(score.predicted_iou) for t, score in scores.items()
        }


def test_id_map_gives_overlaps_to_the_larger_logit() -> None:
    logits = torch.tensor([[[[1.0, 1.0, -1.0, 3.0]]], [[[2.0, 0.5, -2.0, -1024.0]]], [[[0.0, -1.0, 0.0, 3.5]]]])
    pixels = id_map(logits, [3, 255, 12])
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[255, 3, 0, 12]]
    assert max(pixels.flat) <= MAX_OBJ_ID


def test_all_objects_of_a_palette_mask(folder: Path, tmp_path: Path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[30:60, 26:54] = 2
    pixels[42:70, 76:104] = 9
    mask = Image.fromarray(pixels)
    mask.putpalette(davis_palette().tobytes())
    mask.save(tmp_path / "first.png")
    command = ["track", str(folder), "--mask", str(tmp_path / "first.png"), "--no-overlay", "-o"]
    assert main([*command, str(tmp_path / "all")]) == 0
    assert set(np.unique(read_masks(tmp_path / "all")["frame_000"])) == {0, 2, 9}
    assert main([*command, str(tmp_path / "one"), "--obj-id", "9"]) == 0
    assert set(np.unique(read_masks(tmp_path / "one")["frame_000"])) == {0, 9}


def test_an_object_shown_later_is_tracked_before_too(folder: Path, tmp_path: Path) -> None:
    prompts = [
        {"frame": 0, "obj_id": 1, "points": [[40, 45]]},
        {"frame": 3, "obj_id": 2, "box": [56, 38, 88, 72]},
    ]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    out = tmp_path / "out"
    assert main(["track", str(folder), "--prompts", str(tmp_path / "prompts.json"), "-o", str(out)]) == 0
    masks = read_masks(out)
    assert len(masks) == NUM_FRAMES
    assert {1, 2} <= set(np.unique(masks["frame_003"]))


@pytest.mark.parametrize(
    ("direction", "tracked"), [("forward", [4, 5, 6]), ("backward", [0, 1, 2, 3, 4]), ("both", [0, 1, 2, 3, 4, 5, 6])]
)
def test_direction(direction: str, tracked: list[int], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["track", str(folder), "--point", "64,45", "--frame", "4", "--direction", direction, "-o", str(out)]
    assert main(command) == 0
    assert names(out / "masks") == [f"frame_{t:03d}.png" for t in tracked]
    with av.open(str(out / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == NUM_FRAMES  # in step with the video


def test_video_file_keeps_its_rate(tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    with mp4_writer(video, Fraction(30000, 1001), (HEIGHT, WIDTH)) as write:
        for frame in clip():
            write(frame)
    out = tmp_path / "out"
    assert main(["track", str(video), "--point", "40,45", "--num-pathways", "1", "-o", str(out)]) == 0
    assert names(out / "masks") == [f"{t:05d}.png" for t in range(NUM_FRAMES)]
    assert Image.open(out / "masks" / "00000.png").size == (WIDTH + 1, HEIGHT + 1)
    assert read_strictly(out / "scores.json") == {"objects": [{"obj_id": 1, "frames": []}]}  # SAM 2 keeps none
    with av.open(str(out / "overlay.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
        assert sum(1 for _ in container.decode(video=0)) == NUM_FRAMES
    assert main(["track", str(video), "--point", "40,45", "--fps", "12.5", "-o", str(tmp_path / "slow")]) == 0
    with av.open(str(tmp_path / "slow" / "overlay.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(25, 2)


def test_overwrite_replaces_a_run_and_nothing_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["track", str(folder), "--point", "40,45", "-o", str(out), "--no-overlay"]
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert main(command) == 2
    assert "already holds files (notes.txt ...)" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    (out / "masks" / "stale.png").write_bytes(b"of an earlier run")
    (out / "masks" / ".stale.png.part").write_bytes(b"of a killed one")

    assert main(command) == 2
    assert "already holds results of an earlier run" in capsys.readouterr().err
    assert (out / "masks" / "stale.png").exists()
    assert main([*command, "--overwrite"]) == 0
    assert names(out / "masks") == [f"frame_{t:03d}.png" for t in range(NUM_FRAMES)]
    assert (out / "notes.txt").read_text() == "mine"


def test_a_damaged_frame_ends_the_run_and_keeps_what_came_before(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "frame_004.png").write_bytes((folder / "frame_004.png").read_bytes()[:200])
    out = tmp_path / "out"
    assert main(["track", str(folder), "--point", "40,45", "-o", str(out)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("sam2long: error: frame 4 of ")
    assert str(out) in error
    assert names(out / "masks") == [f"frame_{t:03d}.png" for t in range(4)]
    assert names(out) == ["masks", "run.json", "scores.json"]
