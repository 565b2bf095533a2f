"""The contestants of the synthetic benchmark: SAM 2, trees of several widths, and trees with a part taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sam2long.bench import synthetic_oracles
from sam2long.config import MemoryTreeConfig
from sam2long.model.memory_bank import FrameMemory
from sam2long.policies.sources import digest_of_sources
from sam2long.search import picking
from sam2long.search import tree as trees
from sam2long.search.policy import PAPER, Policy
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates, select_one
from sam2long.tracking import alibi

BASELINE = "SAM 2"


@dataclass(frozen=True)
class Setting:
    """A contestant: a name for the table, the tree's settings (one pathway is SAM 2 itself), its rules."""

    name: str
    tree: MemoryTreeConfig
    select: SelectFunction = select_candidates
    choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory
    policy: Policy = PAPER
    oracle: str | None = None  # what the truth decides, one of `synthetic_oracles.ORACLES`

    @property
    def identity(self) -> str:
        """What the setting decides by: a record of another identity is stale.

        The tree's numbers, the names of its rules, and a digest of these rules: their numbers and their code. With one
        pathway no rule has a say. What is computed for a rule (evidence, memory attention) is not in it.
        """
        if self.tree.num_pathways == 1:
            return repr(self.tree)
        defaults = (select_candidates, choose_memory)
        names = [f.__name__ for f in (self.select, self.choose_memory) if f not in defaults]
        names += [] if self.policy == PAPER else [self.policy.name]
        names += [] if self.oracle is None else [f"oracle {self.oracle}"]
        decides = [
            picking,
            trees,
            *([alibi] if self.policy.audit else []),
            *([synthetic_oracles] if self.oracle else []),
        ]
        rule = self.policy.with_functions(self.select, self.choose_memory)
        return " ".join([repr(self.tree), *names, f"rule {digest_of_sources(rule, *decides)}"])


def halves(tree: MemoryTreeConfig) -> list[Setting]:
    """The tree's halves: its memory without branching, and branching with SAM 2's memory."""
    branching = replace(tree, modulation=(1.0, 1.0))
    return [
        Setting("its memory alone", replace(tree, num_pathways=2), select=select_one),
        Setting(f"P={tree.num_pathways}, SAM 2's memory", branching, choose_memory=remember_all),
    ]


def remember_all(
    remembered: tuple[FrameMemory, ...], newest: FrameMemory, config: MemoryTreeConfig, capacity: int
) -> tuple[FrameMemory, ...]:
    """SAM 2's memory: the newest frames, whatever their scores."""
    return (*remembered, newest)[-capacity:]
