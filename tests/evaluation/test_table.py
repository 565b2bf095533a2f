"""`sam2long table`: published and measured numbers side by side, never mixed up."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from eval_golden import Golden
from eval_trees import labels, write_davis, write_vos

from sam2long.cli import main
from sam2long.datasets.published import PUBLISHED
from sam2long.evaluation import evaluate
from sam2long.evaluation.table import measured_cell

MAPS = [labels((1, 2, 2, 8)) for _ in range(4)]


@pytest.fixture
def evaluations(tmp_path: Path) -> dict[str, Path]:
    """A perfect result scored by a tool that gives fractions, and a poor one by a tool that gives percent."""
    gt, pred = write_davis(tmp_path / "davis", {"a": MAPS}, {"a": MAPS})
    files = {name: tmp_path / f"{name}.json" for name in ("davis", "vos")}
    quiet = ["--workers", "1", "--quiet"]
    assert main(["eval", "davis2017", str(gt), str(pred), "--json", str(files["davis"]), *quiet]) == 0
    gt, pred = write_vos(tmp_path / "vos", {"a": MAPS}, {"a": [np.zeros_like(found) for found in MAPS]})
    assert main(["eval", "vos", str(gt), str(pred), "--json", str(files["vos"]), *quiet]) == 0
    return files


def test_every_cell_says_what_it_is(
    evaluations: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [
        "--cell",
        "mine",
        "DAVIS 2017",
        str(evaluations["davis"]),
        "--cell",
        "mine",
        "MOSE",
        str(evaluations["vos"]),
    ]
    files = ["--markdown", str(tmp_path / "table.md"), "--csv", str(tmp_path / "table.csv")]
    assert main(["table", *cells, "--paper", "SAM 2.1 Large", *files]) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == shown
    header, _, *rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert [name.strip() for name in header.strip("|").split("|")] == ["", "MOSE", "DAVIS 2017"]
    found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in found] == ["SAM 2 (SAM 2.1 Large, paper)", "SAM2Long (SAM 2.1 Large, paper)", "mine"]
    assert found[0][1:] == ["74.5 (paper) [1]", "90.1 (paper) [1]"]
    assert found[2][1:] == ["0.0 (measured here) [3]", "100.0 (measured here) [2]"]
    assert "2. J&F-Mean of 1 videos by davis2017-evaluation" in shown
    lines = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert len(lines) == 6
    assert {line["source"] for line in lines} == {"paper", "measured here"}


def test_the_paper_alone_has_all_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--paper", "SAM 2.1 Large"]) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert all(column in header for column in PUBLISHED["SAM 2.1 Large"])


def test_what_makes_no_table(evaluations: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    perfect = str(evaluations["davis"])
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"global": {}}))
    for options, message in (
        ([], "a table needs a cell"),
        (["--paper", "SAM 3"], "the paper has SAM 2 Tiny"),
        (["--cell", "a", "b", str(other)], "is no evaluation"),
        (
            ["--paper", "SAM 2.1 Tiny", "--cell", "a", "SAV val", perfect],
            "'SAV val': of SAM 2.1 Tiny the paper",
        ),
        (["--cell", "a", "b", str(tmp_path / "none.json")], "none.json is missing"),
    ):
        assert main(["table", *options]) == 2
        assert message in capsys.readouterr().err


def test_two_numbers_for_one_place_are_refused(
    evaluations: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cell = ["--cell", "mine", "DAVIS 2017", str(evaluations["davis"])]
    assert main(["table", *cell, *cell]) == 2
    assert "two cells stand in row 'mine'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("archive", "benchmark"),
    [
        ("davis2017_semi", "davis2017"), ("vos_benchmark", "vos"), ("sav", "sav"), ("lvos", "lvos"),
        ("mosev2", "mosev2"), ("vost", "vost"), ("ytvos", "ytvos"), ("lasot", "lasot"), ("got10k", "got10k"),
    ],
)  # fmt: skip
def test_headlines_come_in_percent_whatever_the_tool_gives(tmp_path: Path, archive: str, benchmark: str) -> None:
    golden = Golden(archive, tmp_path)
    result = evaluate(benchmark, golden.gt, golden.pred)
    value = measured_cell("a", "b", result, "file").value
    assert 20 < value < 100
    as_given = result["global"][result["headline"]["key"]]
    assert value == (as_given if as_given > 1 else 100 * as_given)
