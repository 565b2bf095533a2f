"""Pictures of results: masks over frames, prompts, panels side by side, curves over time.

In come frames, masks and scores as plain arrays and numbers; out go uint8 RGB arrays. Start with `visualize.overlay`;
`charts` draws curves with Pillow alone, `tree_figure` what a memory tree did, with matplotlib.
"""

from sam2long.views.tree_figure import draw_tree
from sam2long.views.visualize import davis_palette, draw_prompt, object_color, overlay, plot_scores, side_by_side

__all__ = ["davis_palette", "draw_prompt", "draw_tree", "object_color", "overlay", "plot_scores", "side_by_side"]
