"""What a memory tree did, as a figure."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2long.search.records import DecisionRecord, HypothesisRecord, TreeRecord
from sam2long.views import competing_masks, draw_tree
from sam2long.views.competing_masks import CompetingMasks
from sam2long.views.tree_figure import WINDOW, Competing
from sam2long.views.tree_history import Answer, TreeHistory, lanes


def hypothesis(parent: int, score: float, slot: int) -> HypothesisRecord:
    return HypothesisRecord(parent, slot, 0.9, 5.0, score, (slot,))


def record(t: int, parents: list[int], decided: list[tuple[int, int]], margin: float = math.inf) -> TreeRecord:
    hypotheses = tuple(hypothesis(parent, -t - k, k) for k, parent in enumerate(parents))
    decisions = tuple(DecisionRecord(frame, place, "agreement") for frame, place in decided)
    return TreeRecord("tracked", t, 1, t - 1 if t > 1 else None, (), hypotheses, decisions, margin)


# Frame 2 branches into three; the second of them turns out to be the answer.
STORY = [
    TreeRecord("prompted", 0, 1),
    record(1, [0], [(1, 0)]),
    record(2, [0, 0, 0], [], 0.1),
    record(3, [1, 0, 1], [], 0.1),
    record(4, [0, 0], [(2, 1), (3, 0)], 0.5),
    TreeRecord("ended", 4, 1, decided=(DecisionRecord(4, 0, "end"),)),
]


def test_a_history_on_literal_values() -> None:
    ((obj_id, history),) = TreeHistory.of(STORY).items()
    assert (obj_id, history.span) == (1, (0, 5))
    assert history.answers == {
        1: Answer(0, "agreement", 1),
        2: Answer(1, "agreement", 4),
        3: Answer(0, "agreement", 4),
        4: Answer(0, "end", 4),
    }
    assert history.answer(0) is None, "the user's"
    place, answer = history.answer(2) or (None, None)
    assert (place, answer and answer.cumulative_score) == (1, -3.0)
    # Doubt is exp(-margin) where hypotheses compete.
    begins, doubts = history.overview(5)
    assert begins == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert doubts == pytest.approx([0.0, 0.0, math.exp(-0.1), math.exp(-0.1), math.exp(-0.5)])
    assert history.overview(2) == ([0.0, 3.0], pytest.approx([math.exp(-0.1), math.exp(-0.1)]))


def test_every_branch_has_a_lane_of_its_own() -> None:
    assert lanes(STORY[:5], {1: 0, 2: 1, 3: 0, 4: 0}) == {
        (1, 0): 0,
        (2, 1): 0,  # the answer
        (2, 0): 1,
        (2, 2): 2,
        (3, 0): 0,
        (3, 1): 1,  # goes on with its parent's
        (3, 2): 2,  # forks off the answer, and takes what is free
        (4, 0): 0,
        (4, 1): 1,
    }


def test_a_long_history_stays_small_and_keeps_what_was_in_doubt() -> None:
    history = TreeHistory(1, max_frames=3 * WINDOW)
    for t in range(1, 3000):
        contested = 1000 <= t < 1040
        parents = [0, 0, 0] if contested else [0]
        history.add(record(t, parents, [(t, 0)], 0.2 if contested else math.inf))
        assert len(history.steps) <= 3 * WINDOW
    assert history.answers.keys() == history.steps.keys()
    assert set(range(1000, 1040)) <= history.steps.keys()
    first, end = history.window(WINDOW)
    assert first <= 1000 < 1040 <= end
    assert (end - first, history.span) == (WINDOW, (1, 3000))
    begins, doubts = history.overview(1000)
    assert {t for t, amount in zip(begins, doubts, strict=True) if amount} == {float(t) for t in range(1000, 1040, 3)}


def test_a_frame_that_is_tracked_again_replaces_what_was_there() -> None:
    (history,) = TreeHistory.of([*STORY, record(2, [0], [])]).values()
    assert list(history.steps) == [0, 1, 3, 4, 2]
    assert 2 not in history.answers


@pytest.fixture
def figures() -> None:
    pytest.importorskip("matplotlib")


def colors_at(axes: Any, color: str) -> list[tuple[float, float]]:
    """Where markers of a colour lie."""
    from matplotlib.colors import to_hex

    return [
        (float(x), float(y))
        for marks in axes.collections
        if len(marks.get_facecolor()) and to_hex(marks.get_facecolor()[0]) == color
        for x, y in marks.get_offsets()
    ]


@pytest.mark.usefixtures("figures")
def test_the_figure_shows_answers_forks_and_what_was_not_the_best(tmp_path: Path) -> None:
    picture = np.zeros((6, 8, 3), np.uint8)
    figure = draw_tree(STORY, competing=[Competing(2, (picture,) * 3), Competing(9, (picture,) * 2)])
    tree, scores, ious, waits, *pictures = figure.axes
    assert colors_at(tree, "#e8710a") == [(2.0, 0.0)], "frame 2's answer was second when it was tracked"
    assert colors_at(tree, "#1a9850") == [(0.0, 0.0)], "the prompt"
    assert colors_at(tree, "#ffffff") == [(1.0, 0.0)], "branches of frame 2 lived on"
    lowest = min(min(line.get_ydata()) for line in scores.lines)
    assert lowest == -2.0, "frame 3's third; each place is a score of 1 behind"
    assert [bar.get_height() for bar in waits.patches] == [0, 2, 1, 0]
    assert [axes.get_xlabel() for axes in pictures] == ["dropped", "answer", "dropped"], "frame 9 is not there"
    assert pictures[0].get_title(loc="left") == "frame 2"
    assert ious.get_ylim()[1] > 1
    for name in ("tree.png", "tree.pdf", "tree.svg"):
        figure.savefig(tmp_path / name)
    with Image.open(tmp_path / "tree.png") as image:
        assert image.width == 1000


@pytest.mark.usefixtures("figures")
def test_a_long_video_is_drawn_where_it_was_in_doubt() -> None:
    told = [record(t, [0, 0] if 700 <= t < 720 else [0], [(t, 0)], 0.1 if 700 <= t < 720 else math.inf)
            for t in range(1, 3000)]  # fmt: skip
    figure = draw_tree(told)
    tree, overview = figure.axes[0], figure.axes[-1]
    low, high = tree.get_xlim()
    assert low < 700 < 720 < high
    assert high - low == WINDOW + 1
    assert overview.get_xlim()[1] > 2990
    low, high = draw_tree(told, window=(10, 30)).axes[0].get_xlim()
    assert (low, high) == (9, 30)


@pytest.mark.usefixtures("figures")
def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_tree([])
    other = TreeRecord("prompted", 0, "hand")
    with pytest.raises(ValueError, match=r"several objects, say which: obj_id= one of \[1, 'hand'\]"):
        draw_tree([*STORY, other])
    with pytest.raises(ValueError, match="no object 7; known"):
        draw_tree(STORY, obj_id=7)
    with pytest.raises(ValueError, match="no frame from 50 to 59"):
        draw_tree(STORY, window=(50, 60))
    assert "one pathway throughout" in [text.get_text() for text in draw_tree(STORY[:2]).axes[0].texts]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"sam2long\[viz\]"):
        draw_tree(STORY)


def test_masks_that_competed_become_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competing_masks, "MAX_FRAMES", 2)
    kept = CompetingMasks()
    masks = np.zeros((2, 300, 400), bool)
    masks[0, 100:200, 100:200] = masks[1, 100:200, 150:250] = True  # IoU 1/3
    frames = np.full((4, 300, 400, 3), 128, np.uint8)
    kept.add(0, masks[[0, 0]], margin=0.1)
    kept.add(1, masks, margin=0.1)
    kept.add(2, masks, margin=0.5)
    kept.add(3, masks, margin=9.0)
    assert len(kept) == 2, "those farthest apart in the closest races"
    first, second = kept.pictures(frames, (255, 0, 0), {2: 1}, window=(0, 4))
    assert (first.frame_idx, first.interest) == (1, pytest.approx(2 / 3 * math.exp(-0.1)))
    assert second.interest == pytest.approx(1 + 2 / 3 * math.exp(-0.5)), "the second was the answer"
    one, other = first.pictures
    assert one.shape == other.shape
    red = [(picture[..., 0] > picture[..., 1] + 60).sum() for picture in (one, other)]
    assert red[0] == red[1] == 50 * 50, "kept at half the size"
    (only,) = kept.pictures(None, (255, 0, 0), {}, window=(0, 12))  # 1 and 2 lie side by side
    assert only.frame_idx == 1
    assert kept.pictures(None, (255, 0, 0), {}, window=(5, 9)) == []
