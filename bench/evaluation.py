"""How long `sam2long eval` takes: 30 videos of 70 frames at 480p with two objects, made on the spot.

    python bench/evaluation.py                     the time with all cores, and the score
    python bench/evaluation.py --reference 3       also a plain reference of the same algorithm on the first 3 videos

The reference does what the official program does, in its order and in one process: it reads a video's masks, one array
per object, and measures whole frames one by one, with scikit-image's disk and OpenCV's dilation (both must be
installed). It is written for this comparison and is not the official program.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sam2long.visualize import davis_palette

from sam2long.evaluation import evaluate
from sam2long.evaluation.processes import usable_cores

HEIGHT, WIDTH = 480, 854
PALETTE = davis_palette().tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=30)
    parser.add_argument("--frames", type=int, default=70)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--reference", type=int, default=0, metavar="N", help="videos for the reference (default 0)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gt, pred = Path(folder) / "gt", Path(folder) / "pred"
        names = make(gt, pred, args.videos, args.frames)
        start = time.perf_counter()
        result = evaluate("davis2017", gt, pred, workers=args.workers)
        ours = time.perf_counter() - start
        print(f"{args.videos} videos of {args.frames} frames, {args.workers} workers: {ours:.1f} s")
        print(f"J&F {result['global']['J&F-Mean']:.4f}")
        if args.reference:
            compare(gt, pred, names[: args.reference], result["per_object"], ours / args.videos, args.workers)


def compare(
    gt: Path, pred: Path, names: list[str], scores: dict[str, dict[str, float]], ours: float, workers: int
) -> None:
    """Times the reference, and sees that it finds the same."""
    start = time.perf_counter()
    for name in names:
        for k, (j, f) in enumerate(reference(gt / "Annotations" / "480p" / name, pred / name), 1):
            assert abs(j - scores[f"{name}_{k}"]["J-Mean"]) < 1e-9
            assert abs(f - scores[f"{name}_{k}"]["F-Mean"]) < 1e-9
    theirs = (time.perf_counter() - start) / len(names)
    print(
        f"a video: {ours:.2f} s with {workers} workers, the reference {theirs:.2f} s alone: {theirs / ours:.1f} times"
    )


def make(gt: Path, pred: Path, videos: int, frames: int) -> list[str]:
    """Two blobs that wander and change their shape; the prediction lags behind and is a little off."""
    names = [f"video{k:02d}" for k in range(videos)]
    (gt / "ImageSets" / "2017").mkdir(parents=True)
    (gt / "ImageSets" / "2017" / "val.txt").write_text("\n".join(names))
    for k, name in enumerate(names):
        rng = np.random.default_rng(k)
        truth, found = gt / "Annotations" / "480p" / name, pred / name
        truth.mkdir(parents=True)
        found.mkdir(parents=True)
        blobs = [Blob(rng) for _ in range(2)]
        for t in range(frames):
            write(truth / f"{t:05d}.png", [blob.outline(t, 0) for blob in blobs])
            write(found / f"{t:05d}.png", [blob.outline(t - 0.3, 0.02) for blob in blobs])
    return names


class Blob:
    def __init__(self, rng: np.random.Generator) -> None:
        self._centre = rng.uniform((200, 130), (WIDTH - 200, HEIGHT - 130))
        self._speed, self._radius = rng.normal(0, 1.5, 2), rng.uniform(50, 130)
        self._waves, self._phases = rng.integers(2, 9, (3, 1)), rng.uniform(0, 6, (3, 1))

    def outline(self, t: float, off: float) -> list[tuple[float, float]]:
        angle = np.linspace(0, 2 * np.pi, 180)
        waves = np.sin(self._waves * angle + self._phases + 0.05 * t).sum(0)
        edge = self._radius * (1 + off + 0.1 * waves) * np.array([np.cos(angle), np.sin(angle)])
        return [tuple(point) for point in (self._centre + t * self._speed + edge.T)]


def write(path: Path, outlines: list[list[tuple[float, float]]]) -> None:
    image = Image.new("P", (WIDTH, HEIGHT))
    image.putpalette(PALETTE)
    for k, outline in enumerate(outlines, 1):
        ImageDraw.Draw(image).polygon(outline, fill=k)
    image.save(path)


def reference(truth: Path, found: Path) -> list[tuple[float, float]]:
    """Mean J and F of every object of a video, frame by frame on whole frames."""
    files = sorted(path.name for path in truth.glob("*.png"))
    first = np.array(Image.open(truth / files[0]))
    stacks = [np.stack([np.array(Image.open(folder / name)) for name in files[1:-1]]) for folder in (found, truth)]
    scores = []
    for label in range(1, int(first.max()) + 1):
        masks = [stack == label for stack in stacks]
        j = [_jaccard(a, b) for a, b in zip(*masks, strict=True)]
        f = [_boundary(a, b) for a, b in zip(*masks, strict=True)]
        scores.append((float(np.mean(j)), float(np.mean(f))))
    return scores


def _jaccard(found: np.ndarray, truth: np.ndarray) -> float:
    union = np.sum(found | truth)
    return 1.0 if union == 0 else float(np.sum(found & truth) / union)


def _boundary(found: np.ndarray, truth: np.ndarray) -> float:
    import cv2
    from skimage.morphology import disk

    kernel = disk(math.ceil(0.008 * math.hypot(*truth.shape))).astype(np.uint8)
    lines = [_contour(mask) for mask in (found, truth)]
    near = [cv2.dilate(line.astype(np.uint8), kernel) for line in lines]
    counts = [np.sum(line) for line in lines]
    if not all(counts):
        return float(counts[0] == counts[1])
    precision = np.sum(lines[0] * near[1]) / counts[0]
    recall = np.sum(lines[1] * near[0]) / counts[1]
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def _contour(mask: np.ndarray) -> np.ndarray:
    east, south, corner = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    east[:, :-1], south[:-1], corner[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    line = (mask ^ east) | (mask ^ south) | (mask ^ corner)
    line[-1], line[:, -1] = mask[-1] ^ east[-1], mask[:, -1] ^ south[:, -1]
    line[-1, -1] = False
    return line


if __name__ == "__main__":
    main()
