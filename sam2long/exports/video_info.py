"""What an export knows besides masks: names, colours, scores, the frames themselves; and the numbers of objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.exports.frame_masks import ObjId
from sam2long.files import replacing
from sam2long.frames.source import FrameSource
from sam2long.views.visualize import Color, object_color

if TYPE_CHECKING:
    from sam2long.search.scores import FrameScores

OBJECTS = "objects.json"


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video and its objects besides the masks; all of it may be left out.

    Attributes:
        name: of the video; YouTube-VOS's layout has a folder of that name.
        source: its frames, for the formats that show them; gives the frames' names too.
        frame_names: frame index -> the stem of files about it, all different (default: the source's, or 00000 ...).
        suffix: of the images' files, which `coco.json` names.
        objects: object id -> what it is called.
        colors: object id -> RGB, where it shall not be the DAVIS colour.
        scores: an object's scores by frame index (`lambda k: predictor.get_scores(state, k)`), asked for at the end.
    """

    name: str = "video"
    source: FrameSource | None = None
    frame_names: Mapping[int, str] | Sequence[str] | None = None
    suffix: str = ".jpg"
    objects: Mapping[ObjId, str] = field(default_factory=dict)
    colors: Mapping[ObjId, Color] = field(default_factory=dict)
    scores: Callable[[ObjId], Mapping[int, FrameScores]] | None = None

    def __post_init__(self) -> None:
        _safe(self.name, "the video's name")

    def frame_name(self, frame_idx: int) -> str:
        """The stem of files about a frame.

        Raises:
            ValueError: it has no name, or one that leads out of a folder.
        """
        try:
            if self.frame_names is not None:
                return _safe(self.frame_names[frame_idx], f"the name of frame {frame_idx}")
            return f"{frame_idx:05d}" if self.source is None else self.source.name(frame_idx)
        except (IndexError, KeyError):
            raise ValueError(f"frame {frame_idx} has no name: the video has fewer frames") from None

    def scores_of(self, obj_id: ObjId) -> Mapping[int, FrameScores]:
        """By frame index; empty where nothing is known."""
        return {} if self.scores is None else self.scores(obj_id)

    def frames(self, what: str) -> FrameSource:
        """The source.

        Raises:
            ValueError: there is none.
        """
        if self.source is None:
            raise ValueError(f"{what} shows the video's frames: give VideoInfo(source=open_frames(VIDEO))")
        return self.source


def _safe(name: str, what: str) -> str:
    if name in ("", ".", "..") or any(c in "/\\\0" for c in name):
        raise ValueError(f"{what} is {name!r}: files are called so, give it a plain one")
    return name


class Numbers:
    """The positive whole numbers that objects have in formats which know no other ids.

    An id that is one keeps it. Any other (text, 0, below 0) gets the smallest that is free, first those in `objects`
    and `colors`, the others as they come; so does a number that was given away before its object came.
    """

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._numbers: dict[ObjId, int] = {}
        self.of([*info.objects, *info.colors])

    def of(self, obj_ids: Iterable[ObjId]) -> list[int]:
        """One number for each id."""
        obj_ids = list(obj_ids)
        new = [obj_id for obj_id in obj_ids if obj_id not in self._numbers]
        taken = set(self._numbers.values()) if new else set()
        for obj_id in new:
            if isinstance(obj_id, int) and obj_id > 0 and obj_id not in taken:
                self._numbers[obj_id] = obj_id
                taken.add(obj_id)
        free = 1
        for obj_id in new:
            if obj_id not in self._numbers:
                while free in taken:
                    free += 1
                self._numbers[obj_id] = free
                taken.add(free)
        return [self._numbers[obj_id] for obj_id in obj_ids]

    @property
    def changed(self) -> bool:
        """Whether an object's number is not its id."""
        return any(obj_id != number for obj_id, number in self._numbers.items())

    def color(self, obj_id: ObjId) -> Color:
        """RGB."""
        return self._info.colors.get(obj_id) or object_color(self.of([obj_id])[0])

    def write(self, path: Path) -> None:
        """Write which object has which number, its name and colour, as JSON."""
        objects = [
            {
                "number": number,
                "obj_id": obj_id,
                "name": self._info.objects.get(obj_id),
                "color": list(self.color(obj_id)),
            }
            for obj_id, number in sorted(self._numbers.items(), key=lambda item: item[1])
        ]
        write_json(path, {"objects": objects})


class Scores:
    """The scores of all objects, each asked for once."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._known: dict[ObjId, Mapping[int, FrameScores]] = {}

    def get(self, obj_id: ObjId, frame_idx: int) -> FrameScores | None:
        if obj_id not in self._known:
            self._known[obj_id] = self._info.scores_of(obj_id)
        return self._known[obj_id].get(frame_idx)

    def confidence(self, obj_id: ObjId, frame_idx: int) -> float:
        """The predicted IoU, in [0, 1]; 1 where there is none: a user drew what is there."""
        scores = self.get(obj_id, frame_idx)
        return 1.0 if scores is None else scores.predicted_iou


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = 1) -> None:
    """Write strict JSON, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n", encoding="utf-8")
