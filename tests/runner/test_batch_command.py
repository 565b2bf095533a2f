"""`sam2long batch`: a list of videos with prompts of all kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_trees import read_pngs, write_frames
from PIL import Image
from support import GOLDEN

from sam2long.cli import main

MODEL = ["--config", str(GOLDEN / "model.yaml"), "--checkpoint", str(GOLDEN / "model.pt"), "--device", "cpu"]
CLICK = [{"frame": 0, "obj_id": 1, "points": [[30, 45]]}]


def write_list(home: Path, *jobs: Any) -> Path:
    path = home / "jobs.jsonl"
    path.write_text("\ufeff" + "\n".join(job if isinstance(job, str) else json.dumps(job) for job in jobs) + "\n\n")
    return path


def batch(path: Path, *options: str) -> int:
    return main(["batch", str(path), "-o", str(path.parent / "out"), *MODEL, "--quiet", *options])


def test_videos_with_prompts_of_all_kinds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    maps = write_frames(tmp_path / "one", 5)
    write_frames(tmp_path / "two", 4, 1)
    Image.fromarray(np.where(maps[2] == 2, 255, 0).astype(np.uint8)).save(tmp_path / "second.png")
    (tmp_path / "prompts.json").write_text(json.dumps([{"frame": 1, "obj_id": 7, "box": [10, 20, 60, 70]}]))
    jobs: list[Any] = [
        {"video": "one", "prompts": [*CLICK, {"frame": 2, "obj_id": 2, "mask": "second.png"}]},
        {"video": "two", "prompts": "prompts.json", "output": "other"},
    ]
    assert batch(write_list(tmp_path, *jobs)) == 0
    found = read_pngs(tmp_path / "out" / "one" / "masks")
    assert list(found) == [f"{t:05d}.png" for t in range(5)]
    assert all(2 not in found[f"{t:05d}.png"] for t in (0, 1))
    assert 2 in found["00002.png"]
    other = read_pngs(tmp_path / "out" / "other" / "masks")
    assert list(other) == ["00001.png", "00002.png", "00003.png"]
    # as `track` would, for a single object
    track = ["track", str(tmp_path / "two"), "--prompts", str(tmp_path / "prompts.json"), "--no-overlay"]
    assert main([*track, "-o", str(tmp_path / "tracked"), *MODEL]) == 0
    masks = read_pngs(tmp_path / "tracked" / "masks")
    assert masks.keys() == other.keys()
    assert any(mask.any() for mask in masks.values())
    assert all(np.array_equal(masks[name], other[name]) for name in other)
    # lines may be added, not changed
    write_frames(tmp_path / "three", 3, 2)
    assert batch(write_list(tmp_path, *jobs, {"video": "three", "prompts": CLICK})) == 0
    assert len(read_pngs(tmp_path / "out")) == 5 + 3 + 3
    jobs[1]["prompts"] = CLICK
    capfd.readouterr()
    assert batch(write_list(tmp_path, *jobs)) == 2
    assert "out: tracked when its frames or what is shown of it" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", 'line 1: expected {"video": ..., "prompts": ...}'),
        ({"video": "one"}, 'line 1: expected {"video": ..., "prompts": ...}'),
        ({"video": "one", "prompts": CLICK, "frames": 3}, "line 1: unknown key frames"),
        ({"video": 3, "prompts": CLICK}, 'line 1: "video": expected a path'),
        ({"video": "none", "prompts": CLICK}, "line 1: no file or folder"),
        (
            {"video": "one", "prompts": []},
            "frame and not an empty one: nothing would be shown",
        ),
        ({"video": "one", "prompts": "none.json"}, "no such file"),
        ({"video": "one", "prompts": [{"frame": 9, "obj_id": 1, "points": [[1, 1]]}]}, "frame 9 is out of range"),
        ({"video": "one", "prompts": [{"frame": 0, "obj_id": 1, "points": [[500, 1]]}]}, "lies outside the frame"),
        ({"video": "one", "prompts": CLICK, "output": "../x"}, "it is the name of a folder"),
    ],
)
def test_bad_lines_are_refused_before_work_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: Any, message: str
) -> None:
    write_frames(tmp_path / "one", 2)
    assert batch(write_list(tmp_path, job)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lists_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_frames(tmp_path / "one", 2)
    job = {"video": "one", "prompts": CLICK}
    for path, message in (
        (write_list(tmp_path, job, job), "line 2: two jobs write to one"),
        (tmp_path / "missing.jsonl", "not a readable file"),
    ):
        assert batch(path) == 2
        assert message in capsys.readouterr().err
    assert batch(write_list(tmp_path)) == 2
    assert "is empty" in capsys.readouterr().err
