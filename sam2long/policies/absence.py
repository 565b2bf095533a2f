"""Absence as a hypothesis: on an uncertain frame a pathway may also propose that the object does not show.

Then one pathway can wait for the object with clean memory while another follows what may be its double.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sam2long.policies.numbers import not_visible, sigmoid
from sam2long.search.policy import Policy, Situation
from sam2long.search.selection import Candidate, cumulative_score


def propose_absence(candidates: Sequence[Candidate], situation: Situation) -> list[Candidate]:
    """The decoder's candidates, and on an uncertain frame "not visible", scored by ln(sigmoid(-occlusion score))."""
    visible = [candidate for candidate in candidates if candidate.occlusion_score > 0]
    if not situation.uncertain or not visible:  # nothing to doubt, or absent already
        return list(candidates)
    best = max(visible, key=lambda candidate: candidate.predicted_iou)
    doubt = sigmoid(-best.occlusion_score)
    absent = replace(not_visible(best), score=cumulative_score(situation.parent_score, doubt), predicted_iou=doubt)
    return [*candidates, absent]


POLICY = Policy("absence", propose=propose_absence)
