"""SAM 2 and the tree, shared pathways, advancing frame by frame in turns: the CPU's shared rows of bench/README.md.

    python bench/turns.py [NUM_OBJECTS [NUM_FRAMES]]

A machine whose speed drifts within minutes then slows both alike. Who goes first changes with every frame.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from sam2long.bench.speed_run import Contestant, Race


def main(num_objects: int = 1, num_frames: int = 11) -> None:
    race = Race("configs/sam2.1/sam2.1_hiera_t.yaml", None, torch.device("cpu"), num_frames=num_frames)
    passes = []
    for contestant in (Contestant(0, "sam2"), Contestant(3, "shared")):
        predictor, state = race._prompted(contestant, num_objects)
        passes.append(predictor.propagate_in_video(state))
        next(passes[-1])  # the prompted frame
    seconds: list[list[float]] = [[], []]
    for t in range(1, num_frames):
        for which in (0, 1) if t % 2 else (1, 0):
            start = time.perf_counter()
            next(passes[which])
            seconds[which].append(time.perf_counter() - start)
    ratios = [sam2 / ours for sam2, ours in zip(*seconds, strict=True)]
    print(f"seconds of SAM 2: {[round(s, 1) for s in seconds[0]]}, ratios: {[round(ratio, 3) for ratio in ratios]}")
    print(f"median {statistics.median(ratios):.3f}, of the sums {sum(seconds[0]) / sum(seconds[1]):.3f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
