"""The README's Python runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support import build_golden, moving_disks, prompts

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def block(word: str) -> str:
    found = [text for text in BLOCKS if word in text]
    assert len(found) == 1, f"{len(found)} blocks of the README contain {word!r}"
    return found[0]


def test_quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(block('build_sam2long_video_predictor("demo"'), names)
    assert names["masks"].shape[:2] == (1, 1)
    assert names["masks"].any()
    assert len(names["scores"]) == names["frame_idx"]


def test_streams() -> None:
    frames, _ = moving_disks(6)
    seen: list[int] = []
    names = {"predictor": build_golden(), "first_frame": frames[0], "camera": frames[1:], "seen": seen}
    exec(block("init_stream").replace("        ...", "        seen.append(frame_idx)"), names)
    assert seen == [1, 2, 3, 4, 5]


def test_policies() -> None:
    clip = moving_disks(6)
    names: dict[str, Any] = {"predictor": build_golden()}
    exec(block("def select_visible_first"), names)
    predictor = names["predictor"]
    state = predictor.init_state(clip[0])
    prompts(clip)["mask"](predictor, state)
    assert len(list(predictor.propagate_in_video(state))) == 6
    lines = block("def select_visible_first").strip().splitlines()
    assert max(len(function.splitlines()) for function in "\n".join(lines).split("\n\n")) <= 15


def test_every_block_is_known() -> None:
    words = ("from_pretrained", 'build_sam2long_video_predictor("demo"', "init_stream", "def select_visible_first")
    assert all(any(word in text for word in words) for text in BLOCKS)
