"""What a type checker says to a program that uses sam2long, and what `dir` lists."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sam2long

pytest.importorskip("mypy")

PROGRAM = """
import numpy as np
from sam2long import MemoryTreeConfig, build_sam2long_video_predictor

predictor = build_sam2long_video_predictor("demo", device="cpu")
state = predictor.init_state("clip.mp4", memory_tree=MemoryTreeConfig(num_pathways=2))
predictor.add_new_points_or_box(state, frame_idx=0, obj_id=1, points=[[1.0, 2.0]], labels=[1])
predictor.add_new_mask(state, 0, 2, np.zeros((3, 4), dtype=bool))
for frame_idx, obj_ids, masks in predictor.propagate_in_video(state, direction="both", progress=False):
    print(frame_idx + 1, len(obj_ids), masks.shape)
"""
MISTAKES = {
    "predictor.add_new_point_or_box(state, 0, 1)": "not callable",
    "predictor.add_new_points_or_box(state, 0, 1, point=[[1.0, 2.0]])": 'did you mean "points"',
    'predictor.propagate_in_video(state, direction="backwards")': "Literal['forward', 'reverse', 'both']",
    'predictor.init_state("clip.mp4", offload_video=True)': "offload_video_to_cpu",
    "predictor.track_frame(state)": 'Missing positional argument "frame"',
    "MemoryTreeConfig(pathways=2)": 'did you mean "num_pathways"',
}


def test_mypy_strict_finds_misspelt_methods_and_keywords(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("\n".join((PROGRAM, *MISTAKES)))
    # Silent: errors of the program alone are shown, as where sam2long is installed.
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path)]
    env = {**os.environ, "MYPYPATH": str(Path(sam2long.__file__).parents[1])}
    done = subprocess.run([*command, str(program)], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    first = PROGRAM.count("\n") + 2
    assert [int(line.split(":")[1]) for line in errors] == [first + idx for idx in range(len(MISTAKES))], done.stdout
    assert all(message in line for message, line in zip(MISTAKES.values(), errors, strict=True)), done.stdout


def test_dir_lists_what_is_public() -> None:
    assert dir(sam2long) == sorted([*sam2long.__all__, "__version__"])
    assert all(getattr(sam2long, name) is not None for name in dir(sam2long))
