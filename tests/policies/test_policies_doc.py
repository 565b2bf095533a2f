"""The policy of docs/policies.md runs as it is printed, and its table lists every policy."""

from __future__ import annotations

import re
from typing import Any

import torch
from support import ROOT, build_golden, moving_disks

from sam2long.policies import POLICIES

PAGE = (ROOT / "docs/policies.md").read_text()


def test_the_table_lists_every_policy() -> None:
    table = PAGE[: PAGE.index("## A policy of your own")]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(POLICIES)


def test_a_policy_of_your_own() -> None:
    clip = moving_disks(8)
    names: dict[str, Any] = {"predictor": build_golden(), "video": clip[0]}
    block = next(text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def unlike" in text)
    with torch.inference_mode():
        exec(block, names)
        predictor, state = names["predictor"], names["state"]
        predictor.add_new_mask(state, 0, 1, clip[1][0, 0])
        assert len(list(predictor.propagate_in_video(state))) == 8
    carried = predictor.session(state).left
    assert carried is None, "the pass reached the end"
