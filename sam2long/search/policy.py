"""The seam for rules beyond the paper: a policy is one frozen bundle of plain functions; none touches a tensor.

A frame goes through a policy in this order, for every object by itself:

1. `uncertain`: whether the frame is one where pathways should part, whatever the occlusion scores say;
2. `propose`: what each slot's pathway puts forward (the decoder's masks; also "not visible");
3. `weigh`: what a rule adds to the score of each;
4. `select`: which of all these fill the slots;
5. `note`: numbers written down about each chosen mask, kept with the frame for good;
6. `advance`: what its pathway carries on (a filter's state);
7. `remember`: which frames the pathway remembers, and which of them as anchors.

What a policy does not name is the paper's, and costs nothing: evidence is computed only if a policy `wants` it.
Between 4 and 5 an `audit` may have doubtful choices followed backwards, to a frame on which the object was certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from sam2long.config import MemoryTreeConfig
from sam2long.search.selection import Candidate, RememberedFrame, SelectFunction, choose_memory, select_candidates

FrameT = TypeVar("FrameT", bound=RememberedFrame)
Want = Literal["masks", "maskness", "appearance", "colours"]
WANTS: frozenset[Want] = frozenset({"masks", "maskness", "appearance", "colours"})
Note = tuple[float, ...]


class Memory(NamedTuple, Generic[FrameT]):
    """What a pathway remembers.

    Attributes:
        anchors: frames that are read as prompted frames are, in order; each takes the place of a recent one.
        recent: the others, oldest first.
        aside: frames that are not read but may be later, as many as the policy needs; their tensors are held meanwhile.
    """

    anchors: tuple[FrameT, ...] = ()
    recent: tuple[FrameT, ...] = ()
    aside: tuple[FrameT, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the candidates of a slot stand.

    Attributes:
        frame_idx: the frame.
        obj_id: the object.
        parent_score: cumulative score of the slot's pathway.
        carry: what that pathway carries; None before it carried anything.
        config: the tree's settings.
        uncertain: whether the frame is uncertain, by what all slots say (`selection.is_certain`). It is False where
            `uncertain` of a policy is asked: its answer is a part of this one.
        decoded: the decoder's candidates of the slot.
    """

    frame_idx: int
    obj_id: Any
    parent_score: float
    carry: Hashable
    config: MemoryTreeConfig
    uncertain: bool = False
    decoded: tuple[Candidate, ...] = ()


ProposeFunction = Callable[[Sequence[Candidate], Situation], Sequence[Candidate]]
UncertainFunction = Callable[[Sequence[Candidate], Situation], bool]
WeighFunction = Callable[[Candidate, Situation], float]
NoteFunction = Callable[[Candidate, Sequence[Candidate], Situation], Note]
AdvanceFunction = Callable[[Candidate, Situation], Hashable]
RememberFunction = Callable[[Memory[Any], Any, MemoryTreeConfig, int], Memory[Any]]


def remember_as_paper(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
    """The paper's object-aware memory bank (section 3.3): no anchors."""
    return Memory(memory.anchors, choose_memory(memory.recent, newest, config, capacity))


def propose_as_paper(candidates: Sequence[Candidate], situation: Situation) -> Sequence[Candidate]:
    """The decoder's masks as they are, scored by the paper's eq. 1."""
    return candidates


@dataclass(frozen=True)
class Audit:
    """Which chosen masks have to show where they come from, and what is made of the answer.

    A suspect is tracked backwards from its mask, with a memory of its own, to the nearest frame on which its pathway
    was certain; nothing of the pathway's changes by it.

    Attributes:
        suspects: (chosen candidate, situation) -> whether it is followed backwards.
        is_certain: (an earlier frame of the pathway) -> whether its mask can be relied on. Frames have `frame_idx`,
            `predicted_iou`, `occlusion_score` and `note`. A prompted frame always is.
        judge: (the suspect, with `evidence.sighting`; situation) -> the candidate that takes its place.
        nearest, reach: how many frames back the certain frame lies, at least and at most.
        lost: overlap of successive masks below which a track is given up: it says nothing.
        unseen: occlusion score up to which it is given up as well.
    """

    suspects: Callable[[Candidate, Situation], bool]
    is_certain: Callable[[RememberedFrame], bool]
    judge: Callable[[Candidate, Situation], Candidate]
    nearest: int = 6
    reach: int = 40
    lost: float = 0.0
    unseen: float = -math.inf


@dataclass(frozen=True)
class Policy:
    """A rule for what a tree's pathways put forward, which live on, and what they remember.

    Attributes:
        name: under which it is listed, saved and shown; give your own one of its own.
        wants: evidence about every candidate mask that is computed on the device and copied to the host with the
            scores: "masks" (low-res), "maskness", "appearance", "colours" (of the frame).
        propose: (the decoder's candidates of one slot, situation) -> the candidates of the slot. A candidate whose
            `occlusion_score` has another sign than the decoder's changes presence: its mask, object pointer and
            memory follow.
        weigh: (one of the slot's candidates, situation) -> what is added to its score. What several policies add is
            summed, so none undoes another's.
        select: (the candidates of all slots, config) -> `num_pathways` of them, best first.
        note: (chosen candidate, the decoder's candidates of its slot, situation) -> numbers kept with the frame.
        advance: (chosen candidate, situation) -> what its pathway carries on; hashable, made of numbers, strings and
            tuples, so that it can be saved.
        across: what a pathway carried -> what of it still holds where its track breaks off: beyond frames that were not
            tracked, or where time turns. Default: nothing.
        remember: (memory, newest frame, config, capacity) -> memory. Frames have `frame_idx`, `predicted_iou`,
            `occlusion_score` and `note`. Called again, in order, over the committed past where a tree begins anew.
        audit: which chosen masks are followed backwards.
        uncertain: (the decoder's candidates of one slot, situation) -> whether the frame is uncertain, whatever the
            occlusion scores say; one slot's word is enough.
        needs: modules of the extra `policies` that its functions import.
        anchors_wait: whether an anchor whose frame is not decided, so that a rival pathway disputes it, is read as a
            recent frame is, in its order, until it is decided; what `remember` dropped for it is gone meanwhile.
            Default: it is read as an anchor at once.
    """

    name: str = "custom"
    wants: frozenset[Want] = frozenset()
    propose: ProposeFunction = propose_as_paper
    select: SelectFunction = select_candidates
    note: NoteFunction | None = None
    advance: AdvanceFunction | None = None
    remember: RememberFunction = remember_as_paper
    audit: Audit | None = None
    needs: tuple[str, ...] = ()
    uncertain: UncertainFunction | None = None
    weigh: WeighFunction | None = None
    across: Callable[[Hashable], Hashable] | None = None
    anchors_wait: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "wants", frozenset(self.wants))
        if unknown := sorted(self.wants - WANTS):
            raise ValueError(f"policy {self.name!r} wants {unknown}; there are {sorted(WANTS)}")

    def with_functions(
        self, select: SelectFunction, choose: Callable[[tuple[Any, ...], Any, MemoryTreeConfig, int], tuple[Any, ...]]
    ) -> Policy:
        """This policy with what was passed as `select=` and `choose_memory=`, where that is not the paper's."""
        policy = self if select is select_candidates else replace(self, select=select)
        if choose is choose_memory:
            return policy

        def remember(memory: Memory[Any], newest: Any, config: MemoryTreeConfig, capacity: int) -> Memory[Any]:
            return Memory(memory.anchors, tuple(choose(memory.recent, newest, config, capacity)))

        return replace(policy, remember=remember)


PAPER = Policy("paper")
