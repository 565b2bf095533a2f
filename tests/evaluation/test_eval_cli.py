"""`sam2long eval`: what it writes and prints, and how it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from eval_trees import labels, write_davis, write_video, write_vos

from sam2long.cli import main
from sam2long.cli.evaluate import BENCHMARKS, LAYOUTS
from sam2long.evaluation import BENCHMARKS as FUNCTIONS
from sam2long.evaluation import evaluate
from sam2long.evaluation.benchmarks import options_of

ONE, TWO = (1, 4, 4, 6), (2, 12, 16, 8)


@pytest.fixture
def trees(tmp_path: Path) -> list[str]:
    """GT and PRED of two videos; `worse` lies beside them."""
    truth = {name: [labels(ONE, TWO)] * 5 for name in ("a", "b|c, d")}
    gt, pred = write_davis(tmp_path, truth, truth)
    for name in truth:
        write_video(tmp_path / "worse" / name, [labels(ONE)] * 5)
    return [str(gt), str(pred)]


def run(*arguments: str | Path) -> int:
    return main(["eval", *map(str, arguments), "--workers", "1"])


def test_writes_what_is_asked_for(trees: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    files = [
        "--json",
        out / "r.json",
        "--csv",
        out / "r.csv",
        "--csv-frames",
        out / "f.csv",
        "--markdown",
        out / "r.md",
    ]
    assert run("davis2017", *trees, *files) == 0
    assert sorted(path.name for path in out.iterdir()) == ["f.csv", "r.csv", "r.json", "r.md"]
    written = json.loads((out / "r.json").read_text())
    assert written == json.loads(json.dumps(evaluate("davis2017", *trees)))
    with (out / "r.csv").open() as file:
        objects = list(csv.DictReader(file))
    assert [(row["prediction"], row["video"], row["object"]) for row in objects[1:3]] == [
        ("pred", "a", "2"), ("pred", "b|c, d", "1"),
    ]  # fmt: skip
    assert objects[0]["J-Mean"] == "1.0"
    assert len((out / "f.csv").read_text().splitlines()) == 1 + 4 * 3
    assert r"| b\|c, d | 2 | 1.0000" in (out / "r.md").read_text()
    printed = capsys.readouterr().out
    assert (
        "davis2017, davis2017-evaluation, semi-supervised: 2 videos, 4 objects\nJ&F-Mean 1.0000 J-Mean 1.0000"
        in printed
    )
    assert "left out: the first and the last frame of every video" in printed


def test_compares(trees: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    files = ["--json", out / "c.json", "--csv", out / "c.csv", "--markdown", out / "c.md", "--figure", out / "c.png"]
    assert run("davis2017", *trees, "--compare", f"bad={tmp_path / 'worse'}", tmp_path / "worse", *files) == 0
    written = json.loads((out / "c.json").read_text())
    assert written["global"]["J&F-Mean"] == 1
    assert written["compared"]["bad"]["global"]["J&F-Mean"] == 0.5
    assert written["comparison"]["differences"]["bad"] == {
        "mean": -50, "low": "nan", "high": "nan", "better": 0, "worse": 2, "videos": 2,
    }  # fmt: skip
    assert "| a | 100.0 | 50.0 | 50.0 | -50.0 | -50.0 |" in (out / "c.md").read_text()
    assert "| bad | 50.0 | -50.0 | 0 / 2 of 2 |" in capsys.readouterr().out
    assert main(["table", "--cell", "mine", "DAVIS 2017", str(out / "c.json")]) == 0
    rows = [line.split(" (measured")[0] for line in capsys.readouterr().out.splitlines() if "measured" in line]
    assert rows == ["| mine (pred) | 100.0", "| mine (bad) | 50.0", "| mine (worse) | 50.0"]
    assert (out / "c.png").read_bytes().startswith(b"\x89PNG")
    assert len((out / "c.csv").read_text().splitlines()) == 1 + 3 * 4


def test_quiet(trees: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("davis2017", *trees, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--task", "foo"], "task 'foo' unknown: semi or unsup"),
        (["--strict"], "davis2017 has no option strict"),
        (["--figure", "a.png"], "--figure shows a comparison: give --compare"),
        (["--compare", "w=OUT/worse", "--figure", "OUT/a.gif"], "its name ends with one of .png, .pdf, .svg"),
        (["--compare", "OUT/pred"], "two predictions are called pred: name them, as in A="),
        (["--compare", "OUT/nowhere"], "nowhere is missing: give a folder of predictions"),
        (["--compare", "OUT/gt/ImageSets/2017/val.txt"], "val.txt is a file: give a folder of predictions"),
        (["--json", "OUT"], "is a folder: name a file in it"),
        (["--json", "OUT/gt/ImageSets/2017/val.txt/a.json"], "val.txt is no folder that can be written to"),
        (["--json", "OUT/a", "--csv", "OUT/a"], "two outputs have one name"),
    ],
)
def test_refuses(
    trees: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert run("davis2017", *trees, *(word.replace("OUT", str(tmp_path)) for word in more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("sam2long: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_failure_leaves_no_file(trees: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pred" / "a" / "00002.png").write_bytes(b"broken")
    assert run("davis2017", *trees, "--json", tmp_path / "out" / "r.json") == 2
    assert not list((tmp_path / "out").iterdir())
    assert "00002.png is no image" in capsys.readouterr().err


def test_help_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert BENCHMARKS == tuple(FUNCTIONS) == tuple(LAYOUTS)
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    shown = capsys.readouterr().out
    for benchmark in BENCHMARKS:
        assert f"\n  {benchmark} " in shown
        for option in options_of(benchmark):
            assert f"--{option.replace('_', '-')}" in shown


def test_needs_no_torch() -> None:
    code = "import sys, sam2long.cli, sam2long.evaluation; print({'torch', 'scipy', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_every_prediction_tells_its_own_number_of_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = [labels((1, 2, 2, 8)) for _ in range(4)]
    gt, pred = write_vos(tmp_path, {"a": maps, "b": maps}, {"a": maps, "b": maps})
    write_vos(tmp_path / "other", {}, {"a": maps})
    assert run("vos", str(gt), str(pred), "--compare", f"less={tmp_path / 'other' / 'pred'}") == 0
    printed = capsys.readouterr().out
    assert "pred: vos, vos-benchmark: 2 videos, 2 objects\n" in printed
    assert "less: vos, vos-benchmark: 1 videos, 1 objects\n" in printed
    assert "less: left out: b (no prediction" in printed


def test_a_first_annotation_alone_is_scored_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = [labels((1, 2, 2, 8))]
    gt, pred = write_vos(tmp_path, {"a": maps}, {"a": maps})
    assert run("vos", str(gt), str(pred)) == 2
    assert "count with --all-frames alone" in capsys.readouterr().err
    assert run("vos", str(gt), str(pred), "--all-frames") == 0
