"""Records of the synthetic benchmark know the rule they were made with: those of another one are made again."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from sam2long.bench import synthetic_records
from sam2long.bench.synthetic_oracles import ORACLES
from sam2long.bench.synthetic_records import DamagedRecordError, records
from sam2long.bench.synthetic_settings import BASELINE, Setting, halves
from sam2long.bench.synthetic_track import ClipSpec
from sam2long.config import MemoryTreeConfig
from sam2long.model_choice import embedded_model
from sam2long.policies import POLICIES
from sam2long.policies.alibi import AlibiRule
from sam2long.policies.forgetting import DecayingScores
from sam2long.search.policy import Policy

TREE = MemoryTreeConfig()
SAM2 = Setting(BASELINE, replace(TREE, num_pathways=1))
SPECS = [ClipSpec("easy", seed, 3) for seed in range(2)]


def forgetting(decay: float) -> Setting:
    return Setting("forgetting", TREE, policy=Policy("forgetting", weigh=DecayingScores(decay)))


def test_what_an_identity_says() -> None:
    numbers = "MemoryTreeConfig(num_pathways={}, iou_threshold=0.3, uncertainty_threshold=2.0, "
    numbers += "modulation=(0.95, 1.05), merge_iou=None, merge_frames=8)"
    assert SAM2.identity == numbers.format(1), "SAM 2 itself: no rule has a say"
    assert Setting("P=3", TREE).identity.startswith(f"{numbers.format(3)} rule ")
    with_policy = Setting("any", TREE, policy=POLICIES["alibi"])
    assert with_policy.identity.startswith(f"{numbers.format(3)} alibi rule ")
    assert with_policy.identity == replace(with_policy, name="another", policy=AlibiRule().policy("alibi")).identity
    assert with_policy.identity != replace(with_policy, policy=AlibiRule(jump=0.2).policy("alibi")).identity
    assert forgetting(0.9).identity != forgetting(0.8).identity
    settings = [Setting(name, TREE, policy=policy) for name, policy in POLICIES.items()]
    settings += [SAM2, *halves(TREE), *(Setting(name, TREE, oracle=name) for name in ORACLES)]
    assert len({setting.identity for setting in settings}) == len(settings)


def test_a_worker_finds_the_same_identity() -> None:
    settings = [*(Setting(name, TREE, policy=policy) for name, policy in POLICIES.items()), *halves(TREE)]
    settings += [forgetting(0.5), Setting("oracle", TREE, oracle="mask")]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        theirs = list(pool.map(attrgetter("identity"), settings))
    assert theirs == [setting.identity for setting in settings]


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str]]]:
    """Clips are not tracked but listed here: seed, and the settings asked for."""
    calls: list[tuple[int, list[str]]] = []

    def work(model: Any, spec: ClipSpec, settings: list[Setting]) -> dict[str, Any]:
        calls.append((spec.seed, [setting.name for setting in settings]))
        scores = {"j": [1.0, 1.0], "f": [1.0, 1.0], "double": [0.0, 0.0], "answered": [1, 1], "call": len(calls)}
        record = {**vars(spec), "present": [True] * 3}
        return {**record, "settings": {setting.name: scores for setting in settings}}

    monkeypatch.setattr(synthetic_records, "_work", work)
    monkeypatch.setattr(synthetic_records, "ProcessPoolExecutor", lambda _, mp_context: ThreadPoolExecutor(1))
    return calls


def run(folder: Path, *settings: Setting) -> list[dict[str, Any]]:
    return list(records(SPECS, settings, embedded_model(), folder, 1))


def test_records_of_another_rule_are_made_again_and_told_of(
    tracked: list[tuple[int, list[str]]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, SAM2, forgetting(0.9))
    assert tracked == [(0, ["SAM 2", "forgetting"]), (1, ["SAM 2", "forgetting"])]
    tracked.clear()
    run(tmp_path, SAM2, forgetting(0.9))
    assert (tracked, caplog.text) == ([], "")
    with caplog.at_level(logging.WARNING):
        found = run(tmp_path, SAM2, forgetting(0.8))
    assert tracked == [(0, ["forgetting"]), (1, ["forgetting"])], "what SAM 2 answered stands"
    assert "forgetting: records of 2 clips are of other rules or settings; tracking these again" in caplog.text
    assert BASELINE not in caplog.text
    assert all(list(record["settings"]) == ["SAM 2", "forgetting"] for record in found)
    on_disk = json.loads((tmp_path / "easy-0001.json").read_text())
    assert on_disk["trees"] == {"SAM 2": SAM2.identity, "forgetting": forgetting(0.8).identity}
    tracked.clear()
    run(tmp_path, SAM2, forgetting(0.8))
    assert tracked == []


def test_records_of_before_rules_were_known(
    tracked: list[tuple[int, list[str]]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their identity is the tree's numbers and the policy's name: SAM 2's stand, those of trees are made again."""
    paper, forgets = Setting("P=3", TREE), forgetting(0.9)
    run(tmp_path, SAM2, paper, forgets)
    for path in tmp_path.glob("*.json"):
        record = json.loads(path.read_text())
        record["trees"] = {SAM2.name: repr(SAM2.tree), "P=3": repr(TREE), "forgetting": f"{TREE!r} forgetting"}
        path.write_text(json.dumps(record))
    tracked.clear()
    run(tmp_path, SAM2, paper, forgets)
    assert tracked == [(0, ["P=3", "forgetting"]), (1, ["P=3", "forgetting"])]
    assert caplog.text.count("records of 2 clips") == 2


@pytest.mark.parametrize("damage", ["[1]", '{"a', '{"trees": 1}', '{"settings": [], "trees": {}}'])
def test_what_is_no_record_is_named(
    damage: str, tracked: list[tuple[int, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, SAM2)
    path = tmp_path / "easy-0001.json"
    content = damage
    if damage.startswith('{"') and damage.endswith("}"):
        content = json.dumps({**json.loads(path.read_text()), **json.loads(damage)})
    path.write_text(content)
    tracked.clear()
    with pytest.raises(DamagedRecordError, match=r"easy-0001\.json is damaged"):
        run(tmp_path, SAM2)
    assert tracked == []
