"""What outlives a pass: SAM 2's inference state, and what belongs to one video beyond it.

In come prompts and decided frames; out go memories for the next pass, scores and masks for whoever looks. SAM 2's own
dictionary is the trunk, so that its interactive API works on it. Start with `interactive` (prompts and corrections) and
`object_past` (one object in SAM 2's state); `trunk` packs the committed past, `archive` writes it down.
"""
