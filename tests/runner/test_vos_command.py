"""From nothing to a comparison: a dataset is made, tracked by the tree and by SAM 2, and scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import plain_dataset, read_pngs
from support import GOLDEN

from sam2long.cli import main
from sam2long.datasets import made, preset, shown_masks
from sam2long.datasets.made import MadeClip, write_made

SMALL = ["--suites", "easy,reappear", "--clips", "1", "--frames", "16", "--size", "64", "--quiet"]
PALETTE = bytes(768)


def test_the_whole_way_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    assert main(["vos", "--dataset", "synthetic", str(data), *SMALL]) == 0
    assert main(["vos", "--dataset", "davis2017", str(data / "davis"), "-o", str(out), "--baseline", "--quiet"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out", "out_sam2"}
    trees = [
        json.loads((tmp_path / of / "run.json").read_text())["settings"]["memory_tree"] for of in ("out", "out_sam2")
    ]
    assert [tree["num_pathways"] for tree in trees] == [3, 1]
    report = tmp_path / "both.json"
    scored = ["eval", "davis2017", str(data / "davis"), f"sam2={tmp_path / 'out_sam2'}", "--compare", f"tree={out}"]
    assert main([*scored, "--json", str(report), "--workers", "1", "--quiet"]) == 0
    result = json.loads(report.read_text())
    assert result["per_video"].keys() == {"easy-000", "reappear-000"}
    assert 0.3 < result["global"]["J&F-Mean"] <= 1  # the embedded model was made for such clips
    capsys.readouterr()
    # one command for the first steps; the dataset is there already
    again = ["vos", "--dataset", "synthetic", str(data), "-o", str(tmp_path / "again"), "--num_pathway", "1"]
    assert main(again) == 0
    shown = capsys.readouterr()
    assert "holds a dataset already" in shown.out
    assert "the small embedded model tracks" in shown.err
    sam2, tracked = read_pngs(tmp_path / "out_sam2"), read_pngs(tmp_path / "again")
    assert sam2.keys() == tracked.keys()
    assert all(np.array_equal(sam2[name], tracked[name]) for name in sam2)


@pytest.mark.parametrize(
    ("dataset", "folder", "evaluator", "truth"),
    [
        ("sav", "sav", "sav", "sav/sav_val/Annotations_6fps"),
        ("lvosv2", "lvos", "lvos", "lvos/valid"),
    ],
)
def test_other_layouts_go_the_whole_way(
    tmp_path: Path, dataset: str, folder: str, evaluator: str, truth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    assert main(["vos", "--dataset", "synthetic", str(data), *SMALL]) == 0
    assert main(["vos", "--dataset", dataset, str(data / folder), "-o", str(out), "--num_pathway", "1", "--quiet"]) == 0
    report = tmp_path / "report.json"
    assert (
        main(["eval", evaluator, str(data / truth), str(out), "--json", str(report), "--workers", "1", "--quiet"]) == 0
    )
    assert json.loads(report.read_text())["per_video"].keys() == {"easy-000", "reappear-000"}
    capsys.readouterr()


def test_made_layouts_show_the_same_objects(tmp_path: Path) -> None:
    clip = MadeClip("crowd", 3, 12, 64)
    write_made(tmp_path, [clip], PALETTE, progress=lambda: None)
    davis = preset("davis2017", tmp_path / "davis").items()[0]
    sav = preset("sav", tmp_path / "sav").items()[0]
    lvos = preset("lvosv2", tmp_path / "lvos").items()[0]
    assert [len(item.images) for item in (davis, sav, lvos)] == [12, 12, 12]
    assert lvos.frame_names[0] == "00000001"
    masks = [[of.mask for of in shown_masks(item, 64, 64)] for item in (davis, sav, lvos)]
    assert np.array_equal(masks[0], masks[2])
    assert [of.name for of in shown_masks(sav, 64, 64)] == [f"{k:03d}" for k in range(len(masks[1]))]
    assert 1 < len(masks[1]) <= len(masks[0])  # those that an annotation between the first and the last shows
    assert all(any(np.array_equal(mask, other) for other in masks[0]) for mask in masks[1])
    assert len(read_pngs(lvos.masks)) == 3
    meta = json.loads((tmp_path / "lvos" / "valid" / "valid_meta.json").read_text())
    assert meta["videos"]["crowd-003"]["objects"]["1"]["frame_range"] == {
        "start": "1", "end": "11", "frame_nums": "3"
    }  # fmt: skip
    with pytest.raises(FileExistsError, match="is there already"):
        write_made(tmp_path, [clip], PALETTE, progress=lambda: None)


def test_an_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_made(tmp_path, [MadeClip("easy", 0, 9, 32)], PALETTE, progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert made.LAYOUTS == ("davis", "sav", "lvos")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--suites", "easy,hard"], "--suites: hard unknown"),
        (["--clips", "0"], "--clips must be at least 1"),
        (["--frames", "1"], "num_frames=1 is out of range"),
        (["--frames", "8"], "SA-V's evaluator scores nothing below 9 frames"),
        (["--size", "8"], "size=8 pixels is out of range"),
    ],
)
def test_numbers_that_make_no_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["vos", "--dataset", "synthetic", str(tmp_path / "data"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_two_workers_tell_of_all_frames_in_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain_dataset(tmp_path, {"a": 3, "b": 5, "c": 4})
    model = ["--config", str(GOLDEN / "model.yaml"), "--checkpoint", str(GOLDEN / "model.pt"), "--device", "cpu"]
    options = ["--workers", "2", "--json-progress", "--max-pending", "0"]
    assert main(["vos", "--dataset", "custom", str(tmp_path), "-o", str(tmp_path / "out"), *model, *options]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert events[0] == {"event": "start", "videos": 3, "frames": 12, "skipped": 0}
    videos = [event for event in events if event["event"] == "video"]
    assert sorted(event["name"] for event in videos) == ["a", "b", "c"]
    assert (videos[-1]["frames_done"], videos[-1]["seconds_left"]) == (12, 0)
    assert (events[-1]["event"], events[-1]["done"], events[-1]["failed"]) == ("end", 3, {})
    assert len(read_pngs(tmp_path / "out")) == 12
