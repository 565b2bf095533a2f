"""The prompts file: JSON, checked key by key (INFERENCE.md describes the format)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sam2long.cli.errors import UserError
from sam2long.cli.mask_file import read_masks
from sam2long.cli.prompts import Box, Point, Prompt

_KEYS = ("frame", "obj_id", "points", "labels", "box", "mask")


def read_prompt_file(path: Path) -> list[Prompt]:
    """The prompts of a JSON file; paths of masks in it are relative to its folder.

    Raises:
        UserError: naming the place in the file (`[2].points[0]`) and what was expected there.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_duplicates)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; save it in that encoding") from None
    except RecursionError:
        raise UserError(f"{path}: its brackets are nested too deeply for a list of prompts") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable JSON file ({error})") from None
    try:
        return prompts_of_entries(_of_run(entries) if isinstance(entries, dict) else entries, path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _of_run(content: dict[str, Any]) -> Any:
    """The list in a `run.json`, which holds one beside much else; corrections take the place of what they correct."""
    try:
        rounds = [content, *content["corrections"]]
        return list({(entry["frame"], entry["obj_id"]): entry for of in rounds for entry in of["prompts"]}.values())
    except (KeyError, TypeError):
        return content


def prompts_of_entries(entries: Any, path: Path) -> list[Prompt]:
    """The prompts of a list as the file holds it; `path` is where it stands.

    Raises:
        UserError: naming the place in the list.
    """
    if not isinstance(entries, list) or not entries:
        got = " and not an empty one: nothing would be shown" if entries == [] else f", got {entries!r}"[:80]
        raise UserError(f"expected a list with one {{...}} for each object and frame{got}")
    return [prompt for k, entry in enumerate(entries) for prompt in _prompts(f"[{k}]", entry, path)]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        raise ValueError(f"a key is given twice in {{{', '.join(key for key, _ in pairs)}}}")
    return entry


def _prompts(where: str, entry: Any, path: Path) -> list[Prompt]:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected {{...}}, got {entry!r}")
    for key in entry:
        if key not in _KEYS:
            raise UserError(f"{where}.{key}: unknown key; known: {', '.join(_KEYS)}")
    frame_idx = _integer(f"{where}.frame", entry.get("frame"))
    origin = f"{path}: {where}: "
    if "mask" in entry:
        for key in ("points", "labels", "box"):
            if key in entry:
                raise UserError(f"{where}.{key}: the mask already says which pixels are the object")
        return _mask_prompts(where, entry, frame_idx, origin, path)
    if "points" not in entry and "box" not in entry:
        raise UserError(f"{where}: expected points, a box or a mask")
    obj_id = _integer(f"{where}.obj_id", entry.get("obj_id"))
    points = _points(f"{where}.points", entry.get("points", []))
    labels = _labels(f"{where}.labels", entry.get("labels", [1] * len(points)), len(points))
    box = _box(f"{where}.box", entry["box"]) if "box" in entry else None
    if not points and box is None:
        raise UserError(f"{where}.points: expected at least one point")
    return [Prompt(frame_idx, obj_id, points, labels, box, origin=origin)]


def _mask_prompts(where: str, entry: dict[str, Any], frame_idx: int, origin: str, path: Path) -> list[Prompt]:
    name = entry["mask"]
    if not isinstance(name, str) or not name or "\0" in name:
        raise UserError(f"{where}.mask: expected the path of an image, got {name!r}")
    obj_id = _integer(f"{where}.obj_id", entry["obj_id"]) if "obj_id" in entry else None
    try:
        file = path.parent / name
        masks = read_masks(file, obj_id)
    except UserError as error:
        raise UserError(f"{where}.mask: {error}") from None
    return [Prompt(frame_idx, k, mask=pixels, mask_file=file, origin=origin) for k, pixels in masks.items()]


def _points(where: str, value: Any) -> tuple[Point, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where}: expected [[x, y], ...], got {value!r}")
    points = []
    for k, item in enumerate(value):
        x, y = _numbers(f"{where}[{k}]", item, ("x", "y"))
        points.append((x, y))
    return tuple(points)


def _labels(where: str, value: Any, num_points: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != num_points:
        raise UserError(f"{where}: expected a list with one label for each of the {num_points} points, got {value!r}")
    for k, label in enumerate(value):
        if _integer(f"{where}[{k}]", label) not in (0, 1):
            raise UserError(f"{where}[{k}]: expected 1 (on the object) or 0 (not on it), got {label}")
    return tuple(value)


def _box(where: str, value: Any) -> Box:
    x0, y0, x1, y1 = _numbers(where, value, ("x0", "y0", "x1", "y1"))
    return x0, y0, x1, y1


def _numbers(where: str, value: Any, names: tuple[str, ...]) -> list[float]:
    good = isinstance(value, list) and len(value) == len(names)
    if not good or not all(_is_number(item) for item in value):
        raise UserError(f"{where}: expected [{', '.join(names)}], got {value!r}")
    return [float(item) for item in value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # no NaN, no inf


def _integer(where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        got = "nothing" if value is None else repr(value)
        raise UserError(f"{where}: expected an integer, got {got}")
    return value
