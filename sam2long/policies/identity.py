"""The object is told from its double by where it comes from, and what it looked like before it went is remembered.

What is doubtful is followed backwards, and silenced if it comes from elsewhere (`doubt`); the frames before an absence
become anchors (`reappearance`). `docs/policies.md` says what was measured.
"""

from __future__ import annotations

from sam2long.policies import doubt, reappearance
from sam2long.policies.combining import combined

POLICY = combined("identity", doubt.POLICY, reappearance.POLICY)
