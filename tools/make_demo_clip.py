"""Make the clip of `sam2long demo`: an object leaves the frame while its look-alike stays, and comes back.

    python tools/make_demo_clip.py sam2long/cli/assets

writes demo.mp4, the box that starts the tracking (demo.json) and the object's exact masks (demo_truth.npz). Every
pixel is computed, so the same libraries give the same files. The scene was searched for among those of the split
`val` (`tests/test_behaviour.py`): it shows what a memory tree can do, the benchmark says how often it does.
"""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from sam2long.exports.encoding import mp4_writer
from sam2long.files import replacing
from sam2long.synthetic import render, sample_scene
from sam2long.views.visualize import BoolArray

SUITE, SEED, NUM_FRAMES = "reappear", 107, 32
SIZE = 256
FPS = Fraction(10)
TARGET = 1  # the object that is tracked


def box_around(mask: BoolArray) -> list[int]:
    """A box a pixel inside the outermost ones of a mask (H, W): x0, y0, x1, y1. People draw no tighter ones."""
    y, x = np.nonzero(mask)
    return [int(x.min()) + 1, int(y.min()) + 1, int(x.max()) - 1, int(y.max()) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    clip = render(sample_scene(SUITE, SEED, num_frames=NUM_FRAMES, split="val"), SIZE)
    with replacing(folder / "demo.mp4") as part, mp4_writer(part, FPS, (SIZE, SIZE)) as write:
        for frame in clip.frames:
            write(frame)
    truth = clip.masks[:, clip.obj_ids.index(TARGET)]
    np.savez_compressed(folder / "demo_truth.npz", bits=np.packbits(truth), shape=np.array(truth.shape))
    box = box_around(truth[0])
    (folder / "demo.json").write_text(json.dumps([{"frame": 0, "obj_id": TARGET, "box": box}]) + "\n")
    print(f"{folder / 'demo.mp4'}: {(folder / 'demo.mp4').stat().st_size} bytes; box {box}")


if __name__ == "__main__":
    main()
