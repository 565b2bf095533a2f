"""A video of a box benchmark: a box shows the object, boxes around its masks are the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.datasets.boxes import Box, BoxVideo
from sam2long.frames import FrameSource, open_frames
from sam2long.runner.contents import digest, of_images
from sam2long.runner.tasks import WriteFrame
from sam2long.runner.tracking import Prompt


@dataclass(frozen=True)
class BoxTask:
    """One object of a box benchmark.

    Attributes:
        video: what is tracked.
        tracker: where it is set, the results are GOT-10k's, `GOT-10k/<tracker>/<video>/<video>_001.txt` and the times
            of the frames beside it; else `<video>.txt`.
    """

    video: BoxVideo
    output: Path
    tree: MemoryTreeConfig
    tracker: str | None = None

    @property
    def name(self) -> str:
        return self.video.name

    @property
    def num_frames(self) -> int:
        return len(self.video.images)

    @property
    def results(self) -> Sequence[str]:
        return (f"{self.name}.txt",) if self.tracker is None else (f"GOT-10k/{self.tracker}/{self.name}",)

    def open(self) -> FrameSource:
        if self.video.trouble:
            raise ValueError(self.video.trouble)
        return open_frames(self.video.images, upright=False)  # boxes lie on images as they are stored

    def made_of(self) -> str:
        return digest([*of_images(self.video.images), ("box", repr(self.video.box).encode())])

    def prompts(self, source: FrameSource) -> list[Prompt]:
        x, y, width, height = self.video.box
        box = (max(x, 0.0), max(y, 0.0), min(x + width, float(source.width)), min(y + height, float(source.height)))
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f"the first box {self.video.box} lies outside the image, {source.width}x{source.height}")
        return [Prompt(0, 1, box=box)]

    def writer(self, folder: Path, source: FrameSource, prompts: Sequence[Prompt]) -> WriteFrame:
        path = folder / self.results[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.tracker is not None:
            path.mkdir()
            path = path / f"{self.name}_001.txt"
        lines: list[str] = []
        times: list[float] = []
        last, before = self.video.box, perf_counter()

        def write(frame_idx: int, logits: Tensor) -> None:
            nonlocal last, before
            if frame_idx > 0:  # the first box is the given one
                last = box_around(logits[0, 0]) or last
            lines.append(",".join(f"{value:g}" for value in last) + "\n")
            times.append(perf_counter() - before)
            before = perf_counter()
            if frame_idx == len(source) - 1:
                path.write_text("".join(lines), encoding="ascii")
                if self.tracker is not None:
                    spent = "".join(f"{seconds:.6f}\n" for seconds in times)
                    (path.parent / f"{self.name}_time.txt").write_text(spent, encoding="ascii")

        return write


def box_around(logits: Tensor) -> Box | None:
    """(x, y, width, height) of the pixels of [H, W] logits above 0, counted from 0; None where there are none."""
    mask = logits > 0
    columns, rows = mask.any(0).nonzero()[:, 0].tolist(), mask.any(1).nonzero()[:, 0].tolist()
    if not columns:
        return None
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
