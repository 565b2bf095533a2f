"""Every number that the official tools gave for the golden trees, met to 1e-9; what they refuse, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_golden import Golden, distance, number
from PIL import Image

from sam2long.evaluation import evaluate
from sam2long.evaluation.contours import contour
from sam2long.evaluation.measures import j_and_f
from sam2long.evaluation.mosev2 import measures
from sam2long.evaluation.report import as_json
from sam2long.evaluation.statistics import decay, mean, recall

pytest.importorskip("scipy")
CLOSE = 1e-9
Load = Callable[[str], Golden]


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Load:
    home = tmp_path_factory.mktemp("golden")
    loaded: dict[str, Golden] = {}

    def load(name: str) -> Golden:
        if name not in loaded:
            loaded[name] = Golden(name, home)
        return loaded[name]

    return load


def far(result: Any, expected: dict[str, Any]) -> float:
    """The largest difference of a result to what is expected of it."""
    result = json.loads(as_json(result))
    parts = [part for part in ("global", "per_object", "per_frame") if part in expected]
    assert "per_object" in parts
    return max(distance(result[part], expected[part], part) for part in parts)


@pytest.mark.parametrize(
    ("benchmark", "name", "key", "options"),
    [
        ("davis2017", "davis2017_semi", None, {}),
        ("davis2017", "davis2017_unsup", None, {"task": "unsup"}),
        ("vos", "vos_benchmark", "default", {}),
        ("vos", "vos_benchmark", "all_frames", {"all_frames": True}),
        ("sav", "vos_benchmark", "default", {}),
        ("sav", "sav", "default", {"strict": True}),
        ("sav", "sav", "all_frames", {"all_frames": True}),
        ("mosev2", "mosev2", None, {}),
        ("vost", "vost", None, {}),
        ("lvos", "lvos", "semi-supervised", {}),
        ("lvos", "lvos", "unsupervised_multiple", {"task": "unsup-multiple"}),
        ("lvos", "lvos", "unsupervised_single", {"task": "unsup-single"}),
    ],
)
def test_equals_the_official_tool(
    golden: Load, benchmark: str, name: str, key: str | None, options: dict[str, Any]
) -> None:
    tree = golden(name)
    pred = tree.folder / "pred_salient" if key == "unsupervised_single" else tree.pred
    expected = tree.expected if key is None else tree.expected[key]
    result = evaluate(benchmark, tree.gt, pred, **options)
    assert far(result, expected) < CLOSE
    if benchmark == "lvos":
        codalab = result["more"]["overall_codalab_scores_txt"]
        assert codalab == pytest.approx(expected["overall_codalab_scores_txt"], abs=CLOSE)


@pytest.mark.parametrize(
    ("name", "annotations"),
    [("davis2017_semi", "Annotations/480p"), ("mosev2", "Annotations"), ("vost", "Annotations")],
)
def test_vos_benchmark_on_trees_of_others(golden: Load, name: str, annotations: str) -> None:
    tree = golden(name)
    expected = golden("vos_benchmark").expected[f"on_{name}"]
    assert far(evaluate("vos", tree.gt / annotations, tree.pred), expected) < CLOSE


def test_youtube_vos(golden: Load) -> None:
    tree = golden("ytvos")
    result = evaluate("ytvos", tree.gt, tree.pred)
    assert far(result, tree.expected) < CLOSE
    parts = [tree.expected[key] for key in ("global_pytracking", "derived_seen_unseen_not_from_an_official_tool")]
    assert distance(result["global"], parts[0] | parts[1]) < CLOSE


@pytest.mark.parametrize(
    ("rules", "key", "options"),
    [
        ("matlab", "lasot_matlab_toolkit", {}),
        ("pytracking", "pytracking", {}),
        ("pytracking", "pytracking_exclude_invalid_frames", {"exclude_invalid": True}),
        ("got10k", "got10k_toolkit", {}),
    ],
)
def test_lasot(golden: Load, rules: str, key: str, options: dict[str, Any]) -> None:
    tree = golden("lasot")
    expected = tree.expected[key]
    overall = expected.get("overall", expected)
    percent, close = (1, 1e-4) if rules == "pytracking" else (100, CLOSE)
    result = evaluate("lasot", tree.gt, tree.pred, rules=rules, **options)
    names = {
        "success": ("AUC", "success_AUC", "success_score"),
        "precision": ("Precision", "precision_at_20px", "precision_score"),
        "normalized_precision": ("Norm Precision", "norm_precision_at_0.20", "normalized_precision_score"),
    }
    videos = expected.get("per_sequence", expected.get("seq_wise"))
    for ours, theirs in [(result["global"], overall), *((result["per_object"][name], videos[name]) for name in videos)]:
        for key, aliases in names.items():
            (alias,) = set(aliases) & set(theirs)
            assert ours[key] == pytest.approx(percent * theirs[alias], abs=close)
    for key, aliases in {"success_curve": 0, "precision_curve": 0, "normalized_precision_curve": 1}.items():
        curve = overall.get(key, overall.get("norm_precision_curve")) if aliases else overall[key]
        assert result["more"][key] == pytest.approx(percent * np.array(curve), abs=close)
    if "per_frame" in expected:
        assert distance(json.loads(as_json(result))["per_frame"], expected["per_frame"]) < CLOSE
    if "OP50" in expected:
        assert result["more"]["op50"] == pytest.approx(expected["OP50"], abs=close)
        assert result["more"]["op75"] == pytest.approx(expected["OP75"], abs=close)


def test_got10k(golden: Load) -> None:
    tree = golden("got10k")
    result = evaluate("got10k", tree.gt, tree.pred)
    overall, derived = tree.expected["overall"], tree.expected["derived"]
    expected = {"ao": overall["ao"], "sr0.5": overall["sr"], "sr0.75": derived["SR0.75_is_succ_curve[75]"]}
    assert distance(result["global"], expected) < CLOSE
    assert distance(result["more"]["succ_curve"], overall["succ_curve"]) < CLOSE
    for name, theirs in tree.expected["seq_wise"].items():
        ours = result["per_object"][name]
        assert (ours["ao"], ours["sr0.5"]) == pytest.approx((theirs["ao"], theirs["sr"]), abs=CLOSE)
        assert ours["length"] == theirs["length"]


def test_single_masks(golden: Load) -> None:
    frames = golden("frames")

    def read(folder: str, name: str) -> np.ndarray:
        return np.array(Image.open(frames.folder / folder / f"{name}.png"))

    for name, theirs in frames.expected["davis"].items():
        truth, found = read("gt", name) == 1, read("pred", name) == 1
        assert j_and_f(found, truth) == pytest.approx((theirs["J"], theirs["F"]), abs=CLOSE), name
        counts = [int(contour(mask).sum()) for mask in (truth, found)]
        assert counts == [theirs["boundary_pixels_gt"], theirs["boundary_pixels_pred"]]
        if "J_void" in theirs:
            clear = read("void", name) == 0
            found_clear = j_and_f(found & clear, truth & clear)
            assert found_clear == pytest.approx((theirs["J_void"], theirs["F_void"]), abs=CLOSE), name
        mose = frames.expected["mosev2"][name]
        assert measures(found, truth) == pytest.approx((mose["J"], mose["F_new"], mose["F"]), abs=CLOSE), name


def test_statistics(golden: Load) -> None:
    frames = golden("frames")
    vectors = json.loads((frames.folder / "vectors.json").read_text())
    for name, theirs in frames.expected["davis_statistics"].items():
        wanted = theirs["decay"]
        wanted = number(wanted["numpy<2"] if isinstance(wanted, dict) else wanted)
        values = vectors[name]
        assert (mean(values), recall(values)) == pytest.approx((theirs["mean"], theirs["recall"]), abs=CLOSE)
        assert decay(values) == pytest.approx(wanted, abs=CLOSE, nan_ok=True), name


def test_overlays(golden: Load, tmp_path: Path) -> None:
    davis, lvos, sav = (golden(name) for name in ("davis2017_semi", "lvos", "sav"))
    harmless = davis.overlaid("overlay_extra_id_last_frame", tmp_path / "last")
    assert far(evaluate("davis2017", *harmless), davis.expected) < CLOSE
    with pytest.raises(ValueError, match=r"twins/00005\.png holds id 3, above 2"):
        evaluate("davis2017", *davis.overlaid("overlay_extra_id", tmp_path / "extra"))
    unfilled = lvos.overlaid("overlay_wrong_frame_nums", tmp_path / "unfilled")
    result = evaluate("lvos", *unfilled)
    assert far(result, lvos.expected["overlays"]["overlay_wrong_frame_nums"]) < CLOSE
    assert any("Aa0twins, object 2: 3 of 25" in item["what"] for item in result["left_out"])
    with pytest.raises(ValueError, match="sav_000106/000 shows its object on none of its 3 scored frames"):
        evaluate("sav", *sav.overlaid("overlay_never_visible", tmp_path / "never"))


def test_missing_videos(golden: Load, tmp_path: Path) -> None:
    mose = golden("mosev2")
    pred = tmp_path / "pred"
    shutil.copytree(mose.pred, pred)
    shutil.rmtree(pred / "m06wide")
    expected = mose.expected["without_prediction_of_m06wide"]
    result = evaluate("mosev2", mose.gt, pred)
    assert distance(result["global"], expected["global"]) < CLOSE
    for name, scores in expected["per_object"].items():
        assert distance(result["per_object"][name], scores) < CLOSE
    vos = golden("vos_benchmark")
    with pytest.raises(FileNotFoundError, match="unpredicted is missing"):
        evaluate("vos", vos.gt, vos.pred, strict=True)


def test_processes_change_nothing(golden: Load) -> None:
    tree = golden("vost")
    assert evaluate("vost", tree.gt, tree.pred, workers=2) == evaluate("vost", tree.gt, tree.pred)
