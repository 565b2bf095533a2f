"""The speed benchmark on a tiny model: who runs, what is counted, what is written."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import GOLDEN

from sam2long.bench.speed_models import Contestant, SpeedModels, select_distinct
from sam2long.bench.speed_run import STAGES, Race
from sam2long.cli import bench_speed
from sam2long.cli.errors import UserError
from sam2long.config import MemoryTreeConfig
from sam2long.search.selection import Candidate


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_speed.add_arguments(parser)
    return parser.parse_args([*given])


@pytest.mark.filterwarnings("ignore:(?s).*cannot import name '_C'")
def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "speed.json"
    options = ["--config", str(GOLDEN / "model.yaml"), "--device", "cpu", "--frames", "6", "--rounds", "2"]
    assert bench_speed.run(arguments(*options, "--pathways", "1,3", "--objects", "1,2", "-o", str(out))) == 0
    report = json.loads(out.read_text())
    assert report["precision"] == "float32"
    assert report["frames"] == 6
    names = ["SAM 2", "P=1 shared", "P=3 shared", "P=3 distinct"]
    assert [(r["objects"], r["name"]) for r in report["results"]] == [(n, name) for n in (1, 2) for name in names]
    for result in report["results"]:
        low, high = result["ratio_range"]
        assert 0 < low <= result["ratio"] <= high
        assert result["rounds"] == 2
        if "distinct" in result["name"]:
            assert result["stages_ms"] == {}
        else:
            assert set(result["stages_ms"]) == {*STAGES, "rest"}
            assert result["stages_ms"]["encoder"] > 0
        assert (result["peak_mb"], result["launches"]) == (None, None), "no GPU; too few frames"
        assert 0 < result["first_frame_s"] < result["warm_up_s"]
    assert {r["ratio"] for r in report["results"] if r["name"] == "SAM 2"} == {1.0}
    table = out.with_suffix(".md").read_text()
    assert table.strip() == capsys.readouterr().out.strip()
    assert table.count("P=3 distinct") == 2


@pytest.mark.filterwarnings("ignore:(?s).*cannot import name '_C'")
def test_rounds_that_are_done_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs out of time in the second round has the first."""
    run_round, rounds = Race.in_turns, []

    def interrupted(self: Race, *args: Any) -> dict[Contestant, float]:
        if rounds:
            raise KeyboardInterrupt
        rounds.append(run_round(self, *args))
        return rounds[0]

    monkeypatch.setattr(Race, "in_turns", interrupted)
    out = tmp_path / "speed.json"
    options = ["--config", str(GOLDEN / "model.yaml"), "--device", "cpu", "--frames", "4", "--regime", "shared"]
    with pytest.raises(KeyboardInterrupt):
        bench_speed.run(arguments(*options, "-o", str(out)))
    results = json.loads(out.read_text())["results"]
    assert [(result["name"], result["rounds"]) for result in results] == [("SAM 2", 1), ("P=3 shared", 1)]
    assert "| P=3 shared | 1 |" in out.with_suffix(".md").read_text()


@pytest.mark.filterwarnings("ignore:(?s).*cannot import name '_C'")
def test_what_is_known_before_the_race_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Race, *args: Any) -> dict[Contestant, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Race, "in_turns", interrupted)
    out = tmp_path / "speed.json"
    options = ["--config", str(GOLDEN / "model.yaml"), "--device", "cpu", "--frames", "4", "--regime", "shared"]
    with pytest.raises(KeyboardInterrupt):
        bench_speed.run(arguments(*options, "-o", str(out)))
    results = json.loads(out.read_text())["results"]
    assert [(result["name"], result["rounds"], result["ratio"]) for result in results] == [
        ("SAM 2", 0, None),
        ("P=3 shared", 0, None),
    ]
    assert all(result["warm_up_s"] > result["first_frame_s"] > 0 for result in results)
    assert "| P=3 shared | 0 | - | - |" in out.with_suffix(".md").read_text()


@pytest.mark.filterwarnings("ignore:(?s).*cannot import name '_C'")
@pytest.mark.parametrize("num_objects", [1, 2])
def test_frames_in_turns_are_all_tracked(num_objects: int) -> None:
    """On a CPU the contestants advance together, each with its own selection; every frame is paid for."""
    models = SpeedModels(str(GOLDEN / "model.yaml"), None, torch.device("cpu"), num_frames=5)
    race = Race(models)
    contestants = [Contestant(0, "sam2"), Contestant(3, "distinct"), Contestant(3, "shared")]
    decoded: list[int] = []
    models.sam2.sam_mask_decoder.register_forward_hook(lambda _m, _a, output: decoded.append(output[0].shape[0]))
    seconds = race.in_turns(contestants, num_objects)
    assert list(seconds) == contestants
    assert min(seconds.values()) > 0
    sam2, shared = [1] * num_objects * 4, [num_objects] * 4
    distinct = [num_objects, num_objects, 3 * num_objects, 3 * num_objects]
    assert sorted(decoded[-(len(sam2) + len(shared) + len(distinct)) :]) == sorted(sam2 + shared + distinct)


def test_distinct_keeps_slots_apart() -> None:
    """From one shared pathway, and from three."""
    config = MemoryTreeConfig()
    shared = [Candidate(slot, m, -0.1 * (m + 1), 0.9, 10.0) for slot in range(3) for m in range(3)]
    assert [(c.slot_idx, c.mask_idx) for c in select_distinct(shared, config)] == [(0, 0), (1, 1), (2, 2)]
    apart = [Candidate(slot, m, -0.1 * (m + 1) - slot, 0.9, 10.0) for slot in range(3) for m in range(3)]
    assert [(c.slot_idx, c.mask_idx) for c in select_distinct(apart, config)] == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize("given", [["--pathways", "0"], ["--objects", "x"], ["--regime", "shared,apart"]])
def test_bad_lists_are_refused(given: list[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(*given)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--frames", "1"], "--frames must be at least 2"),
        (["--rounds", "0"], "--rounds at least 1"),
        (["--encode-ahead", "-1"], "--encode-ahead at least 0"),
        (["--device", "banana"], "no such kind of device"),
        (["-o", "speed.md"], "give a JSON file"),
        (["-o", "."], "give a JSON file"),
        (["--config", "sam3"], "sam3"),
        (["--checkpoint", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_bad_options_are_named_before_work_starts(more: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench_speed.run(arguments("--device", "cpu", "--config", str(GOLDEN / "model.yaml"), *more))


def test_nobody_runs_twice() -> None:
    names = [c.name for c in bench_speed._contestants(arguments("--pathways", "3,3", "--regime", "shared,shared"))]
    assert names == ["SAM 2", "P=3 shared"]
