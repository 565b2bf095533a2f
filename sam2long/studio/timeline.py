"""What is known of objects over time, and its drawing: rows and curves in which a click leads to a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sam2long.search.scores import FrameScores
from sam2long.studio.desk import Desk
from sam2long.studio.objects import hex_of
from sam2long.views.visualize import Color

_COLUMNS = 500  # a long video's frames share them
_WIDTH, _LANE, _ROW, _FIELD = 1000, 11, 28, 44
_FAR = 10.0  # occlusion scores beyond it look alike
_RIVALS = 3.0  # the paper's number of pathways


@dataclass(frozen=True)
class ObjectCourse:
    """One object over the frames of the video.

    Attributes:
        scores: of frames that were tracked.
        known: frames that were tracked or shown.
        shown: frames on which the person showed it.
        doubtful: how much the tracking was in doubt, by frame.
    """

    obj_id: int
    name: str
    color: Color
    scores: Mapping[int, FrameScores]
    known: frozenset[int]
    shown: tuple[int, ...]
    doubtful: Mapping[int, float]


def course_of(desk: Desk, obj_id: int) -> ObjectCourse:
    """What a desk knows of an object."""
    of = desk.known(obj_id)
    scores = desk.predictor.get_scores(desk.state, obj_id) if obj_id in desk.state["obj_ids"] else {}
    doubtful = {frame.frame_idx: frame.doubt for frame in desk.doubtful(obj_id)}
    known = frozenset(desk.frames_known(obj_id))
    return ObjectCourse(obj_id, of.name, of.color, scores, known, tuple(sorted(of.shown)), doubtful)


def timeline_html(courses: Sequence[ObjectCourse], chosen: int | None, num_frames: int) -> str:
    """A row for every object, and below them the curves of the chosen one.

    What is clicked is found by `data-frame` and `data-object`; elsewhere the place says which frame is meant.
    """
    axis = _Axis(num_frames)
    lines = [_row(course, axis, course.obj_id == chosen) for course in courses]
    course = next((course for course in courses if course.obj_id == chosen), None)
    if course is not None and course.scores:
        lines += [_curve(strip, course, axis) for strip in _STRIPS]
    return f'<div class="s2l-time" data-frames="{num_frames}">{"".join(lines)}</div>'


class _Axis:
    """From frames to the width of the drawing."""

    def __init__(self, num_frames: int) -> None:
        self._num_frames = max(num_frames, 1)
        self.per_column = max(1.0, self._num_frames / _COLUMNS)
        self.step = _WIDTH / self._num_frames * self.per_column

    def x(self, frame_idx: float) -> float:
        return round(_WIDTH * frame_idx / self._num_frames, 1)

    def columns(self, frames: Sequence[int]) -> dict[int, list[int]]:
        """Frames in order of time, by the first frame of their column."""
        found: dict[int, list[int]] = {}
        for t in frames:
            found.setdefault(int(int(t / self.per_column) * self.per_column), []).append(t)
        return found

    def follows(self, column: int, before: int | None) -> bool:
        """Whether no column lies between two."""
        return before is not None and column - before <= self.per_column + 1


def _line(label: str, height: int, drawing: str, kind: str, attributes: str = "") -> str:
    return (
        f'<div class="s2l-line {kind}" {attributes}><div class="s2l-label">{label}</div><div class="s2l-field">'
        f'<svg viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="none" style="height:{height}px">{drawing}</svg>'
        '<div class="s2l-head"></div></div></div>'
    )


def _row(course: ObjectCourse, axis: _Axis, is_chosen: bool) -> str:
    """Full colour where the object is seen, pale where it is hidden; above it the doubts, the worse the brighter."""
    color, parts = hex_of(course.color), []
    for seen, first, last in _runs(course, axis):
        width = max(axis.x(last) + axis.step - axis.x(first), 1.5)
        place = f'x="{axis.x(first)}" y="{_LANE + 2}" width="{width:.1f}" height="{_ROW - _LANE - 4}"'
        parts.append(f'<rect {place} fill="{color}" opacity="{0.95 if seen else 0.25}"/>')
    for t in axis.columns(course.shown):
        parts.append(f'<rect class="s2l-shown" x="{axis.x(t)}" y="{_LANE}" width="3" height="{_ROW - _LANE}"/>')
    for t, frames in axis.columns(sorted(course.doubtful)).items():
        worst = max(frames, key=lambda frame: course.doubtful[frame])
        place = f'x="{axis.x(t):.1f}" y="1" width="{max(axis.step, 5):.1f}" height="{_LANE - 2}"'
        opacity = f"{min(1.0, 0.3 + 0.35 * course.doubtful[worst]):.2f}"
        parts.append(
            f'<rect class="s2l-doubt" data-frame="{worst}" {place} opacity="{opacity}">'
            f"<title>In doubt on frame {worst}</title></rect>"
        )
    label = f'<span class="s2l-dot" style="background:{color}"></span>{escape(course.name)}'
    kind = "s2l-object s2l-chosen" if is_chosen else "s2l-object"
    return _line(label, _ROW, "".join(parts), kind, f'data-object="{course.obj_id}"')


def _runs(course: ObjectCourse, axis: _Axis) -> list[tuple[bool, int, int]]:
    """(seen, first column, last column) of stretches that look alike."""
    runs: list[tuple[bool, int, int]] = []
    for column, frames in axis.columns(sorted(course.known)).items():
        seen = any(t not in course.scores or course.scores[t].occlusion_score > 0 for t in frames)
        if runs and runs[-1][0] == seen and axis.follows(column, runs[-1][2]):
            runs[-1] = (seen, runs[-1][1], column)
        else:
            runs.append((seen, column, column))
    return runs


@dataclass(frozen=True)
class _Strip:
    """A curve: of the frames that share a column it shows what is worst. `high` None goes up to what there is."""

    title: str
    note: str
    low: float
    high: float | None
    value: Callable[[FrameScores], float]
    worst: Callable[[Sequence[float]], float]


_STRIPS = (
    _Strip("Visible", "above the line: seen (occlusion score)", -_FAR, _FAR, lambda s: s.occlusion_score, min),
    _Strip("Mask quality", "estimated, 0 to 1 (predicted IoU)", 0.0, 1.0, lambda s: s.predicted_iou, min),
    _Strip("Rival answers", "still in the race (distinct pathways)", 0.0, None, lambda s: s.distinct_pathways, max),
)


def _curve(strip: _Strip, course: ObjectCourse, axis: _Axis) -> str:
    values = {t: strip.value(scores) for t, scores in course.scores.items()}
    high = max(_RIVALS, *values.values()) if strip.high is None else strip.high
    path, before = "", None
    for column, frames in axis.columns(sorted(values)).items():
        value = min(max(strip.worst([values[t] for t in frames]), strip.low), high)
        x, y = axis.x(column), round(_FIELD - 2 - (value - strip.low) / (high - strip.low) * (_FIELD - 4), 1)
        path += f"{'L' if axis.follows(column, before) else 'M'}{x} {y}H{x + axis.step:.1f}"
        before = column
    stroke = 'stroke-width="2" vector-effect="non-scaling-stroke"'
    drawing = f'<path d="{path}" fill="none" stroke="{hex_of(course.color)}" {stroke}/>'
    if strip.low < 0:
        drawing = f'<line class="s2l-zero" x1="0" x2="{_WIDTH}" y1="{_FIELD / 2}" y2="{_FIELD / 2}"/>{drawing}'
    return _line(f"{strip.title}<small>{strip.note}</small>", _FIELD, drawing, "s2l-curve")
