"""`sam2long demo`: what it writes, what its comparison shows, and that the clip is the one its tool makes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2long.cli import demo, main
from sam2long.cli.comparison import COLORS, SAM2, TREE, Comparison, score_strips
from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompts import Prompt
from sam2long.evaluation.measures import jaccard
from sam2long.frames import open_frames
from sam2long.search.scores import FrameScores

av = pytest.importorskip("av")


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def ious(folder: Path) -> list[float]:
    masks = (np.array(Image.open(path)) == 1 for path in sorted((folder / "masks").iterdir()))
    return [jaccard(mask, exact) for mask, exact in zip(masks, demo.read_truth(), strict=True)]


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    for _ in range(2):  # a second demo replaces the first
        start = time.process_time()
        assert main(["demo", "-o", str(out), "--device", "cpu"]) == 0
        assert time.process_time() - start < 60
    files = ["comparison.mp4", "comparison.png", "masks", "overlay.mp4", "run.json", "sam2", "scores.json"]
    assert names(out) == files
    assert names(out / "sam2") == ["masks", "run.json", "scores.json"]
    assert names(out / "masks") == names(out / "sam2" / "masks")
    assert len(names(out / "masks")) == json.loads((out / "run.json").read_text())["num_frames"]

    # What the figure in the README says: SAM 2 takes the look-alike while the object is away, the tree does not.
    sam2, tree = ious(out / "sam2"), ious(out)
    away = ~demo.read_truth().any(axis=(1, 2))
    assert np.mean(np.array(tree)[away]) > np.mean(np.array(sam2)[away]) + 0.3
    assert np.mean(tree[1:]) > max(0.85, np.mean(sam2[1:]) + 0.1)
    assert f"mean IoU SAM 2 {np.mean(sam2[1:]):.2f}, SAM2Long {np.mean(tree[1:]):.2f}" in capsys.readouterr().out

    with av.open(str(out / "comparison.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == len(tree)
    assert (out / "comparison.png").stat().st_size < 400_000

    (out / "run.json").write_text(json.dumps({"video": "holiday.mp4"}))
    assert main(["demo", "-o", str(out), "--device", "cpu"]) == 2  # somebody's results are safe from the demo


def test_the_clip_is_small_and_its_tool_makes_it_again(tmp_path: Path) -> None:
    assert demo.CLIP.stat().st_size < 1_000_000
    tool = Path(__file__).parents[2] / "tools" / "make_demo_clip.py"
    subprocess.run([sys.executable, str(tool), str(tmp_path)], check=True, capture_output=True)
    assert (tmp_path / "demo.json").read_text() == demo.PROMPTS.read_text()
    with np.load(tmp_path / "demo_truth.npz") as made, np.load(demo.TRUTH) as embedded:
        assert all(np.array_equal(made[name], embedded[name]) for name in ("bits", "shape"))
    with open_frames(tmp_path / "demo.mp4") as made_clip, open_frames(demo.CLIP) as embedded_clip:
        assert len(made_clip) == len(embedded_clip)
        # Encoders differ between builds; pictures hardly.
        assert all(np.abs(made_clip[t].astype(int) - embedded_clip[t]).mean() < 3 for t in range(len(made_clip)))


@pytest.fixture
def comparison(tmp_path: Path) -> tuple[Comparison, ResultFolder]:
    """Three grey frames with an object on the first two: the tree is right, SAM 2 marks it where it is not."""
    truth = np.zeros((3, 24, 32), dtype=bool)
    truth[:2, 8:16, 8:24] = True
    wrong = np.zeros_like(truth)
    wrong[:, 16:20, 8:24] = True
    folders = {}
    for name, masks in ((SAM2, wrong), (TREE, truth)):
        folders[name] = ResultFolder(tmp_path / name)
        folders[name].begin({})
        for t in range(3):
            folders[name].write_mask(f"{t:05d}", masks[t].astype(np.uint8))
        scores = {t: FrameScores(0.9, 4.0 - 4 * t, -0.1, float("inf") if t < 2 else 0.5, t) for t in (1, 2)}
        folders[name].write_scores({1: scores} if name == TREE else {}, {1: "00001", 2: "00002"})
    source = open_frames(np.full((3, 24, 32, 3), 90, np.uint8))
    return Comparison(source, Prompt(0, 1, box=(8, 8, 24, 16)), folders, truth), folders[TREE]


def test_an_absent_object_counts_where_nothing_is_marked(comparison: tuple[Comparison, ResultFolder]) -> None:
    assert comparison[0].mean_iou(TREE) == 1
    assert comparison[0].mean_iou(SAM2) == 0


def test_film_and_figure_show_both_in_their_colours(comparison: tuple[Comparison, ResultFolder]) -> None:
    pictures, results = comparison
    pictures.write_film(results, Fraction(5), lambda frames: frames)
    with av.open(str(results.comparison)) as film:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
    assert len(frames) == 3
    left, right = np.array_split(frames[1], 2, axis=1)
    for half, name, other in ((left, SAM2, TREE), (right, TREE, SAM2)):
        panel = half[40 : 40 + 480]
        assert (np.abs(panel - COLORS[name]).sum(axis=-1) < 60).sum() > 100
        assert (np.abs(panel - COLORS[other]).sum(axis=-1) < 60).sum() == 0
    pictures.write_figure(results, (0, 1, 2))
    figure = np.array(Image.open(results.figure).convert("RGB")).astype(int)
    for name in (SAM2, TREE):
        assert (np.abs(figure - COLORS[name]).sum(axis=-1) < 30).sum() > 100


def test_scores_are_read_back_as_they_were(comparison: tuple[Comparison, ResultFolder]) -> None:
    scores = comparison[1].read_scores(1)
    assert scores[1] == FrameScores(0.9, 0.0, -0.1, float("inf"), 1)
    assert scores[2] == FrameScores(0.9, -4.0, -0.1, 0.5, 2)
    assert comparison[1].read_scores(2) == {}


def test_score_strips_leave_gaps_where_nothing_is_known() -> None:
    strips = score_strips({1: FrameScores(0.9, 3.2, -0.1, float("inf"), 2)}, num_frames=3)
    values = {strip.title.split(" (")[0]: strip.curves[0].values for strip in strips}
    nan = float("nan")
    assert values["predicted IoU"] == pytest.approx([nan, 0.9, nan], nan_ok=True)
    assert values["occlusion score"] == pytest.approx([nan, 3.2, nan], nan_ok=True)
    assert values["margin to the runner-up"] == pytest.approx([nan, nan, nan], nan_ok=True)
    assert values["distinct pathways"] == pytest.approx([nan, 2, nan], nan_ok=True)
    assert (strips[1].low, strips[1].high, strips[1].band) == (-4, 4, (-2.0, 2.0))
