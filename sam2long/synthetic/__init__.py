"""Synthetic videos with exact masks: `render(sample_scene("occlusion", seed=0))`.

A suite's name and a seed come in; frames, the masks of all objects and which of them are look-alikes come out, the same
on every machine. Start with `difficulty` (what makes a clip hard); `director` stages a scene, `render` paints it.
"""

from sam2long.synthetic.difficulty import ALL_SUITES, LONG_SUITES, SUITES, Difficulty, frames_of
from sam2long.synthetic.render import Clip, render
from sam2long.synthetic.sampling import sample_scene
from sam2long.synthetic.scene import Scene

__all__ = ["ALL_SUITES", "LONG_SUITES", "SUITES", "Clip", "Difficulty", "Scene", "frames_of", "render", "sample_scene"]
