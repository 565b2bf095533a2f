"""What a policy is made of, as text and as a digest: numbers and code tell, processes and comments do not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import ROOT

from sam2long.policies import POLICIES, sources
from sam2long.policies.alibi import AlibiRule
from sam2long.policies.combining import combined
from sam2long.policies.doubt import DoubtRule
from sam2long.policies.fingerprint import digest_of, rule_of
from sam2long.policies.forgetting import DecayingScores
from sam2long.policies.reappearance import AnchorsBeforeAbsence
from sam2long.policies.sources import digest_of_sources
from sam2long.search.policy import PAPER, Policy
from sam2long.search.selection import Candidate


def test_a_policy_as_text() -> None:
    assert rule_of(PAPER) == "Policy(name='paper')"
    assert rule_of(POLICIES["forgetting"]) == "Policy(name='forgetting', weigh=DecayingScores(decay=0.9))"
    text = rule_of(POLICIES["identity"])
    for number in ("jump=0.15", "share=0.8", "unlike=0.9", "count=4", "quality=0.6", "reach=40", "noting=tuple(0, 1)"):
        assert number in text
    nested = combined("c", combined("b", combined("a", POLICIES["identity"])))
    assert len(rule_of(nested)) < 4 * len(text), "what is met again is written once"


def weighed(weight: float, candidates: Any, situation: Any) -> Any:
    return candidates


def closing_over(weight: Any) -> Policy:
    def propose(candidates: Any, situation: Any, bias: float = weight) -> Any:
        return [weight + bias, propose]

    return Policy("mine", propose=propose)


class Stateful:
    def __call__(self, candidates: list[Candidate], config: Any) -> list[Candidate]:
        return candidates


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (AlibiRule().policy("alibi"), AlibiRule(jump=0.16).policy("alibi")),
        (DoubtRule().policy("doubt"), DoubtRule(alibi=AlibiRule(same=0.31)).policy("doubt")),
        (POLICIES["identity"], combined("identity", POLICIES["doubt"])),
        (
            POLICIES["identity"],
            combined(
                "identity", POLICIES["doubt"], replace(POLICIES["reappearance"], remember=AnchorsBeforeAbsence(count=3))
            ),
        ),
        (Policy("mine", propose=partial(weighed, 1.0)), Policy("mine", propose=partial(weighed, 2.0))),
        (closing_over(1), closing_over(2)),
        (Policy("mine"), Policy("mine", select=Stateful())),
        (PAPER, Policy("mine")),
        (POLICIES["stride"], POLICIES["stride-alone"]),
    ],
)
def test_other_numbers_parts_functions_and_names_tell(one: Policy, other: Policy) -> None:
    assert rule_of(one) != rule_of(other)
    assert digest_of_sources(one) != digest_of_sources(other)


def test_what_is_built_twice_is_one_rule() -> None:
    for build in (
        lambda: DoubtRule().policy("doubt"),
        lambda: combined("both", POLICIES["motion"], POLICIES["scene-cut"]),
        lambda: closing_over(0.5),
        lambda: closing_over([]),  # what can change is only named
        lambda: Policy("mine", weigh=DecayingScores(0.3), select=Stateful()),
    ):
        assert rule_of(build()) == rule_of(build())
        assert " at 0x" not in rule_of(build())
    assert rule_of(DoubtRule().policy("doubt")) == rule_of(POLICIES["doubt"])
    assert digest_of("SAM2Long") == "10e162757c776c08"


_ELSEWHERE = """
import json
from sam2long.policies import POLICIES
from sam2long.policies.fingerprint import rule_of
from sam2long.policies.sources import digest_of_sources
print(json.dumps({name: [rule_of(of), digest_of_sources(of)] for name, of in reversed(POLICIES.items())}))
"""


def test_another_process_finds_the_same() -> None:
    here = {name: [rule_of(policy), digest_of_sources(policy)] for name, policy in POLICIES.items()}
    assert len({digest for _, digest in here.values()}) == len(POLICIES)
    for seed in ("1", "2"):  # the order of sets
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        run = subprocess.run([sys.executable, "-c", _ELSEWHERE], capture_output=True, env=environment, check=True)
        assert json.loads(run.stdout) == here


# -- code ------------------------------------------------------------------------------------------------------------

_RULE = '''"""A rule."""

_WEIGHT = {weight}


def propose(candidates, situation):  # {comment}
    """{docstring}"""
    return candidates if _WEIGHT > 1 else list(candidates)
'''


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the module of a rule anew, and gives it as a process would import it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(weight: float, comment: str = "", docstring: str = "Doc.") -> ModuleType:
        (tmp_path / "a_rule_of_mine.py").write_text(_RULE.format(weight=weight, comment=comment, docstring=docstring))
        sys.modules.pop("a_rule_of_mine", None)
        importlib.invalidate_caches()
        sources._code.cache_clear()
        sources._source.cache_clear()
        return importlib.import_module("a_rule_of_mine")

    yield write
    sys.modules.pop("a_rule_of_mine", None)


def test_a_constant_in_the_code_tells_and_a_comment_does_not(written: Any) -> None:
    digests = [
        digest_of_sources(Policy("mine", propose=written(*texts).propose))
        for texts in ((0.5,), (0.5, "why"), (0.5, "", "Other words."), (0.6,))
    ]
    assert digests[0] == digests[1] == digests[2] != digests[3]
    once, more = (digest_of_sources(PAPER, written(weight)) for weight in (0.5, 0.6))
    assert digest_of_sources(PAPER) != once != more, "modules that decide beside the policy"


def test_a_rule_depends_on_the_modules_of_rules_it_imports_and_on_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: digest_of_sources(policy) for name, policy in POLICIES.items()}
    sources._code.cache_clear()
    code = sources._code

    def changed(name: str) -> tuple[str, frozenset[str]]:
        text, imported = code(name)
        return f"{text} changed" if name.endswith(".appearance") else text, imported

    monkeypatch.setattr(sources, "_code", changed)
    after = {name: digest_of_sources(policy) for name, policy in POLICIES.items()}
    assert {name for name in POLICIES if before[name] != after[name]} == {"appearance", "doubt", "identity"}


def test_functions_without_a_source_count_by_name() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    exec("def propose(candidates, situation): return candidates", namespace)
    policy = Policy("mine", propose=namespace["propose"])
    assert digest_of_sources(policy) == digest_of_sources(policy)
    assert digest_of_sources(policy) != digest_of_sources(Policy("mine"))
    assert len(digest_of_sources(Policy("built in", select=sorted))) == 16  # type: ignore[arg-type]
