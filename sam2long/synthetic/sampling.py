"""Drawing scenes.

A scene is a pure function of (suite, split, seed, num_frames, difficulty). The splits `train`, `val` and `test`
draw from different random streams and wear different textures, so nothing held out can be trained on.
"""

from __future__ import annotations

import numpy as np

from sam2long.synthetic.difficulty import ALL_SUITES, Difficulty
from sam2long.synthetic.director import Director
from sam2long.synthetic.scene import Scene
from sam2long.synthetic.textures import split_code

# A code names a random stream for good: new suites come last.
_SUITE_CODES = {name: code for code, name in enumerate(ALL_SUITES, 1)}


def sample_scene(
    suite: str, seed: int, *, num_frames: int = 60, split: str = "test", difficulty: Difficulty | None = None
) -> Scene:
    """Draws one scene.

    Args:
        suite: a name in `ALL_SUITES`; names the random stream and, without `difficulty`, the knobs.
        seed: which scene of the suite, 0 or more.
        num_frames: 2..3000 (`frames_of` says how many a suite is made for; a bar needs a few frames to come from
            somewhere).
        split: `train`, `val` (to tune on) or `test` (to report on, never to tune on).
        difficulty: other knobs than the suite's.

    Raises:
        ValueError: unknown suite or split, negative seed, num_frames out of range, or too few for the knobs' events.
    """
    if suite not in ALL_SUITES:
        raise ValueError(f"suite {suite!r} is unknown; choose one of {', '.join(ALL_SUITES)}")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative; choose 0 or more")
    if not 2 <= num_frames <= 3000:
        raise ValueError(f"num_frames={num_frames} is out of range; choose 2 to 3000")
    rng = np.random.default_rng([7100, split_code(split), _SUITE_CODES[suite], seed])
    knobs = difficulty or ALL_SUITES[suite]
    scene = None
    for _ in range(50):
        scene = Director(rng, num_frames, knobs).scene(suite, split, seed)
        if scene is not None:
            return scene
    raise ValueError(
        f"no scene of suite {suite!r} with num_frames={num_frames} and these knobs shows its object at first; choose "
        "more frames, fewer or smaller objects, or fewer bars"
    )
