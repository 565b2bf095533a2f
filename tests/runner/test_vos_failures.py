"""Videos that cannot be tracked are named at the end and stop no other."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_trees import plain_dataset, write_labels
from PIL import Image
from support import GOLDEN
from vos_jobs import vos_job

from sam2long.cli import main
from sam2long.runner import run_job

MODEL = ["--config", str(GOLDEN / "model.yaml"), "--checkpoint", str(GOLDEN / "model.pt"), "--device", "cpu"]


def vos(home: Path, *options: str) -> int:
    folders = ["--base_video_dir", str(home / "JPEGImages"), "--input_mask_dir", str(home / "Annotations")]
    return main(["vos", *folders, "--output_mask_dir", str(home / "out"), *MODEL, *options])


def test_a_broken_video_is_reported_and_stops_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain_dataset(tmp_path, {"alpha": 6, "beta": 5, "gamma": 4, "delta": 3})
    frame = tmp_path / "JPEGImages" / "alpha" / "00003.jpg"
    frame.write_bytes(frame.read_bytes()[:200])
    (tmp_path / "Annotations" / "beta" / "00000.png").unlink()
    write_labels(tmp_path / "Annotations" / "gamma", {"00000": np.ones((5, 5), np.uint8)})
    assert vos(tmp_path, "--num_pathway", "1") == 1
    error = capfd.readouterr().err
    assert "failed: alpha: frame 3 of" in error
    assert "failed: beta: " in error
    assert "00000.png is missing" in error
    assert "failed: gamma: " in error
    assert "is 5x5 pixels" in error
    assert "sam2long: error: 3 videos failed (alpha, beta, gamma)" in error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["delta", "run.json"]
    failed = json.loads((tmp_path / "out" / "run.json").read_text())["runs"][0]["failed"]
    assert failed.keys() == {"alpha", "beta", "gamma"}
    Image.new("RGB", (128, 96)).save(frame)
    assert vos(tmp_path, "--num_pathway", "1") == 1
    assert (tmp_path / "out" / "alpha").is_dir()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain_dataset(tmp_path)
    (tmp_path / "out").mkdir(mode=0o500)
    assert vos(tmp_path) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_a_read_only_disk_is_refused_before_work_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_dataset(tmp_path)

    def refuse(path: Path, *_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("sam2long.runner.locks.os.open", refuse)
    assert vos(tmp_path) == 2
    assert "Read-only file system" in capsys.readouterr().err


def test_an_output_that_cannot_be_a_folder_is_refused_before_work_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain_dataset(tmp_path)
    (tmp_path / "out").write_text("a file")
    assert vos(tmp_path) == 2
    assert "out is a file: give a folder" in capsys.readouterr().err


def test_a_checkpoint_of_another_model_ends_the_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain_dataset(tmp_path)
    other = tmp_path / "other.pt"
    other.write_bytes(b"no checkpoint")
    assert vos(tmp_path, "--sam2_checkpoint", str(other)) == 1
    assert "cannot load" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers 0 must be 1 or more"),
        (["--image-size", "100"], "--image-size 100 must be a multiple of 32"),
        (["--max-pending", "-1"], "--max-pending -1 must be 0 or more"),
        (["--baseline", "--num_pathway", "1"], "--baseline is SAM 2, and so is one pathway"),
        (["--dataset", "davis2017", "x"], "--dataset says where videos and masks lie"),
        (["--video_list_file", "missing.txt"], "missing.txt is missing"),
        (["--iou_thre", "7"], "iou_threshold must be a number in [0, 1]"),
        (["--score_thresh", "nan"], "--score_thresh nan"),
    ],
)
def test_bad_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    plain_dataset(tmp_path)
    assert vos(tmp_path, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vos", "--dataset", "davis2017", str(tmp_path)]) == 2
    assert "give --output_mask_dir" in capsys.readouterr().err
    assert main(["vos", "-o", str(tmp_path / "out")]) == 2
    assert "give --dataset NAME ROOT" in capsys.readouterr().err


def test_an_observer_sees_every_frame_of_the_job_go_by(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path)
    (layout.masks / "alpha" / "00000.png").unlink()
    events: list[tuple[str, dict[str, Any]]] = []
    outcome = run_job(
        vos_job(layout, tmp_path / "out"), workers=0, observe=lambda kind, of: events.append((kind, dict(of)))
    )
    assert events[0] == ("start", {"videos": 2, "frames": 11, "skipped": 0})
    assert sum(of["count"] for kind, of in events if kind == "frames") == 11  # those of the failed video too
    assert [of["outcome"] for kind, of in events if kind == "video"] == ["failed", "done"]
    assert events[-1][0] == "end"
    assert outcome.frames == 5
