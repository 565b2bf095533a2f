"""Bad input: one line on stderr, exit status 2, no model built, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sam2long.cli.bench
import sam2long.cli.overlay_video
from sam2long.cli import main
from sam2long.model_choice import OFFICIAL_CONFIGS, ModelChoice
from sam2long.resources import resource_dir

HEIGHT, WIDTH = 30, 40


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a video of three frames and assorted broken things; building a model fails the test."""
    (tmp_path / "video").mkdir()
    for t in range(3):
        Image.new("RGB", (WIDTH, HEIGHT), (9 * t, 0, 0)).save(tmp_path / "video" / f"{t}.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    (tmp_path / "bad.yaml").write_text("num_pathways: [")
    (tmp_path / "unknown.yaml").write_text("pathways: 3")
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "black.png")
    Image.new("L", (WIDTH, HEIGHT - 1), 255).save(tmp_path / "small.png")
    (tmp_path / "bad.json").write_text(json.dumps([{"frame": 0, "obj_id": 1, "points": [[1]]}]))
    (tmp_path / "late.json").write_text(json.dumps([{"frame": 3, "obj_id": 1, "points": [[1, 1]]}]))
    twice = [{"frame": 0, "obj_id": 1, "points": [[1, 1]]}, {"frame": 0, "obj_id": 1, "box": [1, 1, 9, 9]}]
    (tmp_path / "twice.json").write_text(json.dumps(twice))
    away = [{"frame": 0, "obj_id": 1, "points": [[1, 1]]}, {"frame": 1, "obj_id": 2, "points": [[1, 1]], "labels": [0]}]
    (tmp_path / "away.json").write_text(json.dumps(away))
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)

    def build(_: ModelChoice, **settings: Any) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(ModelChoice, "build", build)
    return tmp_path


CLICK = "--point 3,4"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "required: COMMAND"),
        ("follow video", "invalid choice: 'follow'"),
        ("track", "required: VIDEO, -o/--out"),
        (f"track video {CLICK}", "required: -o/--out"),
        (f"track video {CLICK} -o out --speed 3", "unrecognized arguments: --speed 3"),
        ("track video -o out", "nothing to track: show an object with --point, --box, --mask or --prompts"),
        (f"track nowhere {CLICK} -o out", "nowhere"),
        (f"track empty {CLICK} -o out", "empty"),
        (f"track text.mp4 {CLICK} -o out", "text.mp4"),
        ("track video --point 3 -o out", "argument --point: expected x,y or x,y,label"),
        ("track video --point 3,4,5 -o out", "argument --point: expected x,y or x,y,label"),
        ("track video --point 40,4 -o out", "point (40, 4) lies outside the frame, 40 x 30 pixels"),
        ("track video --point 3,4,0 -o out", "object 1 is unknown"),
        ("track video --box 1,2,3 -o out", "argument --box: expected x0,y0,x1,y1"),
        ("track video --box 9,2,3,9 -o out", "box (9, 2, 3, 9) is empty"),
        ("track video --box 1,2,3,99 -o out", "reaches outside the frame"),
        ("track video --point 0.4,0.5 -o out", "0.4, 0.5 are fractions of it: multiply by its size"),
        ("track video --box 0.1,0.2,0.5,0.9 -o out", "coordinates are pixels of the frame, 40 x 30 pixels"),
        ("track video --box 0,0,1,1 -o out", "are fractions of it"),
        ("track video --mask none.png -o out", "mask none.png: no such file"),
        ("track video --mask text.mp4 -o out", "mask text.mp4: not a readable image"),
        ("track video --mask black.png -o out", "mask black.png is empty"),
        ("track video --mask small.png -o out", "the mask is 40 x 29 pixels, the frame, 40 x 30 pixels"),
        (f"track video --mask small.png {CLICK} -o out", "--mask already says"),
        (f"track video {CLICK} --frame 3 -o out", "frame 3 is out of range: the video has frames 0 to 2"),
        (f"track video {CLICK} --frame -1 -o out", "--frame -1 must be 0 or more"),
        (f"track video {CLICK} --frame one -o out", "argument --frame: invalid int value"),
        (f"track video {CLICK} --obj-id 0 -o out", "--obj-id 0 is out of range"),
        (f"track video {CLICK} --obj-id 65536 -o out", "--obj-id 65536 is out of range"),
        ("track video --prompts none.json -o out", "none.json: no such file"),
        ("track video --prompts bad.json -o out", "bad.json: [0].points[0]: expected [x, y], got [1]"),
        ("track video --prompts late.json -o out", "late.json: [0]: frame 3 is out of range"),
        ("track video --prompts twice.json -o out", "twice.json: [1]: object 1 has another prompt on frame 0"),
        ("track video --prompts away.json -o out", "away.json: [1]: object 2 is unknown"),
        (f"track video --prompts late.json {CLICK} -o out", "--prompts says what and when"),
        (f"track video {CLICK} --direction backward -o out", "nothing before frame 0"),
        (f"track video {CLICK} --checkpoint none.pt -o out", "no checkpoint none.pt"),
        (f"track video {CLICK} --checkpoint sam2.1_hiera_tiny.pt -o out", "sam2long download sam2.1_hiera_tiny"),
        (f"track video {CLICK} --checkpoint weights.pt -o out", "--checkpoint weights.pt needs --config"),
        (f"track video {CLICK} --checkpoint weights.pt --config none.yaml -o out", "none.yaml"),
        (f"track video {CLICK} --config demo -o out", "--config demo needs --checkpoint"),
        (f"track video {CLICK} --device warp -o out", "--device warp: no such kind of device"),
        (f"track video {CLICK} --device cuda:99 -o out", "--device cuda:99: PyTorch finds"),
        (f"track video {CLICK} --device meta -o out", "--device meta: use cpu, cuda"),
        ("demo --device warp -o out", "--device warp: no such kind of device"),
        (f"track video {CLICK} --tree best -o out", "best"),
        (f"track video {CLICK} --tree bad.yaml -o out", "bad.yaml"),
        (f"track video {CLICK} --tree unknown.yaml -o out", "unknown memory tree settings ['pathways']"),
        (f"track video {CLICK} --num-pathways 0 -o out", "num_pathways must be an integer >= 1, got 0"),
        (f"track video {CLICK} --iou-threshold 1.5 -o out", "iou_threshold must be"),
        (f"track video {CLICK} --uncertainty-threshold -1 -o out", "uncertainty_threshold must be"),
        (f"track video {CLICK} --max-pending -1 -o out", "--max-pending -1 must be 0 or more"),
        (f"track video {CLICK} --fps 0 -o out", "--fps 0 must be above 0"),
        (f"track video {CLICK} -o file", "file is a file: give -o a folder"),
        (f"track video {CLICK} -o video", "video already holds files"),
        ("demo -o video", "video already holds files"),
    ],
)
def test_bad_input(command: str, message: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(work.rglob("*"))
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("sam2long: error: ")
    assert message in line
    assert sorted(work.rglob("*")) == before


def test_overlay_without_av_names_the_extra(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sam2long.cli.overlay_video, "find_spec", lambda _: None)
    assert main(["track", "video", "--point", "3,4", "-o", "out"]) == 2
    assert "pip install av (extra sam2long[video]), or add --no-overlay" in capsys.readouterr().err


def test_weights_that_do_not_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only loading tells that a checkpoint is damaged or of another model: still one line and status 2."""
    import torch

    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "0.png")
    config = str(resource_dir("configs") / "demo.yaml")
    torch.save({"model": {"other": torch.zeros(1)}}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    for name in ("other.pt", "list.pt", "broken.pt"):
        out = tmp_path / "out"
        weights = ["--config", config, "--checkpoint", str(tmp_path / name)]
        assert main(["track", str(tmp_path / "0.png"), "--point", "3,4", *weights, "-o", str(out)]) == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if "sam2long: error" in line)
        assert name in line
        assert len(line) < 600
        assert not out.exists()


@pytest.mark.parametrize("name", sorted(OFFICIAL_CONFIGS))
def test_official_checkpoints_know_their_config(name: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / f"{name}.pt").write_bytes(b"weights")
    chosen: list[ModelChoice] = []

    def build(choice: ModelChoice, **settings: Any) -> None:
        chosen.append(choice)
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelChoice, "build", build)
    command = [
        "track",
        "video",
        "--point",
        "3,4",
        "--checkpoint",
        f"{name}.pt",
        "-o",
        "out",
        "--tree",
        "authors_command",
    ]
    assert main(command) == 130
    (choice,) = chosen
    version, size = name.split("_hiera_")
    letter = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}[size]
    assert choice.config == f"configs/{version}/{version}_hiera_{letter}.yaml"
    assert choice.memory_tree.iou_threshold == 0.1


def test_benchmarks_are_found_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    speed = ModuleType("speed")
    speed.add_arguments = lambda parser: parser.add_argument("--runs", type=int, required=True)
    speed.run = lambda args: args.runs
    monkeypatch.setitem(sys.modules, "a_benchmark", speed)
    monkeypatch.setattr(sam2long.cli.bench, "BENCHMARKS", {"speed": "a_benchmark"})
    assert main(["bench", "speed", "--runs", "7"]) == 7
    assert main(["bench", "speed"]) == 2
    assert "required: --runs" in capsys.readouterr().err
    assert main(["bench", "height"]) == 2
    assert "invalid choice: 'height'" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    helps: list[Callable[[], int]] = [
        lambda: main(["--help"]),
        lambda: main(["--version"]),
        lambda: main(["track", "--help"]),
        lambda: main(["demo", "--help"]),
    ]
    for run in helps:
        with pytest.raises(SystemExit) as stop:
            run()
        assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("track", "demo", "--point", "--num-pathways", "sam2long 0."))


@pytest.mark.parametrize(
    "command", ["", "track", "demo", "eval", *(f"bench {name}" for name in ("long", "speed", "synthetic"))]
)
def test_help_needs_no_torch(command: str) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from sam2long.cli import main; "
        f"main([*{command.split()!r}, sys.argv[1]])"
    )
    for option in ("--help", *(["--version"] if not command else [])):
        done = subprocess.run([sys.executable, "-c", program, option], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "sam2long" in done.stdout
        assert done.stderr == ""
