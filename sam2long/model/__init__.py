"""SAM 2's modules, driven in batches: one row for every distinct hypothesis of every object.

In come the features of a frame and what each pathway remembers; out go masks with their scores, and the memories of the
masks that were selected. Start with `hypotheses`, the batch of one frame; `memory_bank` chooses what attention reads,
`memory_tokens` turns it into tokens, `modules` runs SAM 2's modules (`captured_modules` from recordings), `stepwise` is
the seam to SAM 2's predictor.
"""

from sam2long.model import sam2_predictor as sam2_predictor  # first: it says so if what `import sam2` finds will not do
