"""A folder of results: what it was made with, what in it is finished, and how a video comes to be in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sam2long.files import replacing
from sam2long.runner.locks import locked
from sam2long.runner.tasks import Task

RUN = "run.json"
_LOCK = f".{RUN}.lock"
# What tells where a dataset lies, not what it holds: that is told video by video (`Task.made_of`).
_PLACES = ("base_video_dir", "input_mask_dir", "root")
_LONGEST = 200  # bytes of a name that still leave room for what hidden files beside it are called


def finished(task: Task) -> bool:
    """Whether the video's results are there; they appear whole."""
    return (task.output / task.results[0]).exists()


def count_files(folder: Path, results: Sequence[str]) -> int:
    """How many files the results below a folder are."""
    paths = [folder / result for result in results]
    return sum(sum(file.is_file() for file in path.rglob("*")) if path.is_dir() else path.exists() for path in paths)


def check_names(tasks: Sequence[Task]) -> None:
    """Raises ValueError for a video whose results would take the place of the folder's own record."""
    for task in tasks:
        if any(Path(result).parts[0].casefold() == RUN for result in task.results):
            raise ValueError(f"a video cannot be called {task.name}: the job keeps its record in {RUN}; rename it")


def left_by_earlier_runs(tasks: Sequence[Task]) -> list[Task]:
    """Of the tasks that are finished, those whose results lack files that were written.

    Raises:
        ValueError: a finished video was made of something else than what is there now.
    """
    videos = {folder: (_read(folder) or {"videos": {}})["videos"] for folder in {task.output for task in tasks}}
    known = [(task, videos[task.output].get(task.name, {})) for task in tasks if finished(task)]
    changed = [task for task, of in known if of.get("made_of") and _made_of(task) not in (None, of["made_of"])]
    if changed:
        names = ", ".join(task.name for task in changed[:5]) + (" ..." if len(changed) > 5 else "")
        raise ValueError(
            f"{names} in {changed[0].output}: tracked when its frames or what is shown of it (masks, boxes, prompts) "
            f"were other ones; remove {changed[0].output / changed[0].results[0]} to track it again, or give another "
            "folder"
        )
    return [task for task, of in known if count_files(task.output, task.results) < of.get("files", 0)]


def _made_of(task: Task) -> str | None:
    try:
        return task.made_of()
    except OSError:  # its files are gone; what was made of them is not
        return None


def clear(task: Task, *, results: bool = False) -> None:
    """Remove what a process that has ended has left of a video half done; with `results` what was published too.

    Nothing is removed where another process is at it.
    """
    with locked(_hidden(task, "lock")) as held:
        if held:
            shutil.rmtree(_hidden(task, "part"), ignore_errors=True)
            for result in task.results if results else ():
                path = task.output / result
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def clear_left_over(task: Task) -> None:
    """Remove what a process that has ended has left of a video half done, as far as the disk allows it."""
    with suppress(OSError):
        clear(task)


def _hidden(task: Task, kind: str) -> Path:
    """The video's lock, or the folder in which its results are written."""
    name, encoded = task.name, task.name.encode(errors="surrogateescape")
    if len(encoded) > _LONGEST:  # with a dot and an ending it might be longer than names can be
        name = hashlib.sha256(encoded).hexdigest()
    return task.output / f".{name}.{kind}"


@contextmanager
def publishing(task: Task) -> Iterator[Path | None]:
    """Give a folder to write the video's results in, and put them in their place when the block ends well.

    Gives None where another process is at this video, or has finished it.

    Raises:
        OSError: the output cannot be written.
    """
    part = _hidden(task, "part")
    with locked(_hidden(task, "lock")) as held:
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


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises ValueError where the folder holds results made with other settings."""
    record = _read(folder)
    if record is not None:
        _require_same(folder, record, settings)


def _require_same(folder: Path, record: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if found := list(differences(_settled(record["settings"]), _settled(settings))):
        raise ValueError(
            f"{folder} was made with other settings ({'; '.join(found[:3])}): give another folder, or go on "
            f"with the settings in {folder / RUN}"
        )


def begin(folder: Path, settings: Mapping[str, Any], run: Mapping[str, Any]) -> int:
    """Make the folder, or go on in it, and note in its `run.json` what runs now; returns the run's number.

    Args:
        settings: all that the results depend on, ready for JSON.
        run: when, where and with what versions this run is made.

    Raises:
        ValueError: the folder is a file, or holds something else, or results made with other settings.
        OSError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a folder for the results")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / _LOCK, wait=True):
        record = _read(folder)
        if record is None:
            visible = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
            if visible:
                raise ValueError(f"{folder} holds {visible[0]} and no {RUN}: give a folder that is new or empty")
            record = {
                "settings": dict(settings),
                "fingerprint": fingerprint(_settled(settings)),
                "runs": [],
                "videos": {},
            }
        _require_same(folder, record, settings)
        record["runs"].append(dict(run))
        _write(folder, record)
        return len(record["runs"]) - 1


def note(folder: Path, run: int, videos: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Add finished videos, and what is known of the run now, to `run.json`."""
    with locked(folder / _LOCK, wait=True):
        record = _read(folder)
        if record is None:
            raise FileNotFoundError(f"{folder / RUN} has vanished: what the masks were made with is not known any more")
        record["videos"].update(videos)
        record["runs"][run].update(outcome)
        _write(folder, record)


def _settled(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _PLACES}


def fingerprint(settings: Mapping[str, Any]) -> str:
    """A digest of settings; equal settings have equal ones."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / RUN
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        if not {"settings", "runs", "videos"} <= record.keys():
            raise ValueError("it is another program's")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): give another folder") from error
    return record


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    try:
        with replacing(folder / RUN) as part:
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:  # writing names no file
        raise OSError(error.errno, error.strerror, str(folder / RUN)) from error


def differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """What differs between two settings, each as `name A there, B here`."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted(there.keys() | here.keys()):
            yield from differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif json.dumps(there) != json.dumps(here):
        yield f"{name} {there} there, {here} here"
