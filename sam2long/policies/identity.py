"""The object is told from its double by its looks, and remembered from frames that show both.

Appearance says whether a mask is the object (`appearance`); memory keeps the frames on which a distractor was told
apart (`distractor`). `docs/policies.md` says what was measured.
"""

from __future__ import annotations

from sam2long.policies import appearance, distractor
from sam2long.policies.combining import combined

POLICY = combined("identity", appearance.POLICY, distractor.POLICY)
