"""`--frames`, `--every`, `--precision`, `--json-progress`, and a run made again from its run.json."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tracked_runs import HEIGHT, WIDTH, clip, read_masks, read_strictly

from sam2long.cli import main
from sam2long.frame_bar import FrameBar
from sam2long.frames import ChosenFrames, open_frames
from sam2long.frames.display import Display
from sam2long.model_choice import embedded_model

NUM_FRAMES = 9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "video"
    path.mkdir()
    for t, frame in enumerate(clip(NUM_FRAMES)):
        Image.fromarray(frame).save(path / f"{t:05d}.png")
    return path


def test_chosen_frames_are_those_of_the_library(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the numbers they have in the video, in options and results."""
    out = tmp_path / "out"
    command = ["track", str(folder), "--point", "58,45", "-o", str(out), "--frames", "1:8", "--every", "2"]
    assert main([*command, "--frame", "4"]) == 2
    assert "frame 4 is not among those that --frames and --every choose: show the object on frame 3" in (
        capsys.readouterr().err
    )
    assert not out.exists()
    assert main([*command, "--frame", "3", "--no-overlay", "--json-progress"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == ["start", "end"]
    assert (events[0]["frames"], events[-1]["frames"], events[-1]["outcome"]) == (3, 3, "finished")

    predictor = embedded_model("cpu").build()
    state = predictor.init_state(clip(NUM_FRAMES)[1:8:2])
    predictor.add_new_points_or_box(state, 1, 1, points=[[58, 45]], labels=[1])
    expected = {f"{1 + 2 * t:05d}": (m[0, 0] > 0).numpy() for t, _, m in predictor.propagate_in_video(state)}
    written = read_masks(out)
    assert list(written) == list(expected) == ["00003", "00005", "00007"]
    assert all(np.array_equal(written[name] == 1, mask) for name, mask in expected.items())
    (scores,) = read_strictly(out / "scores.json")["objects"]
    assert [(of["frame"], of["name"]) for of in scores["frames"]] == [(5, "00005"), (7, "00007")]


def test_images_are_turned_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tag = Image.Exif()
    tag[0x0112] = 3  # upside down
    frames = clip(3)
    for name, exif in (("plain", Image.Exif()), ("turned", tag)):
        (tmp_path / name).mkdir()
        for t, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / name / f"{t}.jpg", quality=95, exif=exif)

    def track(name: str, out: str, *options: str) -> int:
        command = ["track", str(tmp_path / name), "--point", "40,45", "--no-overlay", "-o", str(tmp_path / out)]
        return main([*command, *options])

    assert track("plain", "expected") == track("turned", "stored", "--no-upright") == track("turned", "upright") == 0
    expected, stored, upright = (read_masks(tmp_path / out) for out in ("expected", "stored", "upright"))
    assert all(np.array_equal(stored[name], mask) for name, mask in expected.items())
    assert not np.array_equal(upright["2"], expected["2"])
    assert track("turned", "stored", "--resume") == 2
    assert "upright False there, True here" in capsys.readouterr().err


def test_chosen_frames_stay_as_long_as_those_left_out() -> None:
    source = open_frames(clip(NUM_FRAMES))
    source.display = Display(Fraction(30), ticks=np.array([0, 2, 3, 7, 9, 10, 12, 20, 21]), tick=Fraction(1, 90))
    chosen = ChosenFrames(source, range(1, 8, 3))
    assert [chosen.name(t) for t in range(len(chosen))] == ["00001", "00004", "00007"]
    assert np.array_equal(chosen[-1], source[7])
    assert chosen.display.frame_rate == 10
    assert chosen.display.ticks is not None
    assert chosen.display.ticks.tolist() == [0, 7, 18]
    for frames in (range(0), range(3, 10), range(-1, 2), range(5, 1, -1)):
        with pytest.raises(ValueError, match="chooses no frames"):
            ChosenFrames(source, frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "5:5"], "expected A:B with 0 <= A < B"),
        (["--frames", "5"], "expected A:B, frames A to B - 1, got '5'"),
        (["--frames", "9:"], "--frames 9: is beyond the video, which has frames 0 to 8"),
        (["--every", "0"], "expected a whole number from 1"),
        (["--image-size", "100"], "must be a multiple of 32"),
        (["--precision", "fp16", "--device", "cpu"], "--precision fp16 needs a CUDA device, not cpu"),
        (["--save-every", "-1"], "--save-every -1 must be 0 or more seconds"),
    ],
)
def test_bad_choices(
    options: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", str(folder), "--point", "40,45", "-o", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bf16_and_another_size_are_what_autocast_and_the_builder_compute(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--precision", "bf16", "--image-size", "192", "--no-postprocessing", "--no-overlay", "--device", "cpu"]
    assert main(["track", str(folder), "--point", "40,45", "-o", str(out), *options]) == 0
    predictor = embedded_model("cpu").build(image_size=192, apply_postprocessing=False)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        state = predictor.init_state(str(folder))
        predictor.add_new_points_or_box(state, 0, 1, points=[[40, 45]], labels=[1])
        masks = {f"{t:05d}": (m[0, 0] > 0).numpy() for t, _, m in predictor.propagate_in_video(state)}
    written = read_masks(out)
    assert written.keys() == masks.keys()
    assert all(np.array_equal(written[name] == 1, mask) for name, mask in masks.items())
    settings = read_strictly(out / "run.json")["settings"]
    assert (settings["precision"], settings["image_size"], settings["apply_postprocessing"]) == ("bf16", 192, False)


def test_run_json_is_enough_to_run_it_again(folder: Path, tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[30:60, 26:54] = 3
    Image.fromarray(mask).save(tmp_path / "mask.png")
    out, again = tmp_path / "out", tmp_path / "again"
    command = ["track", str(folder), "--no-overlay", "-o"]
    assert main([*command, str(out), "--mask", str(tmp_path / "mask.png"), "--obj-id", "3"]) == 0
    run = read_strictly(out / "run.json")
    assert run["prompts"] == [{"frame": 0, "obj_id": 3, "mask": str(tmp_path / "mask.png")}]
    (by,) = run["runs"]
    assert {"torch", "sam2", "sam2long", "python", "device", "command", "started", "ended", "seconds"} <= by.keys()
    (tmp_path / "prompts.json").write_text(json.dumps(run["prompts"]))
    assert main([*command, str(again), "--prompts", str(tmp_path / "prompts.json")]) == 0
    assert read_strictly(again / "run.json")["prompts_sha256"] == run["prompts_sha256"]
    for name, ids in read_masks(out).items():
        assert np.array_equal(read_masks(again)[name], ids)


def test_the_time_left_leaves_the_first_frame_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    now = 0.0
    with FrameBar(total=11, disable=False) as bar:
        bar._time = lambda: now
        bar.start_t = bar.last_print_t = now
        now = 60.0  # the first frame took a minute
        bar.update()
        now = 62.0
        bar.update(2)  # the others a second each
        of = bar.format_dict
    assert (of["n"], of["initial"], of["elapsed"]) == (3, 1, 2.0)
