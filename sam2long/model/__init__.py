"""SAM 2's modules, driven in batches: one row for every distinct hypothesis of every object.

In come the features of a frame and what each pathway remembers; out go masks with their scores, and the memories of the
masks that were selected. Start with `hypotheses`, the batch of one frame; `memory_bank` turns memories into the tokens
that attention reads, `steps` runs the modules, and `seam` says what all of them need of SAM 2's predictor.
"""
