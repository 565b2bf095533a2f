"""A session on disk: `studio.json` (the video, the objects, what was shown of them) and the state it belongs to.

The state is written under a new name before the JSON that names it, so the two always fit, whatever is killed when.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.files import replacing
from sam2long.frames import FrameSource, open_frames
from sam2long.policies import load_policy
from sam2long.search.policy import PAPER
from sam2long.studio import steps
from sam2long.studio.desk import Desk
from sam2long.studio.objects import StudioObject

if TYPE_CHECKING:
    from sam2long.predictor import SAM2LongVideoPredictor

_FORMAT, _VERSION = "sam2long studio", 1
_FILE = "studio.json"


@dataclass(frozen=True)
class SessionInfo:
    """A session that can be opened again.

    Attributes:
        video: the path of its video.
        num_objects: how many there are.
        changed: seconds since 1970.
    """

    video: str
    num_objects: int
    changed: float


class SessionFolder:
    """One session's folder; made when it is first saved to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, root: Path, video: str) -> SessionFolder:
        """The folder for a video: named after it, and after where it lies."""
        place = Path(video).resolve()
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", place.stem).strip("._")[:40] or "video"
        return cls(root / f"{stem}-{hashlib.sha256(str(place).encode()).hexdigest()[:10]}")

    @property
    def lock(self) -> Path:
        """The file that whoever works on the session holds; beside it, for a session may be removed."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def is_begun(self) -> bool:
        return (self.path / _FILE).is_file()

    def save(self, desk: Desk, video: str, *, with_state: bool) -> None:
        """Write what the person did and, with the state, what was tracked.

        Raises:
            OSError: if it cannot be written; what was there is as it was.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        before = self._read() if self.is_begun else {}
        state, in_state = before.get("state"), before.get("in_state", {})
        in_state = {k: shown for k, shown in in_state.items() if int(k) not in desk.given_again}
        if with_state:
            state = f"state-{time.time_ns()}.safetensors"
            desk.predictor.save_state(desk.state, self.path / state)
            in_state = {
                str(of.obj_id): {str(t): steps.digest(shown) for t, shown in of.shown.items()}
                for of in desk.objects.values()
            }
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "video": str(Path(video).resolve()),
            **_size_of(desk.source),
            "next_id": desk.next_id,
            "objects": [_saved(of) for of in desk.objects.values()],
            "state": state,
            "in_state": in_state,
        }
        with replacing(self.path / _FILE) as part:
            part.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
        if with_state:
            desk.given_again.clear()
        for older in self.path.glob("state-*"):
            if older.name != state:
                older.unlink(missing_ok=True)

    def open(self, predictor: SAM2LongVideoPredictor, video: str) -> Desk:
        """The work as it was left.

        Raises:
            OSError, ValueError: if the video or the session cannot be read, or do not fit each other or the model.
        """
        content = self._read() if self.is_begun else None
        source = open_frames(video)
        try:
            if content is None:
                return Desk(predictor, source, _new_state(predictor, source))
            return self._reopened(predictor, source, content)
        except BaseException:
            source.close()
            raise

    def _reopened(self, predictor: SAM2LongVideoPredictor, source: FrameSource, content: dict[str, Any]) -> Desk:
        size = _size_of(source)
        if unlike := [f"{key} {content[key]}, now {value}" for key, value in size.items() if content[key] != value]:
            raise ValueError(f"the video was another one when this session was saved ({'; '.join(unlike)})")
        try:
            objects = {of.obj_id: of for of in map(_restored, content["objects"])}
            known = {int(k): {int(t): text for t, text in shown.items()} for k, shown in content["in_state"].items()}
            next_id = int(content["next_id"])
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            raise ValueError(f"{self.path / _FILE} is damaged: {type(error).__name__}: {error}") from error
        if content["state"]:
            # Work goes on with its own policy, unless another one than the paper's is asked for.
            asked = None if load_policy(predictor.policy) is PAPER else predictor.policy
            path = self.path / content["state"]
            state = predictor.load_state(path, source, offload_state_to_cpu=True, policy=asked)
        else:
            state, known = _new_state(predictor, source), {}
        desk = Desk(predictor, source, state, objects, next_id)
        for obj_id in [k for k in state["obj_ids"] if k not in objects or k not in known]:
            predictor.remove_object(state, obj_id, need_output=False)
        for obj_id, of in objects.items():
            desk.reshow(of, known.get(obj_id))
        return desk

    def remove(self) -> None:
        """Forget the session; the video stays."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self) -> dict[str, Any]:
        path = self.path / _FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f"{path} is no session of the studio")
        if content.get("version") != _VERSION:
            raise ValueError(f"{path} is of version {content.get('version')}; this is version {_VERSION}")
        needed = ("video", "num_frames", "height", "width", "next_id", "objects", "state", "in_state")
        if missing := [key for key in needed if key not in content]:
            raise ValueError(f"{path} is damaged: it has no {missing[0]!r}")
        return content

    def info(self) -> SessionInfo | None:
        """None where nothing can be read."""
        try:
            content = self._read()
            changed = os.stat(self.path / _FILE).st_mtime
            return SessionInfo(str(content["video"]), len(content["objects"]), changed)
        except (OSError, ValueError):
            return None


def sessions_in(root: Path) -> list[SessionInfo]:
    """The sessions whose video is still there, the newest first."""
    folders: Sequence[Path] = sorted(root.iterdir()) if root.is_dir() else []
    found = [info for path in folders if (info := SessionFolder(path).info()) is not None]
    return sorted((info for info in found if Path(info.video).exists()), key=lambda info: -info.changed)


def _new_state(predictor: SAM2LongVideoPredictor, source: FrameSource) -> dict[str, Any]:
    return predictor.init_state(source, offload_state_to_cpu=True, keep_alternatives=True)


def _size_of(source: FrameSource) -> dict[str, int]:
    return {"num_frames": len(source), "height": source.height, "width": source.width}


def _saved(of: StudioObject) -> dict[str, Any]:
    shown = {str(t): steps.saved(of_frame) for t, of_frame in of.shown.items()}
    return {"id": of.obj_id, "name": of.name, "color": list(of.color), "shown": shown}


def _restored(record: dict[str, Any]) -> StudioObject:
    red, green, blue = (int(channel) for channel in record["color"])
    shown = {int(t): steps.restored(of_frame) for t, of_frame in record["shown"].items()}
    return StudioObject(int(record["id"]), str(record["name"]), (red, green, blue), shown)
