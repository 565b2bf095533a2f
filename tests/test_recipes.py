"""The programs of docs/recipes.md run as they are printed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from support import ROOT, build_golden, moving_disks

from sam2long import SAM2LongVideoPredictor

BLOCKS = dict(
    re.findall(r"^## ([^\n]*)\n(?:(?!^## ).)*?```python\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.M | re.S)
)
Clip = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def clip() -> Clip:
    return moving_disks(10)


def run(title: str, clip: Clip | None = None, prompted: int = 0) -> dict[str, Any]:
    predictor = build_golden()
    names: dict[str, Any] = {"predictor": predictor}
    if clip is not None:
        names["state"] = predictor.init_state(clip[0])
        predictor.add_new_mask(names["state"], prompted, 1, clip[1][0, prompted])
    with torch.inference_mode():
        exec(BLOCKS[title], names)
    return names


def test_every_recipe_is_run() -> None:
    titles = re.findall(r"^## (.*)$", (ROOT / "docs/recipes.md").read_text(), re.M)
    assert [*BLOCKS, "How long an answer waits"] == titles


def test_camera(clip: Clip) -> None:
    frames, masks = clip
    camera = run("A camera: one answer for every frame")["Camera"](build_golden())
    camera.load_first_frame(frames[0])
    ids, logits = camera.track(frames[1])
    assert (list(ids), tuple(logits.shape)) == ([], (0, 1, *frames.shape[1:3]))
    ys, xs = np.nonzero(masks[0, 1])
    box = [[xs.min(), ys.min()], [xs.max(), ys.max()]]  # as real-time forks give it
    assert camera.add_new_prompt(1, bbox=box)[0] == 1
    for t in range(2, 6):
        ids, logits = camera.track(frames[t])
        assert (list(ids), camera.newest) == ([1], t)
        assert (logits > 0).any()
    camera.add_new_prompt(2, mask=masks[1, 5])
    camera.add_new_prompt(1, points=[[3.0, 3.0]], labels=[0], frame_idx=4)
    for t in range(6, 10):
        ids, logits = camera.track(frames[t])
        assert list(ids) == [1, 2]
        assert tuple(logits.shape) == (2, 1, *frames.shape[1:3])


def test_corrections(clip: Clip) -> None:
    names = run("Correct, and track on", clip)
    assert sorted(names["masks"]) == list(range(10))
    assert list(names["state"]["output_dict_per_obj"][0]["cond_frame_outputs"]) == [0]


def test_stop(clip: Clip) -> None:
    names = run("A Stop button", clip)
    predictor: SAM2LongVideoPredictor = names["predictor"]
    whole = predictor.init_state(clip[0])
    predictor.add_new_mask(whole, 0, 1, clip[1][0, 0])
    expected = {t: logits for t, _, logits in predictor.propagate_in_video(whole)}
    assert list(names["rest"]) == [6, 7, 8, 9]
    assert all(torch.equal(logits, expected[t]) for t, logits in names["rest"].items())


def test_doubts(clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = build_golden()
    state = predictor.init_state(clip[0], memory_tree={"uncertainty_threshold": 100.0}, keep_alternatives=True)
    predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
    for _ in predictor.propagate_in_video(state):
        pass
    names: dict[str, Any] = {"predictor": predictor, "state": state}
    exec(BLOCKS["Where the tree was in doubt"], names)
    assert len(capsys.readouterr().out.splitlines()) > 3
    assert min(names["masks"]) in state["output_dict_per_obj"][0]["cond_frame_outputs"]


def test_both_directions_and_all_at_once(clip: Clip) -> None:
    assert list(run("Both directions from the middle", clip, prompted=5)["masks"]) == [5, 6, 7, 8, 9, 4, 3, 2, 1, 0]
    names = run("All masks at once", clip)
    assert (sorted(names["masks"]), names["obj_ids"]) == (list(range(10)), [1])
