"""Make the clip of `sam2long demo`: an object passes behind a pillar and then meets its look-alike.

    python tools/make_demo_clip.py sam2long/cli/assets

writes demo.mp4 and the click that starts the tracking, demo.json. Every pixel is computed (nothing is random
but the named textures), so the same libraries give the same file.
"""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from sam2long.cli.outputs import replacing
from sam2long.cli.overlay_video import mp4_writer
from sam2long.synthetic.motion import through
from sam2long.synthetic.render import Clip, render
from sam2long.synthetic.scene import FloatArray, Outline, Scene, Skin, Sprite

NUM_FRAMES = 96
SIZE = 256
FPS = Fraction(24)
TARGET = 1  # the object that is tracked

BODY = Outline(exponent=2.0, swings=(0.06, 0.1, 0.0, 0.05, 0.0), phases=(0.4, 1.0, 0.0, 2.0, 0.0))
FUR = Skin(base=946, overlay=947, window=(0.1, 0.2, 0.5, 0.3))


def course(keys: dict[int, tuple[float, float]], size: float, turn: float = 0.0) -> FloatArray:
    """Poses (T, 5) through the places named at key frames, turning by `turn` radians over the clip."""
    pose = np.empty((NUM_FRAMES, 5), dtype=np.float32)
    pose[:, :2] = through(NUM_FRAMES, [float(frame) for frame in keys], np.array(list(keys.values())))
    pose[:, 2:4] = size
    pose[:, 4] = np.linspace(0, turn, NUM_FRAMES)
    return pose


def demo_scene() -> Scene:
    """The sprites, front to back, in [-1, 1] x [-1, 1] with y down."""
    steady = np.ones(NUM_FRAMES, dtype=np.float32)
    target = course({0: (-0.7, 0.2), 95: (0.7, -0.15)}, 0.22, turn=0.5)
    double = course({0: (0.72, 0.5), 40: (0.6, 0.5), 80: (0.15, -0.1), 95: (-0.1, -0.3)}, 0.22, turn=-0.6)
    other = course({0: (0.3, -0.65), 50: (0.65, -0.62), 95: (0.35, -0.7)}, 0.18, turn=1.0)
    pillar = course({0: (-0.12, 0.0)}, 0.25)
    pillar[:, 3] = 1.6
    camera = np.zeros((NUM_FRAMES, 4), dtype=np.float32)
    camera[:, 0] = 0.06 * np.sin(np.linspace(0, 4, NUM_FRAMES))
    camera[:, 2] = 1.0
    sprites = (
        Sprite(Outline(exponent=10.0), Skin(base=1510, overlay=1511, window=(0, 0, 0.9, 0)), pillar, steady * 0.9),
        Sprite(BODY, FUR, target, steady, obj_id=TARGET),
        Sprite(
            BODY,
            Skin(base=946, overlay=948, mix=0.2, window=FUR.window, tint=(1.1, 0.9, 0.95)),
            double,
            steady,
            obj_id=2,
            double_of=TARGET,
        ),
        Sprite(Outline(exponent=3.0), Skin(base=1900, overlay=1901, window=(0, 0, 0.6, 1.0)), other, steady, obj_id=3),
    )
    background = Skin(base=1023, overlay=1024, window=(0, 0, 0.8, 0.2))
    return Scene("demo", "test", 0, sprites, background, camera, steady)


def click_on(clip: Clip) -> tuple[int, int]:
    """The middle of the target on the first frame, (x, y) in pixels."""
    y, x = np.nonzero(clip.masks[0, clip.obj_ids.index(TARGET)])
    return round(float(x.mean())), round(float(y.mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    clip = render(demo_scene(), SIZE)
    with replacing(folder / "demo.mp4") as part, mp4_writer(part, FPS, (SIZE, SIZE)) as write:
        for frame in clip.frames:
            write(frame)
    x, y = click_on(clip)
    prompts = [{"frame": 0, "obj_id": TARGET, "points": [[x, y]], "labels": [1]}]
    (folder / "demo.json").write_text(json.dumps(prompts) + "\n")
    print(f"{folder / 'demo.mp4'}: {(folder / 'demo.mp4').stat().st_size} bytes; click at ({x}, {y})")


if __name__ == "__main__":
    main()
