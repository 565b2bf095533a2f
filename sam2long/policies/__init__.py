"""Policies by name: rules beyond the paper, one file each, with their sources. The paper's own is the default.

`POLICIES` lists them; `load_policy` finds one. A policy of your own is a `sam2long.search.policy.Policy`.
"""

from __future__ import annotations

import copyreg
from importlib.util import find_spec
from typing import Any

from sam2long.policies import (
    absence,
    alibi,
    appearance,
    distractor,
    diversity,
    doubt,
    forgetting,
    identity,
    motion,
    presence,
    reappearance,
    scene_cut,
    stride,
)
from sam2long.search.policy import PAPER, Policy
from sam2long.search.selection import select_one

PolicyLike = Policy | str | None

POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        PAPER,
        identity.POLICY,
        Policy("memory-alone", select=select_one),
        reappearance.POLICY,
        reappearance.WAITING,
        distractor.POLICY,
        distractor.WAITING,
        motion.POLICY,
        presence.POLICY,
        stride.POLICY,
        stride.ALONE,
        diversity.POLICY,
        absence.POLICY,
        forgetting.POLICY,
        appearance.POLICY,
        alibi.POLICY,
        doubt.POLICY,
        scene_cut.POLICY,
    )
}

# What `policy="recommended"` stands for: the answer to look-alikes and absences, by what docs/policies.md measured.
RECOMMENDED = identity.POLICY.name
NAMES = ("recommended", *POLICIES)


def _reduced(policy: Policy) -> str | tuple[Any, ...]:
    """How policies are pickled and copied: a listed one stays itself, so that a state saved with it names it."""
    return (_listed, (policy.name,)) if POLICIES.get(policy.name) is policy else object.__reduce_ex__(policy, 4)


def _listed(name: str) -> Policy:
    return POLICIES[name]


copyreg.pickle(Policy, _reduced)


def load_policy(policy: PolicyLike) -> Policy:
    """A policy by its name ("recommended": `RECOMMENDED`); None is the paper's.

    Raises:
        ValueError: naming the known ones. ImportError: if it needs a package that is not installed.
    """
    if policy is None:
        return PAPER
    if isinstance(policy, str):
        policy = RECOMMENDED if policy == "recommended" else policy
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}; known: {sorted(NAMES)}, or a sam2long.search.policy.Policy")
        policy = POLICIES[policy]
    if not isinstance(policy, Policy):
        raise ValueError(f"policy={policy!r}: give one name of {sorted(NAMES)}, or a sam2long.search.policy.Policy")
    for module in policy.needs:
        if find_spec(module) is None:
            raise ImportError(f"the policy {policy.name!r} needs {module}: pip install 'sam2long[policies]'")
    return policy


__all__ = ["NAMES", "POLICIES", "RECOMMENDED", "PolicyLike", "load_policy"]
