"""A folder of results: what it was made with, what in it is finished, and how a video comes to be in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sam2long.files import replacing
from sam2long.runner.locks import locked
from sam2long.runner.tasks import Task

RUN = "run.json"


def finished(task: Task) -> bool:
    """Whether the video's results are there; they appear whole."""
    return (task.output / task.results[0]).exists()


@contextmanager
def publishing(task: Task) -> Iterator[Path | None]:
    """Give a folder to write the video's results in, and put them in their place when the block ends well.

    Gives None where another process is at this video, or has finished it.

    Raises:
        OSError: the output cannot be written.
    """
    part = task.output / f".{task.name}.part"
    with locked(task.output / f".{task.name}.lock") as held:
        if not held or finished(task):
            yield None
            return
        shutil.rmtree(part, ignore_errors=True)  # a killed process's
        part.mkdir()
        try:
            yield part
            for result in reversed(task.results):
                (task.output / result).parent.mkdir(parents=True, exist_ok=True)
                os.replace(part / result, task.output / result)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def begin(folder: Path, settings: Mapping[str, Any], run: Mapping[str, Any]) -> int:
    """Make the folder, or go on in it, and note in its `run.json` what runs now; returns the run's number.

    Args:
        settings: all that the results depend on, ready for JSON.
        run: when, where and with what versions this run is made.

    Raises:
        ValueError: the folder holds something else, or results made with other settings.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".run.lock", wait=True):
        record = _read(folder)
        if record is None:
            visible = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
            if visible:
                raise ValueError(f"{folder} holds {visible[0]} and no {RUN}: give a folder that is new or empty")
            record = {"settings": dict(settings), "fingerprint": fingerprint(settings), "runs": [], "videos": {}}
        elif found := list(differences(record["settings"], settings)):
            raise ValueError(
                f"{folder} was made with other settings ({'; '.join(found[:3])}): give another folder, or go on "
                f"with the settings in {folder / RUN}"
            )
        record["runs"].append(dict(run))
        _write(folder, record)
        return len(record["runs"]) - 1


def note(folder: Path, run: int, videos: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Add finished videos, and what is known of the run now, to `run.json`."""
    with locked(folder / ".run.lock", wait=True):
        record = _read(folder)
        if record is None:
            raise FileNotFoundError(f"{folder / RUN} has vanished: what the masks were made with is not known any more")
        record["videos"].update(videos)
        record["runs"][run].update(outcome)
        _write(folder, record)


def fingerprint(settings: Mapping[str, Any]) -> str:
    """A digest of settings; equal settings have equal ones."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / RUN
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not {"settings", "runs", "videos"} <= record.keys():
            raise ValueError("it is another program's")
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): give another folder") from error
    return record


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    with replacing(folder / RUN) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """What differs between two settings, each as `name A there, B here`."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted(there.keys() | here.keys()):
            yield from differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif json.dumps(there) != json.dumps(here):
        yield f"{name} {there} there, {here} here"
