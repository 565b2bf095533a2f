"""The Python of the README, and of the pages that its longer parts moved to, runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support import build_golden, moving_disks, prompts

ROOT = Path(__file__).parent.parent
WORDS = {
    "README.md": ['build_sam2long_video_predictor("demo"'],
    "docs/quickstart.md": ['build_sam2long_video_predictor("demo"'],
    "docs/swap_in.md": ["from_pretrained"],
    "docs/streams.md": ["init_stream"],
}


def blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)


def block(document: str, word: str) -> str:
    found = [text for text in blocks(document) if word in text]
    assert len(found) == 1, f"{len(found)} blocks of {document} contain {word!r}"
    return found[0]


@pytest.mark.parametrize("document", ["README.md", "docs/quickstart.md"])
def test_quick_start(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(block(document, 'build_sam2long_video_predictor("demo"'), names)
    assert names["masks"].shape[:2] == (1, 1)
    assert names["masks"].any()
    assert len(names["scores"]) == names["frame_idx"]


def test_streams() -> None:
    frames, _ = moving_disks(6)
    seen: list[int] = []
    names = {"predictor": build_golden(), "first_frame": frames[0], "camera": frames[1:], "seen": seen}
    exec(block("docs/streams.md", "init_stream").replace("        ...", "        seen.append(frame_idx)"), names)
    assert seen == [1, 2, 3, 4, 5]


def test_policies() -> None:
    clip = moving_disks(6)
    names: dict[str, Any] = {"predictor": build_golden()}
    exec(block("docs/policies.md", "def select_visible_first"), names)
    predictor = names["predictor"]
    state = predictor.init_state(clip[0])
    prompts(clip)["mask"](predictor, state)
    assert len(list(predictor.propagate_in_video(state))) == 6
    lines = block("docs/policies.md", "def select_visible_first").strip().splitlines()
    assert max(len(function.splitlines()) for function in "\n".join(lines).split("\n\n")) <= 15


@pytest.mark.parametrize("document", WORDS)
def test_every_block_is_known(document: str) -> None:
    assert blocks(document)
    assert all(any(word in text for word in WORDS[document]) for text in blocks(document))


def test_the_two_commands() -> None:
    """What a stranger types on a fresh machine."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)[0]
    commands = [line.split("#")[0].split() for line in first.splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for _, target in commands)
