"""docs/exports.md: its programs run as they are printed, and its table has every format."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from objects import HEIGHT, WIDTH
from PIL import Image
from support import ROOT, build_golden, moving_disks, prompts

from sam2long.cli import main
from sam2long.exports import FORMATS

TEXT = (ROOT / "docs/exports.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


def test_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("av", "pycocotools", "supervision"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    clip = moving_disks(4)
    (tmp_path / "VIDEO").mkdir()
    for t, frame in enumerate(clip[0]):
        Image.fromarray(frame).save(tmp_path / "VIDEO" / f"{t}.png")
    exporting, detecting = BLOCKS
    predictor = build_golden()
    with torch.inference_mode():
        state = predictor.init_state("VIDEO")
        prompts(clip)["mask"](predictor, state)
        names: dict[str, Any] = {"predictor": predictor, "state": state}
        exec(exporting, names)
        assert {path.name for path in tmp_path.iterdir()} == {"VIDEO", "coco.json", "objects.csv", "overlay.mp4"}
        exec(detecting, names)
    assert names["frame_idx"] == 3
    assert names["found"]["class_name"].tolist() == ["mouse"] * len(names["labels"])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocotools")
    (tmp_path / "results" / "masks").mkdir(parents=True)
    Image.new("L", (WIDTH, HEIGHT), 1).save(tmp_path / "results" / "masks" / "00000.png")
    (tmp_path / "results" / "run.json").write_text('{"video": "-", "num_frames": 1, "prompts": [{"obj_id": 1}]}')
    monkeypatch.chdir(tmp_path)
    command, while_tracking = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.S)
    program, *arguments = shlex.split(command)
    assert program == "sam2long"
    assert main(arguments) == 0
    made = {path.name for path in (tmp_path / "results" / "exports").iterdir()}
    assert made == {"coco.json", "objects.csv"}
    (tmp_path / "VIDEO").mkdir()
    Image.new("RGB", (400, 360)).save(tmp_path / "VIDEO" / "0.png")
    assert main([*shlex.split(while_tracking)[1:], "--overwrite", "--no-overlay"]) == 0
    assert {path.name for path in (tmp_path / "results" / "exports").iterdir()} == made


def test_the_table() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)`", TEXT, flags=re.M)
    assert [name for name, _ in rows] == list(FORMATS)
    for name, file in rows:
        assert file.split("/")[0] == FORMATS[name].file
