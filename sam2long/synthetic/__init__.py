"""Synthetic videos with exact masks: `render(sample_scene("occlusion", seed=0))`."""

from sam2long.synthetic.difficulty import SUITES, Difficulty
from sam2long.synthetic.render import Clip, render
from sam2long.synthetic.scene import Scene
from sam2long.synthetic.suites import sample_scene

__all__ = ["SUITES", "Clip", "Difficulty", "Scene", "render", "sample_scene"]
