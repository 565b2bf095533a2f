"""Prompts: options, the JSON file, mask images, and what a video's size forbids."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sam2long.cli.errors import UserError
from sam2long.cli.mask_file import read_masks
from sam2long.cli.prompt_file import read_prompt_file
from sam2long.cli.prompts import Prompt, box_option, check_prompts, point_option, prompts_from_options
from sam2long.views.visualize import davis_palette

HEIGHT, WIDTH, NUM_FRAMES = 30, 40, 5


def id_image(*ids: int) -> Image.Image:
    """A palette image with a 4 x 4 square for each id."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for place, obj_id in enumerate(ids):
        pixels[2:6, 5 * place : 5 * place + 4] = obj_id
    image = Image.fromarray(pixels)
    image.putpalette(davis_palette().tobytes())
    return image


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3,4", ((3, 4), 1)), ("3,4,1", ((3, 4), 1)), ("3,4,0", ((3, 4), 0)), ("2.5, 1e1", ((2.5, 10), 1))],
)
def test_point_option(text: str, expected: Any) -> None:
    assert point_option(text) == expected


@pytest.mark.parametrize("text", ["", "3", "3,4,2", "3,4,0.5", "3,4,1,1", "a,b", "nan,3", "3,inf", "3;4", "3,4,"])
def test_malformed_point(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected x,y or x,y,label"):
        point_option(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,nan,4"])
def test_malformed_box(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected x0,y0,x1,y1"):
        box_option(text)


def test_points_and_box_of_one_call_are_one_prompt() -> None:
    (prompt,) = prompts_from_options([((1, 2), 1), ((3, 4), 0)], (0, 0, 9, 9), None, 7, None)
    assert prompt == Prompt(7, 1, ((1, 2), (3, 4)), (1, 0), (0, 0, 9, 9))


def test_mask_with_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--mask already says"):
        prompts_from_options([((1, 2), 1)], None, tmp_path / "m.png", 0, None)


# --- mask images -----------------------------------------------------------------------------------------


def test_palette_image_holds_all_its_objects(tmp_path: Path) -> None:
    id_image(1, 3, 200).save(tmp_path / "m.png")
    masks = read_masks(tmp_path / "m.png", None)
    assert {k: int(mask.sum()) for k, mask in masks.items()} == {1: 16, 3: 16, 200: 16}
    assert masks[3].shape == (HEIGHT, WIDTH)
    assert masks[3][2:6, 5:9].all()


def test_obj_id_picks_one_object_of_a_palette_image(tmp_path: Path) -> None:
    id_image(1, 3).save(tmp_path / "m.png")
    assert list(read_masks(tmp_path / "m.png", 3)) == [3]
    with pytest.raises(UserError, match="holds no object 2; it holds 1, 3"):
        read_masks(tmp_path / "m.png", 2)


def white_square(mode: str) -> Image.Image:
    image = Image.new(mode, (WIDTH, HEIGHT))
    image.paste("white", (5, 2, 9, 6))
    return image


def sixteen_bits() -> Image.Image:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint16)
    pixels[2:6, 5:9] = 256  # nothing in its low byte
    return Image.fromarray(pixels)


def painted_on_transparent() -> Image.Image:
    """White everywhere, opaque in the square only: what a paint program saves."""
    pixels = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    pixels[..., 3] = 0
    pixels[2:6, 5:9, 3] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "image",
    [*(white_square(mode) for mode in ("1", "L", "LA", "RGB", "RGBA")), sixteen_bits(), painted_on_transparent()],
    ids=["1", "L", "LA", "RGB", "RGBA", "16 bits", "transparent"],
)
def test_other_images_hold_one_object(image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "m.png")
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[2:6, 5:9] = True
    masks = read_masks(tmp_path / "m.png", None)
    assert list(masks) == [1]
    assert (masks[1] == expected).all()
    assert list(read_masks(tmp_path / "m.png", 9)) == [9]


def test_empty_missing_and_broken_masks(tmp_path: Path) -> None:
    id_image().save(tmp_path / "palette.png")
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "grey.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    whole = (tmp_path / "palette.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name, message in {
        "palette.png": "is empty",
        "grey.png": "is empty",
        "missing.png": "no such file",
        "broken.png": "not a readable image",
        "cut.png": "not a readable image",
    }.items():
        with pytest.raises(UserError, match=f"{name}.*{message}"):
            read_masks(tmp_path / name, None)
    with pytest.raises(UserError, match="not a readable image"):
        read_masks(tmp_path, None)


# --- the JSON file ---------------------------------------------------------------------------------------


def read(folder: Path, content: Any) -> list[Prompt]:
    path = folder / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_prompt_file(path)


def test_prompt_file(tmp_path: Path) -> None:
    id_image(4, 5).save(tmp_path / "m.png")
    prompts = read(
        tmp_path,
        [
            {"frame": 0, "obj_id": 1, "points": [[1, 2], [3.5, 4]], "labels": [1, 0]},
            {"frame": 2, "obj_id": 1, "points": [[5, 6]]},
            {"frame": 0, "obj_id": 2, "box": [0, 1, 10, 11], "points": [[2, 3]]},
            {"frame": 3, "mask": "m.png"},
            {"frame": 4, "mask": "m.png", "obj_id": 5},
        ],
    )
    assert prompts[0] == Prompt(0, 1, ((1, 2), (3.5, 4)), (1, 0))
    assert prompts[1] == Prompt(2, 1, ((5, 6),), (1,))
    assert prompts[2] == Prompt(0, 2, ((2, 3),), (1,), (0, 1, 10, 11))
    assert [(p.frame_idx, p.obj_id) for p in prompts[3:]] == [(3, 4), (3, 5), (4, 5)]
    assert all(p.mask is not None and p.mask.sum() == 16 for p in prompts[3:])
    check_prompts(prompts, num_frames=NUM_FRAMES, height=HEIGHT, width=WIDTH)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + json.dumps([GOOD])) == [Prompt(0, 1, ((1, 2),), (1,))]


GOOD = {"frame": 0, "obj_id": 1, "points": [[1, 2]]}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("{", "not a readable JSON file"),
        ("[]", "expected a list"),
        ({"frame": 0}, "expected a list"),
        ([GOOD, 3], r"\[1\]: expected"),
        ([{**GOOD, "object": 1}], r"\[0\]\.object: unknown key"),
        ([{"frame": 0, "obj_id": 1}], r"\[0\]: expected points, a box or a mask"),
        ([{"obj_id": 1, "points": [[1, 2]]}], r"\[0\]\.frame: expected an integer, got nothing"),
        ([{**GOOD, "frame": 1.0}], r"\[0\]\.frame: expected an integer, got 1\.0"),
        ([{**GOOD, "frame": True}], r"\[0\]\.frame: expected an integer, got True"),
        ([{"frame": 0, "points": [[1, 2]]}], r"\[0\]\.obj_id: expected an integer, got nothing"),
        ([{**GOOD, "obj_id": "1"}], r"\[0\]\.obj_id: expected an integer, got '1'"),
        ([{**GOOD, "points": []}], r"\[0\]\.points: expected at least one point"),
        ([{**GOOD, "points": [1, 2]}], r"\[0\]\.points\[0\]: expected \[x, y\], got 1"),
        ([{**GOOD, "points": [[1, 2], [3]]}], r"\[0\]\.points\[1\]: expected \[x, y\], got \[3\]"),
        ([GOOD, {**GOOD, "points": [[1, None]]}], r"\[1\]\.points\[0\]: expected \[x, y\]"),
        ('[{"frame": 0, "obj_id": 1, "points": [[NaN, 1]]}]', r"\[0\]\.points\[0\]: expected"),
        ('[{"frame": 0, "obj_id": 1, "points": [[1e999, 1]]}]', r"\[0\]\.points\[0\]: expected"),
        (
            '[{"frame": 0, "frame": 1, "obj_id": 1, "points": [[1, 1]]}]',
            "not a readable JSON file .a key is given twice",
        ),
        ([{**GOOD, "points": "1,2"}], r"\[0\]\.points: expected \[\[x, y\], \.\.\.\]"),
        ([{**GOOD, "labels": [1, 0]}], r"\[0\]\.labels: expected a list with one label for each of the 1 points"),
        ([{**GOOD, "labels": [2]}], r"\[0\]\.labels\[0\]: expected 1 .* or 0 .*, got 2"),
        ([{**GOOD, "labels": ["1"]}], r"\[0\]\.labels\[0\]: expected an integer"),
        ([{"frame": 0, "obj_id": 1, "box": [1, 2, 3]}], r"\[0\]\.box: expected \[x0, y0, x1, y1\]"),
        ([{**GOOD, "mask": "m.png"}], r"\[0\]\.points: the mask already says"),
        ([{"frame": 0, "obj_id": 1, "mask": 3}], r"\[0\]\.mask: expected the path of an image, got 3"),
        ([{"frame": 0, "obj_id": 1, "mask": "none.png"}], r"\[0\]\.mask: .*none\.png: no such file"),
    ],
)
def test_bad_prompt_file_names_the_place(content: Any, place: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"prompts\.json: {place}"):
        read(tmp_path, content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["frame", "obj_id", "points", "labels", "box", "mask", "x"]), inner)
    ),
    max_leaves=20,
)


@given(content=json_values)
def test_any_json_gives_prompts_or_a_user_error(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        prompts = read(tmp_path_factory.getbasetemp(), content)
    except UserError:
        return
    assert prompts
    assert all(len(p.points) == len(p.labels) and set(p.labels) <= {0, 1} for p in prompts)


# --- against the video -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(5, 1, ((1, 1),), (1,)), "frame 5 is out of range: the video has frames 0 to 4"),
        (Prompt(-1, 1, ((1, 1),), (1,)), "frame -1 is out of range"),
        (Prompt(0, 0, ((1, 1),), (1,)), "object id 0 is out of range"),
        (Prompt(0, 65536, ((1, 1),), (1,)), "object id 65536 is out of range"),
        (Prompt(0, 1, ((40, 1),), (1,)), r"point \(40, 1\) lies outside the frame, 40 x 30 pixels"),
        (Prompt(0, 1, ((1, 1), (1, -0.5)), (1, 0)), r"point \(1, -0\.5\) lies outside"),
        (Prompt(0, 1, box=(5, 5, 5, 9)), r"box \(5, 5, 5, 9\) is empty"),
        (Prompt(0, 1, box=(9, 5, 5, 9)), "is empty"),
        (Prompt(0, 1, box=(0, 0, 41, 30)), "reaches outside"),
        (Prompt(0, 1, mask=np.ones((40, 30), bool)), "the mask is 30 x 40 pixels, the frame, 40 x 30 pixels"),
        (Prompt(0, 1, ((1, 1),), (0,)), "object 1 is unknown"),
    ],
)
def test_prompts_that_do_not_fit(prompt: Prompt, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_prompts([prompt], num_frames=NUM_FRAMES, height=HEIGHT, width=WIDTH)


def test_one_prompt_for_each_object_and_frame() -> None:
    points = Prompt(1, 2, ((1, 1),), (1,))
    with pytest.raises(UserError, match="object 2 has another prompt on frame 1"):
        check_prompts([points, Prompt(1, 2, box=(0, 0, 9, 9))], num_frames=NUM_FRAMES, height=HEIGHT, width=WIDTH)


def test_corners_of_the_frame_and_corrections_fit() -> None:
    prompts = [
        Prompt(0, 1, ((0, 0), (39.9, 29.9)), (1, 0)),
        Prompt(0, 255, box=(0, 0, 40, 30)),
        Prompt(4, 1, ((3, 3),), (0,)),  # only negative, but the object is shown on frame 0
    ]
    check_prompts(prompts, num_frames=NUM_FRAMES, height=HEIGHT, width=WIDTH)
