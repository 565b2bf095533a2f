"""The search of the memory tree, in plain numbers: no module here touches a tensor or knows SAM 2.

In come the predicted IoUs and occlusion scores that the pathways of one object have for a frame; out go the masks that
fill its slots next, the frames they remember and the frames that are decided. Start with `selection` (the two policies
of the paper that researchers replace), then `tree` (slots, pending frames); `picking` joins them for one frame.
"""

from sam2long.search.selection import Candidate, choose_memory, select_candidates, select_one

__all__ = ["Candidate", "choose_memory", "select_candidates", "select_one"]
