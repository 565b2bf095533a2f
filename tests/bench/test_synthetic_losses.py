"""Where points are lost, frame by frame; and what the truth would gain by deciding one thing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_synthetic_bench import arguments

from sam2long.bench.synthetic_losses import KINDS, losses, losses_table
from sam2long.bench.synthetic_oracles import Truth, remember_right
from sam2long.bench.synthetic_settings import BASELINE
from sam2long.cli import bench_synthetic
from sam2long.config import MemoryTreeConfig
from sam2long.model.memory_bank import FrameMemory
from sam2long.search.policy import Memory, Situation
from sam2long.search.selection import Candidate, Evidence
from sam2long.synthetic import Clip, render, sample_scene


def test_every_frame_is_of_one_kind() -> None:
    #                         right rough elsewhere double missed | waits double elsewhere
    scores = {
        "j": [0.9, 0.3, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0],
        "double": [0.0, 0.0, 0.1, 0.8, 0.0, 0.0, 0.9, 0.2],
        "answered": [1, 1, 1, 1, 0, 0, 1, 1],
    }
    record = {"suite": "easy", "present": [True] * 6 + [False] * 3, "settings": {BASELINE: scores}}
    assert losses(record, BASELINE) == dict.fromkeys(KINDS, 12.5)
    lines = losses_table([record, {**record, "suite": "crowd"}]).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| easy", "| crowd", "| all"]
    assert lines[2] == f"| easy | SAM 2 | {' | '.join(['12.5'] * 8)} |"


TRUE = np.zeros((2, 8, 8), dtype=bool)
TRUE[1, :, :4] = True  # gone on frame 0, the left half of frame 1
TRUTH = Truth(TRUE)


def candidate(mask_idx: int, columns: slice, occlusion_score: float = 5.0) -> Candidate:
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, columns] = True
    return Candidate(0, mask_idx, -9.0, 0.9, occlusion_score, Evidence(mask))


def situation(frame_idx: int) -> Situation:
    return Situation(frame_idx, 1, -2.0, None, MemoryTreeConfig())


def test_the_truth_decides_which_mask() -> None:
    left, right, half = candidate(0, slice(0, 2)), candidate(1, slice(2, 4)), candidate(2, slice(0, 1))
    scored = TRUTH.best_mask([right, half, left], situation(1))
    assert [round(float(np.exp(c.score + 2)), 3) for c in scored] == [0.0, 0.5, 1.0]
    assert TRUTH.best_mask([left], situation(0)) == [left]


def test_the_truth_decides_presence() -> None:
    shown, hidden = candidate(0, slice(0, 2)), candidate(0, slice(0, 2), -3.0)
    assert [c.occlusion_score for c in TRUTH.true_presence([shown, hidden], situation(0))] == [-10.0, -3.0]
    assert [c.occlusion_score for c in TRUTH.true_presence([shown, hidden], situation(1))] == [5.0, 10.0]


def test_the_truth_decides_what_is_remembered() -> None:
    assert TRUTH.note_truth(candidate(0, slice(0, 2)), [], situation(1)) == (1.0,)
    assert TRUTH.note_truth(candidate(0, slice(2, 4)), [], situation(1)) == (0.0,)
    assert TRUTH.note_truth(candidate(0, slice(0, 2)), [], situation(0)) == (0.0,)
    frames = [
        FrameMemory(t, 0.5, 1.0, None, None, (float(right),))  # type: ignore[arg-type]
        for t, right in enumerate([1, 0, 1, 1, 0])
    ]
    memory: Memory[FrameMemory] = Memory()
    for frame in frames:
        memory = remember_right(memory, frame, MemoryTreeConfig(), 3)
    assert [frame.frame_idx for frame in memory.recent] == [0, 2, 3, 4], "three right ones, and the newest"
    memory = remember_right(memory, replace(frames[2], frame_idx=5), MemoryTreeConfig(), 3)
    assert [frame.frame_idx for frame in memory.recent] == [2, 3, 5]


def test_oracles_know_what_they_decide(tmp_path: Path) -> None:
    """With true presence no frame without the object is answered, and none with it is missed."""
    more = ["--pathways", "3", "--suites", "reappear", "--frames", "24", "--oracles", "--losses", "--size", "64"]
    assert bench_synthetic.run(arguments(tmp_path, *more)) == 0
    record = json.loads((tmp_path / "clips" / "reappear-0000.json").read_text())
    clip: Clip = render(sample_scene("reappear", 0, num_frames=24, split="val"), 64)
    assert not clip.present[:, 0].all()
    told = losses(record, "oracle: presence")
    assert told["absent: look-alike"] == told["absent: elsewhere"] == 0
    assert told["waits"] == pytest.approx(100 * (~clip.present[1:, 0]).mean())
    assert set(record["settings"]) >= {"oracle: mask", "oracle: memory", "oracle: presence"}
    assert (tmp_path / "losses.md").read_text().count("oracle: ") == 3


def test_lengths_of_suites(tmp_path: Path) -> None:
    args = arguments(tmp_path, "--suites", "easy,long,longest")
    args.frames = args.clips = None
    specs = bench_synthetic.specs_of(args)
    lengths = {(spec.suite, spec.num_frames) for spec in specs}
    assert lengths == {("easy", 60), ("long", 300), ("longest", 1000)}
    assert sum(spec.suite == "longest" for spec in specs) == 12
