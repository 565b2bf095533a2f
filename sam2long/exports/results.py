"""What `sam2long track` wrote, as exports take it."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sam2long.evaluation.masks import read_labels
from sam2long.exports.frame_masks import ObjId
from sam2long.frames import FrameSource, open_frames
from sam2long.frames.images import list_images, natural_key
from sam2long.search.scores import FrameScores
from sam2long.views.visualize import BoolArray


class TrackedResults:
    """The results folder of a run, and its video where that can be found.

    Args:
        folder: what was `-o` of the run.
        video: where the video is now; without it, where the run had it, if it is still there.
        source: its frames, if they are open already.

    Attributes:
        video: the video's path, as given or as the run had it.
        source: its frames; None where it is not found.
        names: frame index -> name, of the tracked frames in the order of time.
        obj_ids: of all objects that were prompted or tracked.

    Raises:
        FileNotFoundError: the folder is no run's.
        ValueError: nothing was tracked, a file is damaged, the video is another one, or without the video it is not
            known which frame a mask is of.
    """

    def __init__(self, folder: Path, video: str | None = None, source: FrameSource | None = None) -> None:
        self._masks, self._folder = folder / "masks", folder
        run = self._read_run()
        written = sorted((path.stem for path in self._masks.glob("*.png") if path.name[0] != "."), key=natural_key)
        if not written:
            raise ValueError(f"{self._masks} holds no masks: nothing was tracked")
        objects = self._read("scores.json", "objects")["objects"] if (folder / "scores.json").is_file() else []
        self._scores = {of["obj_id"]: {frame["frame"]: frame for frame in of["frames"]} for of in objects}
        self.obj_ids: tuple[ObjId, ...] = tuple(
            sorted({prompt["obj_id"] for prompt in _prompts(run)} | self._scores.keys())
        )
        self.video = str(video or run["video"])
        # A URL, a pipe or a camera of then is not read again unasked.
        is_there = run["num_frames"] is not None and Path(self.video).exists()
        upright = run.get("upright", True)
        self.source = source or (open_frames(self.video, upright=upright) if video or is_there else None)
        self.names = self._indexed(written, run["num_frames"])

    @property
    def image_suffix(self) -> str:
        """Of the video's files, with its dot; .jpg of a video file, as ffmpeg makes images of it by habit."""
        return image_suffix(self.video)

    def __iter__(self) -> Iterator[tuple[int, tuple[ObjId, ...], BoolArray]]:
        """(frame index, `obj_ids`, masks bool [N, H, W]) of each tracked frame, in the order of time."""
        return self.frames()

    def frames(self, but: Container[int] = ()) -> Iterator[tuple[int, tuple[ObjId, ...], BoolArray]]:
        """As iterating; frames in `but` are not read."""
        for frame_idx, name in self.names.items():
            if frame_idx not in but:
                labels = read_labels(self._masks / f"{name}.png")
                yield frame_idx, self.obj_ids, np.stack([labels == obj_id for obj_id in self.obj_ids])

    def __len__(self) -> int:
        return len(self.names)

    def scores(self, obj_id: ObjId) -> Mapping[int, FrameScores]:
        """What the tree knew of an object, by frame index; empty for one without scores."""
        names = [field.name for field in fields(FrameScores) if field.name != "note"]

        def number(value: Any) -> Any:
            return math.inf if value is None else value  # JSON has no infinity: a margin without a runner-up is null

        return {
            t: FrameScores(**{name: number(frame[name]) for name in names}, note=tuple(frame.get("note", ())))
            for t, frame in self._scores.get(obj_id, {}).items()
        }

    def _read_run(self) -> Any:
        """Of `track`, or of one video of a batch, which does not say how many frames there were."""
        if (self._folder / "run.json").is_file():
            return self._read("run.json", "video", "num_frames", "prompts")
        if not (self._folder / "job.json").is_file():
            raise FileNotFoundError(f"{self._folder} has no run.json: give the folder that `sam2long track -o` wrote")
        return {**self._read("job.json", "video", "prompts"), "num_frames": 0}

    def _read(self, name: str, *keys: str) -> Any:
        try:
            content = json.loads((self._folder / name).read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"{self._folder / name} is damaged: {error}") from error
        if missing := [key for key in keys if not isinstance(content, dict) or key not in content]:
            raise ValueError(f"{self._folder / name} has no {missing[0]!r}: `sam2long track` did not write it")
        return content

    def _indexed(self, written: list[str], num_frames: int | None) -> dict[int, str]:
        """Frame index -> name: masks are called as frames, and which frame that is the video knows."""
        if self.source is not None:
            return _by_source(self.source, written, self.video)
        if num_frames is None:  # a stream's are counted
            return {int(name): name for name in written}
        if len(written) == num_frames:
            return dict(enumerate(written))
        known = {frame["name"]: t for of in self._scores.values() for t, frame in of.items()}
        if missing := [name for name in written if name not in known]:
            raise ValueError(
                f"{self.video} is gone, and {len(written)} of {num_frames or 'its'} frames were tracked: which one "
                f"{missing[0]}.png is only the video tells; say where it is now (--video)"
            )
        return dict(sorted((known[name], name) for name in written))


def image_suffix(video: str) -> str:
    """Of the video's images, with its dot; .jpg of a video file, as ffmpeg makes images of it by habit."""
    path = Path(video)
    images = list_images(path) if path.is_dir() else []
    return images[0].suffix if images else ".jpg"


def _by_source(source: FrameSource, written: list[str], video: str) -> dict[int, str]:
    indices = {source.name(t): t for t in range(len(source))}
    if missing := [name for name in written if name not in indices]:
        raise ValueError(f"{video} is not the video that was tracked: it has no frame {missing[0]}")
    return dict(sorted((indices[name], name) for name in written))


def _prompts(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All that a run was shown, by corrections too."""
    corrected = [prompt for correction in run.get("corrections", ()) for prompt in correction["prompts"]]
    return [*run["prompts"], *corrected]
