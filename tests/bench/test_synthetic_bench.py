"""The synthetic benchmark: its figures on records written by hand, and a small run that is resumed."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam2long.bench import synthetic_records
from sam2long.bench.synthetic_report import clip_figures, summarise, table
from sam2long.bench.synthetic_settings import BASELINE, Setting, remember_all
from sam2long.bench.synthetic_track import ClipSpec, track_clip
from sam2long.cli import bench_synthetic
from sam2long.cli.errors import UserError
from sam2long.cli.model import choose_model
from sam2long.config import MemoryTreeConfig
from sam2long.search.selection import select_one


def record(present: list[int], settings: dict[str, dict[str, list[float]]], seed: int = 0) -> dict[str, Any]:
    return {"suite": "easy", "seed": seed, "present": [bool(p) for p in present], "settings": settings}


def scores(j: list[float], f: list[float] | None = None, double: list[float] | None = None) -> dict[str, list[float]]:
    return {"j": j, "f": f or j, "double": double or [0.0] * len(j)}


def test_figures_of_a_clip() -> None:
    #          frame  0  1    2    3    4    5    6    7
    present = [1, 1, 0, 1, 0, 0, 1, 1]  # one frame away is a gap in the annotation, two are an absence
    tracked = scores([0.9, 1.0, 0.8, 0.0, 0.0, 0.4, 0.6], double=[0, 0, 0, 0.9, 0.8, 0.2, 0])
    figures = clip_figures(record(present, {BASELINE: tracked}), BASELINE)
    assert figures["J"] == pytest.approx(100 * 3.7 / 7)
    assert figures["reappear"] == pytest.approx(50.0)
    assert figures["switches"] == 1
    assert np.isnan(figures["oracle"])
    f = scores([0.5] * 7, f=[1.0] * 7)
    assert clip_figures(record(present, {BASELINE: f}), BASELINE)["J&F"] == pytest.approx(75.0)
    costs = {**scores([0.5] * 7), "pathways": [1, 1, 3, 3, 3, 2, 1], "ms": 12.5}
    figures = clip_figures(record(present, {"P=3": costs}), "P=3")
    assert (figures["pathways"], figures["ms"]) == (2.0, 12.5)


def test_no_absence_no_reappearance() -> None:
    assert np.isnan(clip_figures(record([1, 1, 1], {BASELINE: scores([1.0, 1.0])}), BASELINE)["reappear"])


def test_gains_are_paired() -> None:
    # Clips differ far more from each other than the settings do: only pairing sees the gain.
    base = np.linspace(0.1, 0.9, 20)
    records = [
        record([1, 1, 1], {BASELINE: scores([b, b]), "P=3": scores([b + 0.05, b + 0.05])}, seed)
        for seed, b in enumerate(base)
    ]
    summary = summarise(records)
    row = summary["easy"]["settings"]["P=3"]
    assert row["gain"] == {"mean": 5.0, "low": 5.0, "high": 5.0}
    assert row["J&F"]["high"] - row["J&F"]["low"] > 15
    assert "gain" not in summary["easy"]["settings"][BASELINE]
    assert "| easy (20, 0 % absent) | P=3 | 55.0 | 55.0 | 55.0 | +5.0 [+5.0, +5.0] |" in table(summary)


def test_all_suites_have_a_row_of_their_own() -> None:
    def clip(suite: str, b: float, gain: float) -> dict[str, Any]:
        return {**record([1, 1], {BASELINE: scores([b]), "P=3": scores([b + gain])}), "suite": suite}

    records = [clip("easy", 0.8, 0.0), clip("crowd", 0.3, 0.06), clip("crowd", 0.4, 0.03)]
    summary = summarise(records)
    assert list(summary) == ["easy", "crowd", "all"]
    assert summary["all"]["clips"] == 3
    assert summary["all"]["settings"]["P=3"]["gain"]["mean"] == pytest.approx(3.0)
    assert list(summarise(records[1:])) == ["crowd"]
    assert summary["crowd"]["settings"]["P=3"]["gain"]["low"] is None, "two clips bear no interval"


def test_where_the_object_shows() -> None:
    silent, tracked = scores([0.0, 0.0, 1.0, 1.0]), scores([0.5, 0.7, 0.0, 0.0])
    clip = record([1, 1, 1, 0, 0], {BASELINE: silent, "P=3": tracked})
    assert (clip_figures(clip, BASELINE)["present"], clip_figures(clip, "P=3")["present"]) == pytest.approx((0, 60))
    row = summarise([clip] * 6)["easy"]["settings"]["P=3"]
    assert (row["gain"]["mean"], row["present gain"]["mean"]) == pytest.approx((-20, 60))
    assert row["over"] == {BASELINE: row["gain"]}


def arguments(out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_synthetic.add_arguments(parser)
    common = ["-o", str(out), "--suites", "easy", "--clips", "1", "--frames", "4", "--split", "val", "--device", "cpu"]
    return parser.parse_args([*common, "--workers", "1", *more])


def test_run_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench_synthetic.run(arguments(tmp_path, "--pathways", "1,2")) == 0
    path = tmp_path / "clips" / "easy-0000.json"
    first = json.loads(path.read_text())
    assert set(first["settings"]) == {"SAM 2", "P=2"}
    assert np.mean(first["settings"]["SAM 2"]["j"]) > 0.7
    # While all slots share one hypothesis the best pathway is the answer.
    answer = np.add(first["settings"]["P=2"]["j"], first["settings"]["P=2"]["f"]) / 2
    assert np.allclose(first["settings"]["P=2"]["oracle"], answer, atol=1e-3)
    assert first["settings"]["SAM 2"]["pathways"] == [1, 1, 1]
    assert all(1 <= count <= 2 for count in first["settings"]["P=2"]["pathways"])
    assert all(scores["ms"] > 0 for scores in first["settings"].values())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["suites"]["easy"]["clips"] == 1
    assert (tmp_path / "gain.png").stat().st_size > 1000

    # Another setting: what is known is kept, only the new one is tracked.
    first["settings"]["SAM 2"]["j"][0] = 0.1234
    path.write_text(json.dumps(first))
    bench_synthetic.run(arguments(tmp_path, "--pathways", "1,3"))
    second = json.loads(path.read_text())
    assert set(second["settings"]) == {"SAM 2", "P=2", "P=3"}
    assert second["settings"]["SAM 2"]["j"][0] == 0.1234

    # All is known: nothing is tracked. Another threshold under the same name: that tree is tracked again.
    started: list[int] = []
    monkeypatch.setattr(
        synthetic_records, "ProcessPoolExecutor", lambda *_, **__: started.append(1) or pytest.fail("tracked")
    )
    bench_synthetic.run(arguments(tmp_path, "--pathways", "1,2,3"))
    with pytest.raises(pytest.fail.Exception):
        bench_synthetic.run(arguments(tmp_path, "--pathways", "1,3", "--uncertainty-threshold", "5"))
    assert started == [1]


def test_merging_competes_with_the_same_tree(tmp_path: Path) -> None:
    """Hypotheses that agree somewhat for a single frame are merged, so fewer pathways are run."""
    uncertain = ["--pathways", "3", "--uncertainty-threshold", "100", "--frames", "8"]
    bench_synthetic.run(arguments(tmp_path, *uncertain, "--merge-iou", "0.5", "--merge-frames", "1"))
    rows = json.loads((tmp_path / "summary.json").read_text())["suites"]["easy"]["settings"]
    assert set(rows) == {"SAM 2", "P=3", "P=3, merging"}
    assert rows["SAM 2"]["pathways"]["mean"] == 1
    assert 1 <= rows["P=3, merging"]["pathways"]["mean"] < rows["P=3"]["pathways"]["mean"]
    assert "gain" in rows["P=3, merging"]


def test_the_halves_of_the_tree(tmp_path: Path) -> None:
    """Without branching there is one pathway; with SAM 2's memory and one pathway it would be SAM 2."""
    uncertain = ["--pathways", "1", "--uncertainty-threshold", "100", "--frames", "8", "--num-pathways", "2"]
    bench_synthetic.run(arguments(tmp_path, *uncertain, "--ablate"))
    rows = json.loads((tmp_path / "summary.json").read_text())["suites"]["easy"]["settings"]
    assert set(rows) == {"SAM 2", "its memory alone", "P=2, SAM 2's memory"}
    assert rows["its memory alone"]["pathways"]["mean"] == 1
    assert rows["P=2, SAM 2's memory"]["pathways"]["mean"] > 1


def test_sam2s_memory_and_one_pathway_are_sam2() -> None:
    predictor = synthetic_records._predictor(choose_model(arguments(Path())))
    one = replace(MemoryTreeConfig(), num_pathways=2, modulation=(1.0, 1.0))
    settings = [
        Setting("SAM 2", replace(one, num_pathways=1)),
        Setting("neither", one, select_one, remember_all),
        Setting("its memory alone", replace(one, iou_threshold=0.9), select_one),
    ]
    scores = track_clip(predictor, ClipSpec("occlusion", 1, num_frames=24, split="val"), settings)["settings"]
    assert np.allclose(scores["SAM 2"]["j"], scores["neither"]["j"], atol=0.01)
    assert not np.allclose(scores["SAM 2"]["j"], scores["its memory alone"]["j"], atol=0.01)


def test_a_clip_counts_once_and_damage_is_named(tmp_path: Path) -> None:
    specs = bench_synthetic.specs_of(arguments(tmp_path, "--suites", "easy,crowd,easy", "--frames", "24"))
    assert [spec.suite for spec in specs] == ["easy", "crowd"]
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "easy-0000.json").write_text('{"a')
    with pytest.raises(UserError, match=r"easy-0000\.json is damaged"):
        bench_synthetic.run(arguments(tmp_path))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--suites", "easy,hard"], "hard unknown; choose from easy"),
        (["--pathways", "1,x"], "--pathways 1,x"),
        (["--pathways", "0"], "num_pathways must be an integer >= 1"),
        (["--clips", "0"], "must be at least 1"),
        (["--merge-iou", "2"], "merge_iou must be None or a number"),
        (["--size", "16"], "size=16 pixels is out of range"),
        (["--first-seed", "-1"], "seed=-1 is negative"),
        (["--frames", "1"], "num_frames=1 is out of range"),
        (["--frames", "2", "--suites", "occlusion"], "choose more frames"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench_synthetic.run(arguments(tmp_path, *more))
