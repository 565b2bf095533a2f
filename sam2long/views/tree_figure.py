"""A memory tree over the frames of a video, drawn with matplotlib: answers, what competed, what it looked like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sam2long.search.records import TreeRecord
from sam2long.views.tree_history import TreeHistory, lanes
from sam2long.views.visualize import UInt8Array

WINDOW = 120  # frames that can be told apart at the width of a page
_ANSWER, _LATE, _LOST, _BRIEF = "#1f5fd0", "#e8710a", "#a1a6ad", "#dcdfe3"
_GIVEN, _UNSEEN = "#1a9850", "#f1ece2"
_CAUSES = {"agreement": "#9db8e8", "limit": "#e8b06a", "prompt": "#8fd0a8", "end": "#c3a6d8"}
_MAX_PICTURES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Competing:
    """What a frame looked like to the hypotheses that competed there.

    Attributes:
        frame_idx: the frame.
        pictures: RGB, uint8 [h, w, 3], one for each hypothesis, in their places.
        interest: how far they are apart; the highest are shown.
    """

    frame_idx: int
    pictures: tuple[UInt8Array, ...]
    interest: float = 1.0


def draw_tree(
    records: Iterable[TreeRecord] | TreeHistory,
    *,
    obj_id: Any = None,
    window: tuple[int, int] | None = None,
    competing: Sequence[Competing] = (),
) -> Any:
    """Draw what the tree of one object did.

    From top to bottom: pictures of what competed; the tree, its answers as one line, every branch on a lane of its own,
    orange where the answer was not the best when its frame was tracked; the scores of the branches against the
    answer's; predicted IoUs, the ground tinted where the object is not seen; how many frames each answer waited, by
    what decided it; and of a video that is longer than the window, where in it that lies.

    Args:
        records: as `on_frame=` was given them, or a `TreeHistory` of them.
        obj_id: the object; may be left out where there is one.
        window: the frames (from, to) that are drawn; None takes the 120 most doubtful, or all if there are no more.
        competing: what to show of frames in the window; at most 4 are.

    Returns:
        The matplotlib figure: `figure.savefig("tree.png", dpi=200)`.

    Raises:
        ImportError: if matplotlib is missing (extra `viz`).
        ValueError: there is no such object, or nothing of it to draw.
    """
    figure_class = _matplotlib_figure()
    history = records if isinstance(records, TreeHistory) else _only(TreeHistory.of(records), obj_id)
    part = _Part(history, *(window or history.window(WINDOW)))
    there = {each.frame_idx: each for each in competing if each.frame_idx in part.steps}
    interests = {t: each.interest for t, each in there.items()}
    shown = [there[t] for t in most_interesting(interests, part.first, part.end)]
    is_whole = history.span == (part.first, part.end)
    heights = [*([1.5] if shown else []), 1.6, 1.2, 0.8, 0.6, *([] if is_whole else [0.45])]
    figure = figure_class(figsize=(10, sum(heights) + 0.9), layout="constrained")
    _fill(figure, heights, part, shown)
    if not is_whole:
        _draw_overview(figure, history, part)
    return figure


def most_interesting(interests: Mapping[int, float], first: int, end: int) -> list[int]:
    """Of frames and how much they are worth a look: those that are shown, none side by side, in order."""
    shown: list[int] = []
    for t in sorted(interests, key=lambda t: -interests[t]):
        is_apart = all(abs(t - other) >= (end - first) // 6 for other in shown)
        if first <= t < end and is_apart and len(shown) < _MAX_PICTURES:
            shown.append(t)
    return sorted(shown)


def _fill(figure: Any, heights: Sequence[float], part: _Part, shown: Sequence[Competing]) -> None:
    figure.suptitle(f"object {part.obj_id}: memory tree over frames {part.first} to {part.end - 1}", fontsize=11)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    first_row = 1 if shown else 0
    tree = figure.add_subplot(grid[first_row])
    scores, ious, waits = (figure.add_subplot(grid[first_row + k], sharex=tree) for k in (1, 2, 3))
    _draw_lanes(tree, part)
    _draw_scores(scores, ious, part)
    _draw_waits(waits, part)
    tree.set_xlim(part.first - 1, part.end)
    for axes in (tree, scores, ious):
        axes.tick_params(labelbottom=False)
    if shown:
        _draw_pictures(figure, grid[0], tree, part, shown)
    _draw_legend(figure)


def _matplotlib_figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib (extra sam2long[viz])") from error
    return Figure


def _only(histories: dict[Any, TreeHistory], obj_id: Any) -> TreeHistory:
    if not histories:
        raise ValueError("there is nothing to draw: no frame was tracked")
    if obj_id is None and len(histories) > 1:
        raise ValueError(f"there are several objects, say which: obj_id= one of {list(histories)}")
    if obj_id is not None and obj_id not in histories:
        raise ValueError(f"there is no object {obj_id!r}; known: {list(histories)}")
    return histories[next(iter(histories)) if obj_id is None else obj_id]


class _Part:
    """The frames of a history that are drawn."""

    def __init__(self, history: TreeHistory, first: int, end: int) -> None:
        self.obj_id, self.first, self.end = history.obj_id, first, end
        self.steps = {t: record for t, record in history.steps.items() if first <= t < end}
        if not self.steps:
            raise ValueError(f"there is nothing to draw: no frame from {first} to {end - 1} is among the records kept")
        self.waits = {t: history.answers[t] for t in self.steps if t in history.answers}
        found = {t: history.answer(t) for t in self.steps}
        self.answers = {t: answer for t, answer in found.items() if answer is not None}
        self.places = {t: place for t, (place, _) in self.answers.items()}
        self.given = [t for t, record in self.steps.items() if record.kind == "prompted"]
        self.lanes = lanes(self.steps.values(), self.places)
        # The nodes of branches that lived on after their first frame.
        edges = [(one, other) for one, other in self.edges() if not self.is_answer(one) and not self.is_answer(other)]
        self.lasting = {node for edge in edges for node in edge}

    def edges(self) -> Iterable[tuple[tuple[int, int], tuple[int, int]]]:
        """(parent, child), each a frame and a place there."""
        for t, record in self.steps.items():
            for place, hypothesis in enumerate(record.hypotheses):
                if record.grows_from in self.steps:
                    yield (record.grows_from, hypothesis.parent), (t, place)

    def follow_each_other(self, one: int, other: int) -> bool:
        """Whether no frame between them was left out."""
        return self.steps[other].grows_from in (one, None) or one in self.given or other in self.given

    def is_answer(self, node: tuple[int, int]) -> bool:
        return self.places.get(node[0]) == node[1]


def _draw_lanes(axes: Any, part: _Part) -> None:
    children: dict[tuple[int, int], int] = {}
    for parent, _ in part.edges():
        children[parent] = children.get(parent, 0) + 1
    for parent, child in part.edges():
        if not part.is_answer(child):
            color, width = (_LOST, 1.2) if child in part.lasting else (_BRIEF, 0.8)
            axes.plot([parent[0], child[0]], [part.lanes[parent], part.lanes[child]], color=color, linewidth=width)
    answered = list(part.answers) if not part.given else [t for t in part.steps if t in part.answers or t in part.given]
    for one, other in pairwise(answered):
        if part.follow_each_other(one, other):
            axes.plot([one, other], [0, 0], color=_ANSWER, linewidth=2.4, zorder=3)
    ends = [node for node in part.lasting if node not in children]
    forks = {parent for parent, child in part.edges() if part.is_answer(parent) and child in part.lasting}
    late = [(t, place) for t, place in part.places.items() if place]
    axes.scatter(*_at(part, part.lasting), s=7, color=_LOST, zorder=2)
    axes.scatter(*_at(part, ends), s=14, marker="x", color="#80858c", linewidths=0.9, zorder=2)
    axes.scatter(*_at(part, forks), s=20, facecolor="white", edgecolor=_ANSWER, linewidths=1.3, zorder=5)
    axes.scatter(*_at(part, late), s=22, color=_LATE, zorder=6)
    axes.scatter(part.given, [0] * len(part.given), s=40, marker="D", color=_GIVEN, zorder=7)
    deepest = max(part.lanes.values(), default=0)
    if not deepest:
        axes.text(0.5, 0.35, "one pathway throughout", ha="center", fontsize=8, transform=axes.transAxes)
    axes.set(ylabel="pathways", ylim=(deepest + 0.6, -0.6), yticks=[])
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _at(part: _Part, nodes: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    nodes = list(nodes)
    return [t for t, _ in nodes], [part.lanes[node] for node in nodes]


def _draw_scores(scores: Any, ious: Any, part: _Part) -> None:
    def lead(node: tuple[int, int]) -> float:
        t, place = node
        return part.steps[t].hypotheses[place].cumulative_score - part.answers[t][1].cumulative_score

    for parent, child in part.edges():
        if not part.is_answer(child) and parent[0] in part.answers:
            scores.plot([parent[0], child[0]], [lead(parent), lead(child)], color=_LOST, linewidth=1.0)
    scores.axhline(0, color=_ANSWER, linewidth=1.6)
    leads = [lead(node) for node in part.lanes if node in part.lasting]
    # What was dropped at once was far off, and would press all others together.
    scores.set_ylim(1.15 * min([-0.5, *leads]), 1.15 * max([0.1, *leads]))
    scores.set_ylabel("score less\nthe answer's", fontsize=8)
    others = [(t, one.predicted_iou) for (t, k) in part.lanes if not part.is_answer((t, k))
              for one in [part.steps[t].hypotheses[k]]]  # fmt: skip
    ious.scatter([t for t, _ in others], [iou for _, iou in others], s=5, color=_LOST)
    frames = sorted(part.answers)
    ious.plot(frames, [part.answers[t][1].predicted_iou for t in frames], color=_ANSWER, linewidth=1.2)
    ious.set_ylim(0, 1.03)
    ious.set_ylabel("predicted\nIoU", fontsize=8)
    for t in frames:
        if part.answers[t][1].occlusion_score <= 0:
            for axes in (scores, ious):
                axes.axvspan(t - 0.5, t + 0.5, color=_UNSEEN, linewidth=0, zorder=0)


def _draw_waits(axes: Any, part: _Part) -> None:
    for cause, color in _CAUSES.items():
        of = {t: abs(answer.decided_on - t) for t, answer in part.waits.items() if answer.by == cause}
        axes.bar(list(of), list(of.values()), width=1.0, color=color)
    axes.set_ylabel("frames\nwaited", fontsize=8)
    axes.set_xlabel("frame", fontsize=9)
    axes.set_ylim(0, max(axes.get_ylim()[1], 2))


def _draw_pictures(figure: Any, place: Any, tree: Any, part: _Part, shown: Sequence[Competing]) -> None:
    from matplotlib.patches import ConnectionPatch

    most = max(len(each.pictures) for each in shown)
    columns = place.subgridspec(1, len(shown), wspace=0.12)
    for column, each in zip(columns, shown, strict=True):
        cells = column.subgridspec(1, most, wspace=0.03)
        frames = [figure.add_subplot(cell) for cell in list(cells)[: len(each.pictures)]]
        for k, (axes, picture) in enumerate(zip(frames, each.pictures, strict=True)):
            is_answer = part.is_answer((each.frame_idx, k))
            color = (_LATE if k else _ANSWER) if is_answer else _LOST
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[], anchor="S")
            axes.set_xlabel("answer" if is_answer else "dropped", fontsize=7, color=color, labelpad=2)
            for spine in axes.spines.values():
                spine.set(color=color, linewidth=2.0)
        frames[0].set_title(f"frame {each.frame_idx}", fontsize=8, loc="left")
        below = ((0.5, -0.22), frames[len(frames) // 2].transAxes)
        line = ConnectionPatch(
            below[0], (each.frame_idx, -0.3), coordsA=below[1], coordsB=tree.transData, color="#c8ccd2", linewidth=0.9
        )
        line.set_in_layout(False)
        figure.add_artist(line)


def _draw_overview(figure: Any, history: TreeHistory, part: _Part) -> None:
    axes = figure.add_subplot(figure.axes[0].get_gridspec()[-1])
    begins, doubts = history.overview(1000)
    step = begins[1] - begins[0] if len(begins) > 1 else 1.0
    axes.fill_between(begins, doubts, step="post", color=_LOST, linewidth=0)
    axes.axvspan(part.first, part.end, color=_LATE, alpha=0.3, linewidth=0)
    axes.set(xlim=(begins[0], begins[-1] + step), ylim=(0, 1.05), yticks=[])
    axes.set_ylabel("doubt", fontsize=8)
    axes.set_xlabel("frame of the whole video; the part drawn is marked", fontsize=8)


def _draw_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def mark(marker: str, color: str, label: str, **more: Any) -> Any:
        return Line2D([], [], linestyle="", marker=marker, color=color, label=label, markersize=5, **more)

    entries = [
        Line2D([], [], color=_ANSWER, linewidth=2.4, label="answers"),
        mark("o", _ANSWER, "fork into branches that lasted", markerfacecolor="white"),
        mark("o", _LATE, "answer was not the best at the time"),
        mark("D", _GIVEN, "prompt"),
        Line2D([], [], color=_LOST, label="dropped"),
        Patch(color=_UNSEEN, label="not seen"),
        *(Patch(color=color, label=f"by {cause}") for cause, color in _CAUSES.items()),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=5, fontsize=7, frameon=False)
