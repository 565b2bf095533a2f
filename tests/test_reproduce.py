"""The commands of docs/reproduce.md: the offline path runs as it is printed, the others are commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support import ROOT

from sam2long.cli import _parser as parser_of
from sam2long.cli import main

TEXT = (ROOT / "docs/reproduce.md").read_text(encoding="utf-8")
FOR_REAL, OFFLINE = (
    [
        shlex.split(line.replace("$CKPT", "demo.pt"), comments=True)[1:]
        for block in re.findall(r"```bash\n(.*?)```", part, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("sam2long ")
    ]
    for part in TEXT.split("## The same path, offline")
)


def test_the_path_runs_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in OFFLINE:
        assert main(command) == 0, command
    rows = [line for line in Path("table.md").read_text(encoding="utf-8").splitlines() if line.startswith("| S")]
    assert [row.split("|")[1].strip() for row in rows] == ["SAM 2", "SAM2Long"]
    figures = [float(re.findall(r"\d+\.\d", row)[0]) for row in rows]
    assert all(0 < figure <= 100 for figure in figures)
    assert Path("outputs/sav_sam2/run.json").exists()


@pytest.mark.parametrize("command", FOR_REAL, ids=" ".join)
def test_commands_are_understood(command: list[str]) -> None:
    assert parser_of(command).parse_args(command).run


def test_both_ways_have_the_same_steps() -> None:
    assert {command[0] for command in FOR_REAL} - {"download"} == {command[0] for command in OFFLINE}
    datasets = {command[command.index("--dataset") + 1] for command in FOR_REAL if command[0] == "vos"}
    assert datasets == {"sav", "lvosv2", "mose"}
