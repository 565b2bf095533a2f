"""What `--events` and `--tree-figure` of `sam2long track` write: the trees' records, and a figure of them."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError, late_step
from sam2long.cli.saying import say
from sam2long.files import replacing

if TYPE_CHECKING:
    from sam2long.search.records import OnFrame, TreeRecord
    from sam2long.views.competing_masks import CompetingMasks
    from sam2long.views.tree_history import TreeHistory

_FIGURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class TreeFiles:
    """Where they go, if they are wanted.

    Attributes:
        events: lines of JSON, appended while frames are tracked.
        figure: a PNG, PDF or SVG; of several objects one each, their ids before the suffix.
    """

    events: Path | None = None
    figure: Path | None = None

    @property
    def wanted(self) -> bool:
        return self.events is not None or self.figure is not None

    def check(
        self, out: Path, inputs: Iterable[str | Path], *, num_pathways: int, goes_on: bool, overwrite: bool
    ) -> None:
        """Raises UserError for what could not be written, or would take the place of an input, before work begins."""
        taken = {Path(name).resolve() for name in inputs}
        for option, path in (("--events", self.events), ("--tree-figure", self.figure)):
            if path is None:
                continue
            if num_pathways == 1:
                raise UserError(f"{option} shows memory trees; --num-pathways 1 is SAM 2 itself and grows none")
            if path.resolve() in taken or path.resolve().parent in taken:
                raise UserError(f"{option} {path} is where the run reads from: give another file")
            if path.is_dir() or (path.parent.resolve() != out.resolve() and not path.parent.is_dir()):
                raise UserError(f"{option} {path}: give a file (not a folder), in a folder that exists")
            there = [path, *path.parent.glob(f"{glob.escape(path.stem)}-*{path.suffix}")]  # of several objects
            if not (goes_on or overwrite) and any(one.exists() for one in there):
                raise UserError(f"{option} {path} exists: give another file, or add --overwrite")
        if self.figure is not None:
            if self.figure.suffix.lower() not in _FIGURES:
                raise UserError(f"--tree-figure {self.figure}: give a file that ends with {', '.join(_FIGURES)}")
            if find_spec("matplotlib") is None:
                raise UserError("--tree-figure needs matplotlib: pip install matplotlib (extra sam2long[viz])")


class TreeWatch:
    """Listens to the records of one run.

    Args:
        files: what is wanted; the figure tells of the whole run where the events of its beginning are at hand.
        goes_on: whether the events before stay.
        in_video: the frame's number in the video, from the tracked frame's.
    """

    def __init__(self, files: TreeFiles, *, goes_on: bool, in_video: Callable[[int], int]) -> None:
        self._files = files
        self._in_video = in_video
        self._histories: dict[Any, TreeHistory] = {}
        self._masks: dict[Any, CompetingMasks] = {}
        self._lines: Any = None
        if files.events is not None and goes_on:
            self._take_up(files.events)
        self._mode = "a" if goes_on else "w"

    def _take_up(self, events: Path) -> None:
        """Read what was written before; a line that a killed run left half written is dropped."""
        from sam2long.search.records import TreeRecord

        if not events.exists():
            return
        with events.open("rb+") as file:
            end = 0
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                try:
                    self._gather(TreeRecord.from_json(line.decode()))
                except ValueError as error:
                    raise UserError(f"--events {events}, line {number}: {error}; give another file") from None
            file.truncate(end)

    def listener(self, predictor: Any, state: Callable[[], Any]) -> OnFrame | None:
        """What `on_frame=` takes; `state` gives the inference state once tracking has begun."""
        if not self._files.wanted:
            return None
        if self._files.events is not None:
            self._files.events.parent.mkdir(exist_ok=True)  # the run's own folder may not have begun
            self._lines = self._files.events.open(self._mode, encoding="utf-8", buffering=1)

        def on_frame(record: TreeRecord) -> None:
            told = self._renumbered(record)
            if self._lines is not None:
                self._lines.write(told.to_json() + "\n")
            self._gather(told)
            if self._files.figure is not None:
                self._look(predictor, state(), record)

        return on_frame

    def _gather(self, record: TreeRecord) -> None:
        if self._files.figure is not None:
            from sam2long.views.tree_history import TreeHistory

            self._histories.setdefault(record.obj_id, TreeHistory(record.obj_id)).add(record)

    def _look(self, predictor: Any, state: Any, record: TreeRecord) -> None:
        """Keep the masks of a frame on which hypotheses compete, and are there to be asked for."""
        from sam2long.views.competing_masks import CompetingMasks

        masks = self._masks.setdefault(record.obj_id, CompetingMasks())
        masks.forget(self._in_video(record.frame_idx))
        is_decided = any(decision.frame_idx == record.frame_idx for decision in record.decided)
        if record.distinct_pathways > 1 and not is_decided:
            import torch

            alive = predictor.get_hypotheses(state, record.obj_id, record.frame_idx)
            shown = torch.cat([each.video_res_masks[:, 0] for each in alive]) > 0
            masks.add(self._in_video(record.frame_idx), shown.cpu().numpy(), record.margin)

    def _renumbered(self, record: TreeRecord) -> TreeRecord:
        number = self._in_video
        return replace(
            record,
            frame_idx=number(record.frame_idx),
            grows_from=None if record.grows_from is None else number(record.grows_from),
            decided=tuple(replace(one, frame_idx=number(one.frame_idx)) for one in record.decided),
        )

    def __enter__(self) -> TreeWatch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()
            say(f"events   {self._files.events}")

    def write_figures(self, frames: Any, where: Path) -> None:
        """Draw what was told, if that is wanted; `frames` are the video's by number, or None."""
        if self._files.figure is None or not self._histories:
            return
        with late_step("the tree figure", f"masks and scores are in {where}"):
            for obj_id, history in self._histories.items():
                path = self._files.figure
                if len(self._histories) > 1:
                    path = path.with_name(f"{path.stem}-{obj_id}{path.suffix}")
                self._draw(path, history, frames)
                say(f"tree     {path}")

    def _draw(self, path: Path, history: TreeHistory, frames: Any) -> None:
        from sam2long.views.competing_masks import CompetingMasks
        from sam2long.views.tree_figure import WINDOW, draw_tree
        from sam2long.views.visualize import object_color

        places: Mapping[int, int] = {t: answer.hypothesis for t, answer in history.answers.items()}
        masks = self._masks.get(history.obj_id, CompetingMasks())
        window = history.window(WINDOW)
        competing = masks.pictures(frames, object_color(int(history.obj_id)), places, window)
        figure = draw_tree(history, window=window, competing=competing)
        with replacing(path) as part:
            figure.savefig(part, format=path.suffix[1:].lower(), dpi=200)
