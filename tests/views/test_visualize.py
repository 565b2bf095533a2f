"""Pictures: the palette's published colours, what an overlay touches, panels, plots."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sam2long.search.scores import FrameScores
from sam2long.views.visualize import (
    contour_width,
    davis_palette,
    draw_prompt,
    object_color,
    overlay,
    plot_scores,
    side_by_side,
)


def test_palette_is_the_one_of_davis() -> None:
    palette = davis_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    # The colours that DAVIS prints in its palette file, at both ends and where the second bits begin.
    expected = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        7: (128, 128, 128),
        8: (64, 0, 0),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {k: tuple(palette[k].tolist()) for k in expected} == expected
    assert len({tuple(color) for color in palette.tolist()}) == 256


@pytest.mark.parametrize("obj_id", [1, 2, 8, 64, 255, 256, 1000])
def test_object_colors_are_bright(obj_id: int) -> None:
    assert max(object_color(obj_id)) == 255


def test_object_color_keeps_the_hue() -> None:
    assert object_color(1) == (255, 0, 0)
    assert object_color(20) == (0, 127, 255)
    assert object_color(256) == object_color(1)


def square(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[rows, columns] = True
    return mask


def test_overlay_paints_inside_contour_and_rim_and_nothing_else() -> None:
    frame = np.full((40, 60, 3), 90, dtype=np.uint8)
    picture = overlay(frame, {1: square(40, 60, slice(10, 20), slice(20, 40))}, alpha=0.5)
    assert picture.shape == frame.shape
    assert picture.dtype == np.uint8
    assert picture[15, 30].tolist() == [172, 45, 45]  # inside: half of 90, half of red
    assert picture[10, 30].tolist() == [255, 0, 0]  # the contour
    assert picture[9, 30].tolist() == [30, 30, 30]  # the rim: the frame, darkened
    untouched = np.ones((40, 60), dtype=bool)
    untouched[9:21, 19:41] = False
    assert (picture[untouched] == 90).all()
    assert (frame == 90).all()


def test_overlay_takes_other_colors() -> None:
    masks = {1: square(40, 60, slice(0, 9), slice(0, 9)), 2: square(40, 60, slice(20, 29), slice(20, 29))}
    picture = overlay(np.zeros((40, 60, 3), np.uint8), masks, colors={1: (10, 20, 30)})
    assert picture[0, 0].tolist() == [10, 20, 30]
    assert picture[20, 20].tolist() == [0, 255, 0]  # not named: the DAVIS colour


def test_overlay_keeps_the_contour_at_the_edge_of_the_frame() -> None:
    frame = np.full((20, 20, 3), 200, dtype=np.uint8)
    picture = overlay(frame, {2: np.ones((20, 20), dtype=bool)})
    edge = np.ones((20, 20), dtype=bool)
    edge[1:-1, 1:-1] = False
    assert (picture[edge] == (0, 255, 0)).all()
    assert not (picture[~edge] == (0, 255, 0)).all(axis=-1).any()


def test_overlay_contour_grows_with_the_frame() -> None:
    assert [contour_width(*size) for size in ((240, 320), (480, 854), (1080, 1920), (2160, 3840))] == [1, 2, 3, 5]
    frame = np.zeros((480, 480, 3), dtype=np.uint8)
    picture = overlay(frame, {1: square(480, 480, slice(100, 200), slice(100, 200))})
    red = (picture == (255, 0, 0)).all(axis=-1)
    assert red[150].nonzero()[0].tolist() == [100, 101, 198, 199]


def test_later_masks_lie_on_top_and_empty_ones_change_nothing() -> None:
    frame = np.zeros((20, 20, 3), dtype=np.uint8)
    whole, none = np.ones((20, 20), dtype=bool), np.zeros((20, 20), dtype=bool)
    assert overlay(frame, {1: whole, 2: whole})[0, 0].tolist() == [0, 255, 0]
    assert (overlay(frame, {1: none}) == frame).all()
    assert (overlay(frame, {}) == frame).all()


def test_overlay_refuses_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"object 3 is \(10, 20\), the frame \(20, 20\)"):
        overlay(np.zeros((20, 20, 3), dtype=np.uint8), {3: np.ones((10, 20), dtype=bool)})


def test_prompts_are_drawn_where_they_were_given() -> None:
    frame = np.zeros((60, 80, 3), dtype=np.uint8)
    picture = draw_prompt(frame, obj_id=1, points=[(20, 30), (60, 30)], labels=[1, 0], box=(5, 5, 75, 55))
    assert picture[5, 40].tolist() == [255, 0, 0]
    assert picture[30, 20].tolist() == [255, 255, 255]
    assert picture[29, 20].tolist() == [255, 255, 255]  # the plus has an upright arm,
    assert picture[29, 60].tolist() == [230, 60, 60]  # the bar has none
    assert (frame == 0).all()


def test_side_by_side_keeps_the_pictures_and_writes_the_labels() -> None:
    left, right = np.full((48, 60, 3), 10, np.uint8), np.full((48, 80, 3), 200, np.uint8)
    panel = side_by_side([left, right], ["SAM 2", "sam2long"])
    assert panel.dtype == np.uint8
    assert (panel[-48:, :60] == 10).all()
    assert (panel[-48:, -80:] == 200).all()
    caption = panel[:-48]
    assert (caption[:, :60] > 200).any()
    assert (caption[:, -80:] > 200).any()


def test_side_by_side_says_what_is_wrong() -> None:
    picture = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(ValueError, match="one label for each"):
        side_by_side([picture], [])
    with pytest.raises(ValueError, match=r"differ in height: \[10, 12\]"):
        side_by_side([picture, np.zeros((12, 10, 3), np.uint8)], ["a", "b"])


def test_overlay_of_many_objects_round_trips_through_png(tmp_path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    masks = {k: square(31, 47, slice(0, 31), slice(9 * k, 9 * k + 9)) for k in range(5)}
    picture = overlay(frame, {k + 1: mask for k, mask in masks.items()})
    Image.fromarray(picture).save(tmp_path / "overlay.png")
    assert (np.asarray(Image.open(tmp_path / "overlay.png")) == picture).all()


def test_scores_are_plotted_in_frame_order() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    scores = {t: FrameScores(0.1 * t, 5.0 - t, -1.0, float("inf"), 1 + t % 3) for t in (4, 2, 3)}
    axes = plot_scores(scores)
    curve = axes[0].lines[0]
    assert curve.get_xdata().tolist() == [2, 3, 4]
    assert curve.get_ydata() == pytest.approx([0.2, 0.3, 0.4])
    assert axes[2].lines[0].get_ydata().tolist() == [3, 1, 2]
    pyplot.close("all")
