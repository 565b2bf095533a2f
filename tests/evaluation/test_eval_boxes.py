"""Boxes: overlaps and curves by hand, and where the three tools for LaSOT part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eval_trees import write_lasot
from hypothesis import given
from hypothesis import strategies as st

from sam2long.evaluation import evaluate
from sam2long.evaluation.boxes import centre_offsets, clipped, overlaps, read_numbers, success_curve

boxes = st.lists(st.tuples(*[st.floats(-50, 200)] * 2, *[st.floats(0, 100)] * 2), min_size=1, max_size=6).map(np.array)
TRUTH = np.array([[10, 10, 20, 20]] * 4, float)


def test_overlap_by_hand() -> None:
    one, other = (
        np.array([[0, 0, 4, 2], [0, 0, 1, 1], [0, 0, 0, 0]], float),
        np.array([[2, 0, 4, 2], [5, 5, 1, 1], [0] * 4]),
    )
    assert overlaps(one, other) == pytest.approx([1 / 3, 0, 0])
    assert centre_offsets(one, other)[0].tolist() == [-2, 0]


@given(boxes)
def test_overlaps_are_shares(found: np.ndarray) -> None:
    other = found[::-1]
    shares = overlaps(found, other)
    assert np.all((shares >= 0) & (shares <= 1))
    assert np.array_equal(shares, overlaps(other, found))
    sized = found[(found[:, 2:] > 1).all(1)]
    assert overlaps(sized, sized) == pytest.approx(np.ones(len(sized)))


@given(boxes)
def test_clipped_boxes_lie_in_the_image(found: np.ndarray) -> None:
    inside = clipped(found, 100, 80)
    assert np.all(inside[:, :2] >= 0)
    assert np.all(inside[:, :2] + inside[:, 2:] <= [100 + 1e-9, 80 + 1e-9])


def test_clipping_shifts_what_sticks_out_at_the_left() -> None:
    assert clipped(np.array([[-5.0, 70, 20, 20]]), 100, 80).tolist() == [[0, 70, 20, 10]]


def test_a_perfect_tracker_fails_at_one(tmp_path: Path) -> None:
    assert success_curve(np.ones(3), np.linspace(0, 1, 21)).mean() == 20 / 21
    result = evaluate("lasot", *write_lasot(tmp_path, TRUTH, np.vstack([TRUTH, TRUTH])))
    assert result["global"] == pytest.approx({"success": 2000 / 21, "precision": 100, "normalized_precision": 100})


def test_three_tools_three_answers(tmp_path: Path) -> None:
    """The second box is annotated at the border, the object of the third is absent."""
    truth = np.array([[10, 10, 20, 20], [0, 10, 20, 20], [10, 10, 20, 20], [10, 10, 20, 20]])
    trees = write_lasot(tmp_path, truth, truth, absent=[2])
    success = {rules: evaluate("lasot", *trees, rules=rules)["global"] for rules in ("matlab", "pytracking", "got10k")}
    assert success["matlab"] == pytest.approx({"success": 1000 / 21, "precision": 75, "normalized_precision": 75})
    assert success["pytracking"] == pytest.approx({"success": 1000 / 21, "precision": 50, "normalized_precision": 75})
    assert success["got10k"] == pytest.approx({"success": 2000 / 21, "precision": 100, "normalized_precision": 100})
    fewer = evaluate("lasot", *trees, rules="pytracking", exclude_invalid=True)["global"]
    assert fewer == pytest.approx({"success": 2000 / 21, "precision": 100, "normalized_precision": 150})


def test_repair_and_its_limits(tmp_path: Path) -> None:
    found = TRUTH.copy()
    found[2] = [90, 90, 0, 0]
    gt, pred = write_lasot(tmp_path, TRUTH, found)
    assert evaluate("lasot", gt, pred)["global"]["precision"] == 100
    assert evaluate("lasot", gt, pred, rules="got10k")["global"]["precision"] == 75
    found[2] = [90, 90, -1, 5]
    np.savetxt(pred / "cat-1.txt", found)
    assert evaluate("lasot", gt, pred)["global"]["precision"] == 100
    with pytest.raises(ValueError, match=r"cat-1\.txt, box 3 has a negative size"):
        evaluate("lasot", gt, pred, rules="pytracking")


def test_what_is_refused(tmp_path: Path) -> None:
    gt, pred = write_lasot(tmp_path, TRUTH, TRUTH[:3])
    with pytest.raises(ValueError, match=r"cat-1\.txt has 3 boxes, the annotation 4"):
        evaluate("lasot", gt, pred)
    with pytest.raises(ValueError, match="rules 'otb' unknown: matlab, pytracking, got10k"):
        evaluate("lasot", gt, pred, rules="otb")
    with pytest.raises(ValueError, match="exclude_invalid is pytracking's"):
        evaluate("lasot", gt, pred, exclude_invalid=True)
    (pred / "cat-1.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"cat-1\.txt is missing: 1 of 1 videos"):
        evaluate("lasot", gt, pred)


@pytest.mark.parametrize(
    "text",
    ["1,2,3,4\n5,6,7,8\n", "1\t2\t3\t4\n\n5\t6\t7\t8", "1 2  3 4\r\n 5, 6, 7, 8 \r\n", "\ufeff1,2,3,4\n5,6,7,8,"],
)
def test_separators(tmp_path: Path, text: str) -> None:
    path = tmp_path / "boxes.txt"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_numbers(path, 4).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert read_numbers(path).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("line", ["1,2,3", "1,2,3,nan", "1,2,3,4,5"])
def test_lines_that_are_no_boxes(tmp_path: Path, line: str) -> None:
    path = tmp_path / "boxes.txt"
    path.write_text(f"1,2,3,4\n{line}\n")
    with pytest.raises(ValueError, match=r"boxes\.txt, line 2: .* is no box"):
        read_numbers(path, 4)
