"""Pictures of results: masks over frames, prompts, panels side by side, curves over time.

In come frames, masks and scores as plain arrays and numbers; out go uint8 RGB arrays. Start with `visualize.overlay`;
`charts` draws curves with Pillow alone.
"""
