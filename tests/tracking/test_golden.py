"""Decisions and masks of the reference implementation, case by case."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support import GOLDEN

from sam2long import MemoryTreeConfig, SAM2LongVideoPredictor
from sam2long.search.selection import Candidate, select_candidates

CASES = sorted(path.stem for path in GOLDEN.glob("case*.json"))


def write_clip(arrays: Any, folder: Any) -> None:
    ends = np.cumsum(arrays["jpeg_sizes"])
    for t, (end, size) in enumerate(zip(ends, arrays["jpeg_sizes"], strict=True)):
        (folder / f"{t:05d}.jpg").write_bytes(arrays["jpegs"][end - size : end].tobytes())


def prompt(predictor: SAM2LongVideoPredictor, state: dict[str, Any], expected: dict[str, Any], arrays: Any) -> None:
    given = expected["prompt"]
    if given["kind"] == "mask":
        _, height, width = (int(n) for n in arrays["shape"])
        mask = np.unpackbits(arrays["prompt_mask"])[: height * width].reshape(height, width).astype(bool)
        predictor.add_new_mask(state, given["frame"], 1, mask)
    elif given["kind"] == "box":
        predictor.add_new_points_or_box(state, given["frame"], 1, box=given["box"])
    else:
        predictor.add_new_points_or_box(state, given["frame"], 1, points=[given["point"]], labels=[1])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def test_there_are_cases() -> None:
    assert len(CASES) == 9


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, either: SAM2LongVideoPredictor, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = json.loads((GOLDEN / f"{case}.json").read_text())
    arrays = np.load(GOLDEN / f"{case}.npz")
    write_clip(arrays, tmp_path)
    seen: list[tuple[list[Candidate], list[float]]] = []

    def select(candidates: Sequence[Candidate], config: MemoryTreeConfig) -> list[Candidate]:
        chosen = select_candidates(candidates, config)
        seen.append((chosen, [c.occlusion_score for c in candidates if c.mask_idx == 0]))
        return chosen

    monkeypatch.setattr(either, "select", select)
    config = MemoryTreeConfig(
        num_pathways=expected["num_pathways"],
        iou_threshold=expected["iou_threshold"],
        uncertainty_threshold=expected["uncertainty_threshold"],
    )
    state = either.init_state(str(tmp_path), memory_tree=config)
    prompt(either, state, expected, arrays)
    masks = {t: (logits[0, 0] > 0).numpy() for t, _, logits in either.propagate_in_video(state)}

    assert list(masks) == list(range(expected["num_frames"]))
    assert len(seen) == len(expected["frames"])
    for (t, frame), (chosen, occlusion) in zip(expected["frames"].items(), seen, strict=True):
        assert [(c.slot_idx, c.mask_idx) for c in chosen] == [(s["parent"], s["mask"]) for s in frame["slots"]], t
        assert [c.score for c in chosen] == pytest.approx([s["score"] for s in frame["slots"]], abs=2e-3)
        assert occlusion == pytest.approx(frame["occlusion"], abs=2e-3)
    scores = either.get_scores(state, 1)
    for t, answer in expected["answer"].items():
        got = scores[int(t)]
        assert (got.cumulative_score, got.predicted_iou, got.occlusion_score) == pytest.approx(
            (answer["score"], answer["iou"], answer["occlusion"]), abs=2e-3
        )
    length, height, width = (int(n) for n in arrays["shape"])
    reference = np.unpackbits(arrays["masks"], axis=-1)[:, : height * width].reshape(length, height, width)
    assert min(iou(masks[t], reference[t].astype(bool)) for t in range(length)) >= 0.995
