"""docs/events.md: its programs run as they are printed, and its table has every field."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from interaction_calls import BRANCHING
from support import ROOT, build_golden, moving_disks

from sam2long import TreeRecord

PAGE = (ROOT / "docs/events.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    clip, predictor = moving_disks(10), build_golden(memory_tree=BRANCHING)
    listening, looking = BLOCKS
    with torch.inference_mode():
        state = predictor.init_state(clip[0])
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
        names: dict[str, Any] = {"predictor": predictor, "state": state}
        exec(listening, names)
        lines = (tmp_path / "events.jsonl").read_text().splitlines()
        assert [TreeRecord.from_json(line) for line in lines] == names["records"]
        assert (tmp_path / "tree.png").exists()
        exec(looking, names)
    assert len(names["rest"]) == 6
    assert "(0,)" in capsys.readouterr().out


def test_the_table_has_every_field() -> None:
    table = PAGE[PAGE.index("## A record") : PAGE.index("## The figure")]
    named = set(re.findall(r"`(\w+)`", table))
    assert {field.name for field in fields(TreeRecord)} | {"distinct_pathways"} <= named
