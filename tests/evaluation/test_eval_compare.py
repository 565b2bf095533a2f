"""Comparisons: paired, weighted as the benchmark weights, the same with the same seed; and what is drawn of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_trees import labels, write_lasot, write_video, write_vos

from sam2long.evaluation import Result, compare, evaluate
from sam2long.evaluation.bootstrap import bounds, drawn_means, interval
from sam2long.evaluation.figure import comparison_figure, j_over_time
from sam2long.evaluation.results import Evaluation, Headline, ObjectScores, as_result, rows

HEADLINE = Headline("J&F", ("J", "F"), 1)


def result(scores: dict[str, list[float]], groups: dict[str, str] | None = None, benchmark: str = "vos") -> Result:
    """One whose objects' J and F are given by video."""
    objects = [
        ObjectScores(video, str(k), f"{video}_{k}", {"J": j, "F": j}, ["1"], {"J": [j]}, (groups or {}).get(video))
        for video, values in scores.items()
        for k, j in enumerate(values)
    ]
    return as_result(benchmark, "gt", "pred", {}, Evaluation("by hand", HEADLINE, {"J": 0.0}, objects))


def test_differences_are_paired() -> None:
    base = {f"v{k}": [10.0 * k] for k in range(10)}
    found = compare({"a": result(base), "b": result({video: [j + 3] for video, (j,) in base.items()})})
    assert found["scores"]["a"]["high"] - found["scores"]["a"]["low"] > 30
    assert found["differences"]["b"] == {"mean": 3, "low": 3, "high": 3, "better": 10, "worse": 0, "videos": 10}
    assert found["per_video"]["v2"] == {"a": 20, "b": 23}


def test_means_are_over_objects_and_groups() -> None:
    one, other = {"v": [10.0, 20.0], "w": [60.0]}, {"v": [10.0, 20.0], "w": [90.0]}
    found = compare({"a": result(one), "b": result(other)})
    assert found["scores"]["a"]["mean"] == 30
    assert found["differences"]["b"]["mean"] == 10
    assert np.isnan(found["differences"]["b"]["low"]), "two videos bear no interval"
    split = {"v": "seen", "w": "unseen"}
    found = compare({"a": result(one, split), "b": result(other, split)})
    assert found["scores"]["a"]["mean"] == (15 + 60) / 2
    assert found["differences"]["b"]["mean"] == 15


def test_videos_that_one_lacks_are_left_out() -> None:
    found = compare({"a": result({"v": [1.0], "w": [2.0]}), "b": result({"w": [5.0], "x": [7.0]})})
    assert list(found["per_video"]) == ["w"]
    assert found["left_out"] == ["v", "x"]
    with pytest.raises(ValueError, match="a and b have no video in common"):
        compare({"a": result({"v": [1.0]}), "b": result({"w": [1.0]})})
    with pytest.raises(ValueError, match="two results or more"):
        compare({"a": result({"v": [1.0]})})
    with pytest.raises(ValueError, match="b was scored by other rules than a"):
        compare({"a": result({"v": [1.0]}), "b": result({"v": [1.0]}, benchmark="sav")})


def test_seeds_decide() -> None:
    rng = np.random.default_rng(0)
    trees = [{f"v{k}": list(rng.uniform(0, 100, 2)) for k in range(30)} for _ in range(2)]
    results = {name: result(tree) for name, tree in zip("ab", trees, strict=True)}
    assert compare(results) == compare(results)
    assert compare(results)["differences"] != compare(results, seed=1)["differences"]


def test_interval_covers_the_mean_and_narrows() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 400)
    mean, low, high = interval(values)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)  # the normal theory's width
    assert interval(values) == (mean, low, high)
    assert interval(np.array([1.0, np.nan, 3.0]))[0] == 2.0
    assert np.isnan(interval(np.array([np.nan]))[0])


def test_equal_weights_are_none() -> None:
    values = np.random.default_rng(1).normal(size=(40, 1))
    assert bounds(drawn_means(values, np.ones((40, 1)))) == pytest.approx(interval(values[:, 0]))
    weights = np.where(values > 0, 1000.0, 1e-3)  # nearly the mean of the heavy ones
    assert bounds(drawn_means(values * weights, weights))[1] > 0


def test_draws_that_miss_a_group_do_not_count() -> None:
    """One video in ten is unseen: a third of the draws miss it."""
    weights = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]])
    drawn = drawn_means(weights * [10.0, 30.0], weights)
    assert 0.3 < np.isnan(drawn).mean() < 0.4
    assert bounds(drawn) == (20, 20, 20)


def trees(home: Path) -> dict[str, Result]:
    """Two predictions on four videos, the second one pixel off, with names that matplotlib could misread."""
    names = ["_first", "$a$b", "x", "empty"]
    truth = {name: [labels((1, 4 + t, 4, 8)) for t in range(6)] for name in names}
    truth["empty"] = [labels((1, 0, 0, 2))] + [labels()] * 4 + [labels((1, 0, 0, 2))]
    truth["empty"][2] = labels((1, 0, 0, 2))
    gt, pred = write_vos(home, truth, truth)
    for name, maps in truth.items():
        write_video(home / "off" / name, [np.roll(found, 1, 1) for found in maps])
    return {"_base": evaluate("vos", gt, pred), "off $x$": evaluate("vos", gt, home / "off")}


def test_j_over_time(tmp_path: Path) -> None:
    found = trees(tmp_path)
    assert j_over_time(found["off $x$"], "x") == pytest.approx([100 * 56 / 72] * 4)
    boxes = np.array([[10, 10, 20, 20], [10, 10, 20, 20], [0, 10, 20, 20]], float)
    curve = j_over_time(evaluate("lasot", *write_lasot(tmp_path / "boxes", boxes, boxes)), "cat-1")
    assert curve == pytest.approx([100, 100, np.nan], nan_ok=True)


def test_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = trees(tmp_path)
    figure = comparison_figure(compare(results), results)
    scatter, *curves = figure.axes
    assert len(curves) == 3
    assert len(scatter.collections[0].get_offsets()) == 4
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_figure_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    results = {"a": result({"v": [1.0]}), "b": result({"v": [2.0]})}
    with pytest.raises(ImportError, match=r"sam2long\[viz\]"):
        comparison_figure(compare(results), results)


def test_rows_go_through_a_result_unchanged() -> None:
    def plain(row: ObjectScores) -> dict[str, Any]:
        return {**vars(row), "frames": list(row.frames), "per_frame": dict(row.per_frame)}

    for benchmark in ("vos", "davis2017", "lvos"):
        once = result({"v": [1.0, 2.0], "w": [3.0]}, {"v": "seen", "w": "unseen"}, benchmark)
        objects = list(rows(once))
        assert [row.obj for row in objects] == ["0", "1", "0"]
        again = as_result(benchmark, "gt", "pred", {}, Evaluation("by hand", HEADLINE, {"J": 0.0}, objects))
        assert again == once
        assert [plain(row) for row in rows(again)] == [plain(row) for row in objects]
