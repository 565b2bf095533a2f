"""The rules that surprise, each on a tree small enough to work out by hand, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from eval_trees import labels, write_davis, write_video, write_vos
from PIL import Image

from sam2long.evaluation import evaluate
from sam2long.evaluation.mosev2 import measures, phases
from sam2long.evaluation.processes import map_videos
from sam2long.evaluation.statistics import decay

ONE, TWO = (1, 4, 4, 6), (2, 12, 16, 8)
EMPTY = labels()


def reasons(result: dict) -> dict[str, str]:
    return {item["what"]: item["why"] for item in result["left_out"]}


def test_davis_objects_are_those_of_the_first_annotation(tmp_path: Path) -> None:
    truth = [labels(ONE, (3, 12, 16, 8))] + [labels(ONE, (3, 12, 16, 8), (4, 0, 26, 4))] * 4
    found = [labels(ONE)] * 5
    result = evaluate("davis2017", *write_davis(tmp_path, {"a": truth}, {"a": found}))
    assert {name: scores["J-Mean"] for name, scores in result["per_object"].items()} == {"a_1": 1, "a_2": 1, "a_3": 0}
    assert "a, object 4" in reasons(result), "it appears later and has a higher id"
    assert result["per_frame"]["a_1"]["frame"] == ["00001", "00002", "00003"]
    assert result["global"]["J&F-Mean"] == pytest.approx(2 / 3)


def test_davis_void_and_harmless_ends(tmp_path: Path) -> None:
    truth = [labels(ONE, (255, 0, 0, 3))] * 4
    wild = labels(ONE, (9, 12, 12, 4))
    gt, pred = write_davis(tmp_path, {"a": truth}, {"a": [wild, labels(ONE), labels(ONE), wild]})
    assert evaluate("davis2017", gt, pred)["global"]["J-Mean"] == 1
    write_video(pred / "a", {"00002": labels(ONE, (255, 0, 0, 3))})
    with pytest.raises(ValueError, match=r"00002\.png holds id 255, above 1"):
        evaluate("davis2017", gt, pred)


def test_davis_proposals_are_assigned(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    truth, found = [labels(ONE, TWO, (255, 0, 20, 4))] * 3, [labels((2, 4, 4, 6), (7, 12, 16, 8), (3, 0, 20, 4))] * 3
    gt, pred = write_davis(tmp_path, {"a": truth}, {"a": found})
    result = evaluate("davis2017", gt, pred, task="unsup")
    assert [row["object"] for row in result["objects"]] == ["1", "2"], "in the order of the proposals 2 and 7"
    assert result["global"]["J&F-Mean"] == 1, "what is found on void does not count"
    write_video(pred / "a", {"00001": labels((21, 4, 4, 6))})
    with pytest.raises(ValueError, match="holds proposal 21: the official program ends above 20"):
        evaluate("davis2017", gt, pred, task="unsup")


def test_assignment_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    trees = write_davis(tmp_path, {"a": [labels(ONE)]}, {"a": [labels(ONE)]})
    with pytest.raises(ImportError, match=r"sam2long\[eval\]"):
        evaluate("davis2017", *trees, task="unsup")


def test_decay_wraps_around_unless_sane() -> None:
    falling = np.linspace(1, 0, 301)
    assert np.isnan(decay(falling))
    assert decay(falling, sane=True) == pytest.approx(0.75)
    assert decay(falling[:200]) == decay(falling[:200], sane=True)


def test_vos_counts_an_object_from_when_it_is_first_seen(tmp_path: Path) -> None:
    late = [EMPTY, EMPTY, EMPTY, labels(ONE), EMPTY, EMPTY]
    early = [EMPTY, EMPTY, labels(ONE), labels(ONE), EMPTY, EMPTY]
    gt, pred = write_vos(tmp_path, {"on time": late, "early": late}, {"on time": late, "early": early})
    result = evaluate("vos", gt, pred)
    assert result["per_frame"]["on time"]["1"]["frame"] == ["00003", "00004"]
    assert result["per_frame"]["early"]["1"]["J"] == [0, 100, 100]
    assert result["global"]["J"] == pytest.approx((100 + 200 / 3) / 2)


def test_vos_ignores_what_is_only_predicted(tmp_path: Path) -> None:
    truth, found = [labels(ONE)] * 3, [labels(ONE, TWO)] * 3
    videos = {"a": truth, "b": truth, "short": truth[:2]}
    gt, pred = write_vos(tmp_path, videos, {"a": found, "short": truth[:2], "other": found})
    result = evaluate("vos", gt, pred)
    assert result["per_object"] == {"a": {"1": {"J": 100, "F": 100}}}
    assert {"b", "short", "a, object 2"} < reasons(result).keys()
    with pytest.raises(FileNotFoundError, match="strict mode"):
        evaluate("vos", gt, pred, strict=True)
    (pred / "a" / "00001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"a/00001\.png is missing: every scored frame"):
        evaluate("vos", gt, pred)


def test_sav_takes_objects_in_folders(tmp_path: Path) -> None:
    mask, double = labels((255, 4, 4, 6)), labels((1, 4, 4, 6), (2, 12, 16, 8))
    gt, pred = write_vos(tmp_path, {"v/000": [mask] * 3, "v/007": [EMPTY, mask, mask]}, {"v/000": [labels(ONE)] * 9})
    with pytest.raises(FileNotFoundError, match=r"v/007 is missing: the prediction of object 007 of video v"):
        evaluate("sav", gt, pred)
    write_video(pred / "v" / "007", [EMPTY] * 3)
    result = evaluate("sav", gt, pred)
    assert {obj: scores["J"] for obj, scores in result["per_object"]["v"].items()} == {"000": 100, "007": 0}
    with pytest.raises(ValueError, match="evaluate it as sav"):
        evaluate("vos", gt, pred)
    write_video(pred / "v" / "007", {"00001": double})
    with pytest.raises(ValueError, match=r"holds the values \[1, 2\]"):
        evaluate("sav", gt, pred)


def mose(home: Path, videos: list[str]) -> tuple[Path, Path]:
    truth = [labels(ONE)] * 2 + [EMPTY] * 2 + [labels(ONE)] * 2
    for name in videos:
        write_video(home / "gt" / "Annotations" / name, truth)
        write_video(home / "pred" / name, [labels(ONE)] * 6)
    meta = {"videos": {name: {"objects": ["1"]} for name in videos}}
    (home / "gt" / "meta.json").write_text(json.dumps(meta))
    return home / "gt", home / "pred"


def test_mosev2_disappearance_and_reappearance(tmp_path: Path) -> None:
    result = evaluate("mosev2", *mose(tmp_path, ["a", "b"]))
    scores = result["per_object"]["a_1"]
    assert result["per_frame"]["a_1"]["J"] == [1, 1 / 37, 1 / 37, 1]  # 36 pixels where nothing is
    assert (scores["disappear_J"], scores["reappear_J"]) == (1 / 37, 1)
    assert phases(np.ones((2, 3)), np.zeros(3, bool))["reappear_J"] is None
    assert measures(EMPTY == 1, EMPTY == 1) == (1, 1, 1)


def test_mosev2_enters_a_single_folder(tmp_path: Path) -> None:
    gt, pred = mose(tmp_path, ["a"])
    entered = evaluate("mosev2", gt, pred)
    assert entered["global"]["J"] == 0
    assert reasons(entered)[str(pred)] == "it holds one folder, which is entered: a"
    assert evaluate("mosev2", gt, pred, sane=True)["global"]["J"] > 50
    write_video(pred / "a", {"00099": EMPTY})
    with pytest.raises(ValueError, match=r"00099\.png has no annotation"):
        evaluate("mosev2", gt, pred, sane=True)


def lvos(home: Path, frame_nums: int = 4) -> tuple[Path, Path]:
    maps = {f"{t:08d}": labels(ONE, (5, 12, 16, 8)) for t in (1, 6, 11, 16)}
    write_video(home / "gt" / "Annotations" / "v", maps)
    write_video(home / "pred" / "v", maps)
    frames = {"start": "1", "end": "16", "frame_nums": str(frame_nums)}
    meta = {"videos": {"v": {"objects": {obj: {"frame_range": frames} for obj in ("1", "5")}}}}
    (home / "gt" / "valid_meta.json").write_text(json.dumps(meta))
    (home / "gt" / "unseen_videos.txt").write_text("")
    return home / "gt", home / "pred"


def test_lvos_names_rows_by_position_and_needs_both_splits(tmp_path: Path) -> None:
    result = evaluate("lvos", *lvos(tmp_path))
    assert list(result["per_object"]) == ["v_1", "v_2"]
    assert list(result["per_frame"]["v"]) == ["1", "5"]
    assert result["global"]["J-seen-Mean"] == 1
    assert np.isnan(result["global"]["J&F-Mean"]), "no video is unseen"
    pytest.importorskip("scipy")
    unsupervised = evaluate("lvos", tmp_path / "gt", tmp_path / "pred", task="unsup-multiple")
    assert unsupervised["per_object"]["v_2"]["J"] == 0.75, "the slot of the last frame stays 0"


def test_lvos_frame_nums(tmp_path: Path) -> None:
    result = evaluate("lvos", *lvos(tmp_path / "many", 8))
    assert result["per_object"]["v_1"]["J"] == pytest.approx(2 / 6)
    with pytest.raises(ValueError, match=r"object 1 of video v has 3 frames from 1 to 16, but frame_nums is 2"):
        evaluate("lvos", *lvos(tmp_path / "few", 2))


def test_vost_cuts_higher_ids(tmp_path: Path) -> None:
    gt, pred = write_vos(tmp_path, {"Annotations/a": [labels(ONE)] * 6}, {"a": [labels(ONE, TWO)] * 6})
    (gt / "ImageSets").mkdir()
    (gt / "ImageSets" / "val.txt").write_text("a")
    result = evaluate("vost", gt, pred)
    assert result["global"]["J_last-Mean"] == 1
    assert "a, predicted id 2" in reasons(result)


@pytest.mark.parametrize("rounds", [1, 2])
def test_processes_keep_the_order(rounds: int) -> None:
    run = map_videos(rounds)
    assert run(abs, [-1, -5, -3], [1, 9, 4]) == [1, 5, 3]
    with pytest.raises(ValueError, match="invalid literal"):
        run(int, ["1", "x", "3"], [1, 2, 3])
    with pytest.raises(ValueError, match="workers=0"):
        map_videos(0)


def test_what_is_refused(tmp_path: Path) -> None:
    truth = {"a": [labels(ONE)] * 3}
    gt, pred = write_davis(tmp_path, truth, truth)
    with pytest.raises(ValueError, match="benchmark 'davis' unknown: davis2017, vos"):
        evaluate("davis", gt, pred)
    with pytest.raises(ValueError, match="davis2017 has no option strict: it has task, split, sane"):
        evaluate("davis2017", gt, pred, strict=True)
    with pytest.raises(ValueError, match="task 'semis' unknown"):
        evaluate("davis2017", gt, pred, task="semis")
    with pytest.raises(FileNotFoundError, match=r"train\.txt is missing: GT holds this list"):
        evaluate("davis2017", gt, pred, split="train")
    with pytest.raises(FileNotFoundError, match=r"nowhere is missing: the annotations \(.* holds gt, pred\)"):
        evaluate("davis2017", tmp_path / "nowhere", pred)
    with pytest.raises(NotADirectoryError, match=r"val\.txt is a file, not a folder: the predictions"):
        evaluate("davis2017", gt, gt / "ImageSets" / "2017" / "val.txt")
    write_video(gt / "Annotations" / "480p" / "a", [labels(ONE, size=(20, 30))] * 3)
    with pytest.raises(ValueError, match=r"pred/a/00001\.png has 32x24 pixels, the ground truth .* has 30x20"):
        evaluate("davis2017", gt, pred)


def test_files_that_are_no_label_maps(tmp_path: Path) -> None:
    gt, pred = write_vos(tmp_path, {"a": [labels(ONE)] * 3}, {"a": [labels(ONE)] * 3})
    path = pred / "a" / "00001.png"
    Image.fromarray(np.zeros((*EMPTY.shape, 3), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"00001\.png has colours \(mode RGB\)"):
        evaluate("vos", gt, pred)
    for content in (b"", b"no image", (gt / "a" / "00001.png").read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"00001\.png is (no image|a damaged image)"):
            evaluate("vos", gt, pred)
    Image.fromarray(labels(ONE) == 1).save(path)  # one bit a pixel
    assert evaluate("vos", gt, pred)["global"]["J"] == 100
