"""The results folder: every file in it is written under another name first and appears when it is whole."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2long.cli.errors import UserError
from sam2long.files import replacing
from sam2long.views.visualize import UInt8Array

if TYPE_CHECKING:
    from sam2long.search.scores import FrameScores

IdMap = UInt8Array | npt.NDArray[np.uint16]


class ResultFolder:
    """`run.json` (what was run), `masks/NAME.png`, `scores.json`, `overlay.mp4`, `state/` (to go on from); `--preview`
    adds `preview.png`, the demo `comparison.*`.

    Making one checks the folder and changes nothing; `begin` clears an earlier run's results.

    Args:
        path: the folder; it may be missing.
        overwrite: replace the results of an earlier run.

    Raises:
        UserError: if the path is a file, or the folder holds something and `overwrite` is off.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.run = path / "run.json"
        self.masks = path / "masks"
        self.scores = path / "scores.json"
        self.overlay = path / "overlay.mp4"
        self.comparison = path / "comparison.mp4"
        self.figure = path / "comparison.png"
        self.preview = path / "preview.png"
        if path.is_symlink() and not path.exists():
            raise UserError(f"{path} is a link that leads nowhere: give -o a folder")
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file: give -o a folder")
        visible = [entry for entry in path.glob("*") if not entry.name.startswith(".") and entry != self.preview]
        if visible and not overwrite:
            what = "results of an earlier run" if self.run.exists() else f"files ({visible[0].name} ...)"
            raise UserError(f"{path} already holds {what}: give -o another folder, or add --overwrite")

    def state(self, number: int) -> Path:
        """The inference state after a round: 0 is the run's own, the others are its corrections."""
        return self.path / "state" / f"{number}.safetensors"

    def begin(self, run: Mapping[str, Any]) -> None:
        """Make the folder, remove an earlier run's files from it, and note what is run now.

        Killed on the way, it leaves no state of one run beside the `run.json` of another.

        Raises:
            UserError: if the folder cannot be written.
        """
        try:
            was_run = self.run.exists()  # the sign of an earlier run: other people's files stay
            if was_run:
                _remove(self.path.glob("state/*.safetensors*"))
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_run(run)
            if was_run:
                unfinished = self.path.rglob(".*.part")  # a killed run's
                _remove([*self.masks.glob("*.png"), *unfinished, self.scores, *self._pictures])
            self.masks.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error}") from error

    @property
    def _pictures(self) -> tuple[Path, ...]:
        return self.overlay, self.comparison, self.figure

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Write `run.json`."""
        _write_json(self.run, run)

    def count_masks(self, names: Iterable[str]) -> int:
        """How many of the frames have one."""
        return sum((self.masks / f"{name}.png").exists() for name in names)

    def write_mask(self, name: str, id_map: IdMap) -> None:
        """Write object ids [H, W] as an indexed PNG in DAVIS colours; where one is above 255, as a 16-bit grey PNG."""
        from sam2long.exports.images import write_labels

        write_labels(self.masks / f"{name}.png", id_map, {})

    def read_mask(self, name: str) -> IdMap | None:
        """The object ids written for a frame [H, W]; None where it was not tracked."""
        path = self.masks / f"{name}.png"
        if not path.exists():
            return None
        with Image.open(path) as image:
            return np.array(image)

    def write_scores(self, scores: Mapping[int, Mapping[int, FrameScores]], names: Mapping[int, str]) -> None:
        """Write object id -> frame index -> scores; `names` are the frames' (those of their masks)."""
        objects = [
            {
                "obj_id": obj_id,
                "frames": [
                    {"frame": t, "name": names[t], **_finite(asdict(of_frame))}
                    for t, of_frame in sorted(frames.items())
                ],
            }
            for obj_id, frames in scores.items()
        ]
        _write_json(self.scores, {"objects": objects})

    def read_scores(self, obj_id: int) -> dict[int, FrameScores]:
        """The scores written for an object, by frame index; empty for one that has none."""
        from sam2long.search.scores import FrameScores

        objects = json.loads(self.scores.read_text(encoding="utf-8-sig"))["objects"]
        frames = [frame for of in objects if of["obj_id"] == obj_id for frame in of["frames"]]
        names = [field.name for field in fields(FrameScores)]

        def number(value: Any) -> Any:
            return math.inf if value is None else value  # the one number that JSON could not hold

        return {
            frame["frame"]: FrameScores(
                **{name: number(frame[name]) for name in names if name != "note"}, note=tuple(frame.get("note", ()))
            )
            for frame in frames
        }


def _remove(files: Iterable[Path]) -> None:
    for old in list(files):
        old.unlink(missing_ok=True)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _finite(numbers: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: a margin without a runner-up becomes null."""
    finite = {key: value if key == "note" or math.isfinite(value) else None for key, value in numbers.items()}
    return finite if finite.get("note") else {key: value for key, value in finite.items() if key != "note"}
