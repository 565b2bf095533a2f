"""Charts: curves lie where their values are, grow with time and leave gaps."""

from __future__ import annotations

import numpy as np

from sam2long.views.charts import Chart, Curve, Strip

RED, GREEN = (255, 0, 0), (0, 255, 0)


def chart(*curves: Curve, num_frames: int = 10, marks: tuple[int, ...] = ()) -> Chart:
    strip = Strip("IoU", curves, 0.0, 1.0, ticks=(0, 1))
    return Chart([strip], num_frames, width=320, strip_height=80, marks=marks)


def pixels(picture: np.ndarray, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a pure colour's pixels, antialiased ones included."""
    channel = color.index(255)
    others = [k for k in range(3) if k != channel]
    rows, columns = np.nonzero((picture[..., channel] > 130) & (picture[..., others] < 60).all(axis=-1))
    return rows, columns


def test_a_higher_value_lies_higher_and_beyond_the_field_at_its_edge() -> None:
    rows = [pixels(chart(Curve([value] * 10, RED)).picture(), RED)[0].mean() for value in (0.0, 0.5, 1.0, 7.0)]
    assert rows[0] > rows[1] + 15 > rows[2] + 30
    assert rows[3] == rows[2]


def test_curves_grow_with_time() -> None:
    drawn = chart(Curve([0.5] * 10, RED))
    reach = [pixels(drawn.picture(until=t), RED)[1].max() for t in (2, 5, 8)]
    assert reach[0] < reach[1] < reach[2] <= pixels(drawn.picture(), RED)[1].max()
    assert reach[2] - reach[1] == np.ptp(reach[:2])


def test_pictures_are_of_one_size_and_the_callers_own() -> None:
    drawn = chart(Curve([0.5] * 10, RED))
    assert drawn.picture().shape == drawn.picture(until=3).shape == (drawn.size[1], 320, 3)
    drawn.picture()[:] = 0
    assert drawn.picture().any()


def test_gaps_are_not_bridged() -> None:
    values = [0.5] * 4 + [float("nan")] * 3 + [0.5] * 3
    _, columns = pixels(chart(Curve(values, RED)).picture(), RED)
    _, whole = pixels(chart(Curve([0.5] * 10, RED)).picture(), RED)
    missing = sorted(set(whole) - set(columns))
    assert len(missing) > 60
    assert missing == list(range(missing[0], missing[-1] + 1))


def test_steps_are_filled_from_the_bottom() -> None:
    rows, columns = pixels(chart(Curve([0.0] * 5 + [1.0] * 5, GREEN, steps=True)).picture(), GREEN)
    high = rows[columns > columns.mean()]
    assert np.ptp(high) > 45  # of a field of about 52 rows
    assert (rows[columns < 150] > high.max() - 2).all()


def test_labels_and_marks_are_drawn() -> None:
    plain = chart(Curve([0.5] * 10, RED)).picture()
    labelled = chart(Curve([0.5] * 10, RED, label="SAM 2")).picture()
    assert (plain[:24] != labelled[:24]).any()
    assert (plain[26:] == labelled[26:]).all()
    marked = chart(Curve([0.5] * 10, RED), marks=(3,)).picture()
    assert 1 <= len(np.unique(np.nonzero((marked != plain).any(axis=-1))[1])) <= 3
