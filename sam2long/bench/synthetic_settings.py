"""The contestants of the synthetic benchmark: SAM 2, trees of several widths, and trees with a part taken out."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

from sam2long.cli.errors import UserError
from sam2long.config import MemoryTreeConfig
from sam2long.memory_bank import FrameMemory
from sam2long.selection import ChooseMemoryFunction, SelectFunction, choose_memory, select_candidates, select_one

BASELINE = "SAM 2"


@dataclass(frozen=True)
class Setting:
    """A contestant: a name for the table, the tree's settings (one pathway is SAM 2 itself) and its two policies."""

    name: str
    tree: MemoryTreeConfig
    select: SelectFunction = select_candidates
    choose_memory: ChooseMemoryFunction[FrameMemory] = choose_memory

    @property
    def identity(self) -> str:
        """All that the setting's figures depend on: a record of another identity is stale."""
        defaults = (select_candidates, choose_memory)
        policies = [f.__name__ for f in (self.select, self.choose_memory) if f not in defaults]
        return " ".join([repr(self.tree), *policies])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pathways", default="1,2,3,4", help="contestants; 1 is SAM 2 (default 1,2,3,4)")
    parser.add_argument(
        "--merge-iou", type=float, help="add a tree (--num-pathways) that merges hypotheses agreeing at this IoU"
    )
    parser.add_argument("--merge-frames", type=int, default=8, help="... for so many frames (default 8)")
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="add the tree's halves: its memory without branching, and branching with SAM 2's memory",
    )


def contestants(args: argparse.Namespace, tree: MemoryTreeConfig) -> list[Setting]:
    """SAM 2, the trees, the one that merges, the tree's halves; by `add_arguments`' options and the model's `tree`.

    Raises:
        UserError: if an option makes no sense.
    """
    try:
        counts = sorted({int(count) for count in args.pathways.split(",")} | {1})
        trees = [replace(tree, num_pathways=count) for count in counts]
    except ValueError as error:
        raise UserError(f"--pathways {args.pathways}: {error}") from error
    settings = [Setting(BASELINE if tree.num_pathways == 1 else f"P={tree.num_pathways}", tree) for tree in trees]
    if args.merge_iou is not None:
        try:
            merging = replace(tree, merge_iou=args.merge_iou, merge_frames=args.merge_frames)
        except ValueError as error:
            raise UserError(f"--merge-iou, --merge-frames: {error}") from error
        settings.append(Setting(f"P={merging.num_pathways}, merging", merging))
    return [*settings, *_halves(tree)] if args.ablate else settings


def _halves(tree: MemoryTreeConfig) -> list[Setting]:
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
