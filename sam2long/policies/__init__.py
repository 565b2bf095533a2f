"""Policies by name: rules beyond the paper, one file each, with their sources. The paper's own is the default.

`POLICIES` lists them; `load_policy` finds one, also as "recommended". A policy of your own is a
`sam2long.search.policy.Policy`.
"""

from __future__ import annotations

from importlib.util import find_spec

from sam2long.policies import (
    absence,
    alibi,
    appearance,
    distractor,
    diversity,
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
        distractor.POLICY,
        motion.POLICY,
        presence.POLICY,
        stride.POLICY,
        stride.ALONE,
        diversity.POLICY,
        absence.POLICY,
        forgetting.POLICY,
        appearance.POLICY,
        alibi.POLICY,
        scene_cut.POLICY,
    )
}

# Names for the answer to give to "which one?".
ALIASES = {"recommended": identity.POLICY.name}


def load_policy(policy: PolicyLike) -> Policy:
    """A policy by its name; None is the paper's.

    Raises:
        ValueError: naming the known ones. ImportError: if it needs a package that is not installed.
    """
    if policy is None:
        return PAPER
    if isinstance(policy, str):
        name = ALIASES.get(policy, policy)
        if name not in POLICIES:
            known = sorted([*POLICIES, *ALIASES])
            raise ValueError(f"unknown policy {policy!r}; known: {known}, or a sam2long.search.policy.Policy")
        policy = POLICIES[name]
    for module in policy.needs:
        if find_spec(module) is None:
            raise ImportError(f"the policy {policy.name!r} needs {module}: pip install 'sam2long[policies]'")
    return policy


__all__ = ["ALIASES", "POLICIES", "PolicyLike", "load_policy"]
