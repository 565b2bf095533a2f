"""Rivals: what is seen beside the object while that is certain is not the object, and is known again by its looks.

While the object shows for certain, what the decoder's other masks hold apart from it is something else. How it looks is
kept, and so is what was refused (`alibi`). Where the object turns up again, a mask nearer to a rival than to the object
is the rival. Among all masks this says no more than likeness to the object alone, and behind bars less; of what turns
up it says more, and at once (`docs/policies.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam2long.policies.appearance import Looks, appearance_of, similarity
from sam2long.policies.numbers import Mask, mask_iou, shown
from sam2long.search.selection import Candidate

Rivals = tuple[tuple[float, ...], ...]
"""Their appearances, oldest first, as a pathway carries them."""


@dataclass(frozen=True)
class RivalsRule:
    """The rule's numbers.

    Attributes:
        count: how many sightings of rivals are kept, at most, of one rival or of several; the oldest goes first.
        min_occlusion, min_iou: scores that the object's own mask must exceed while they are learned.
        min_area: low-res pixels of a rival, at least.
        size: how many times larger or smaller than the object it may be.
        overlap: with the object, in terms of IoU, below which a mask is apart from it.
        inside: share of the rival that lies on the object, below which it is.
    """

    count: int = 8
    min_occlusion: float = 4.0
    min_iou: float = 0.5
    min_area: int = 8
    size: float = 4.0
    overlap: float = 0.1
    inside: float = 0.2

    def learned(self, rivals: Rivals, chosen: Candidate, decoded: Sequence[Candidate]) -> Rivals:
        """The rivals, and those that the decoder's other masks show apart from a certain one."""
        if chosen.occlusion_score <= self.min_occlusion or chosen.predicted_iou <= self.min_iou:
            return rivals
        own = shown(chosen)
        for other in decoded:
            if other.mask_idx != chosen.mask_idx and self.is_apart(other.evidence.mask, own):
                rivals = self.with_one(rivals, other)
        return rivals

    def with_one(self, rivals: Rivals, rival: Candidate) -> Rivals:
        """The rivals and one more."""
        return (*rivals, tuple(appearance_of(rival).tolist()))[-self.count :]

    def is_apart(self, mask: Mask | None, own: Mask) -> bool:
        """Whether a mask holds something of about the object's size that is not the object."""
        area, own_area = int(mask.sum()) if mask is not None else 0, int(own.sum())
        if mask is None or area < self.min_area or not own_area / self.size <= area <= own_area * self.size:
            return False
        return mask_iou(mask, own) < self.overlap and int((mask & own).sum()) < self.inside * area

    def is_one(self, candidate: Candidate, looks: Looks | None, rivals: Rivals) -> bool:
        """Whether a mask is nearer to a rival than to the object, by the cosine of their appearances."""
        if looks is None or not rivals:
            return False
        appearance = appearance_of(candidate)
        own = similarity(appearance, np.asarray(looks.first, dtype=np.float32))
        return any(similarity(appearance, np.asarray(rival, dtype=np.float32)) > own for rival in rivals)
