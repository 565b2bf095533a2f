"""Track a list of videos of your own: one model, several processes if asked, finished videos not tracked again.

A line of the list is JSON: {"video": PATH, "prompts": [...] or FILE.json, "output": NAME}. Paths are relative to the
list's folder; prompts are those of `sam2long track --prompts` (INFERENCE.md); results are OUT/NAME/masks/*.png, NAME
being the video's where it is left out. Lines may be added to a list that has been tracked.
Masks are those of `track`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError
from sam2long.cli.frame_choice import add_upright_argument
from sam2long.cli.job_options import add_job_arguments, command_line, run_and_conclude, tracker_settings
from sam2long.cli.prompt_file import prompts_of_entries, read_prompt_file
from sam2long.cli.prompts import Prompt, check_prompts

if TYPE_CHECKING:
    from sam2long.config import MemoryTreeConfig
    from sam2long.runner.batch_task import BatchTask

_KEYS = ("video", "prompts", "output")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", metavar="JOBS.jsonl", type=Path, help="the list, one JSON object a line")
    parser.add_argument("-o", "--out", metavar="OUT", type=Path, required=True, help="folder for the results")
    add_job_arguments(parser)
    parser.add_argument(
        "--no-postprocessing",
        dest="apply_postprocessing",
        action="store_false",
        help="leave out SAM 2's post-processing",
    )
    add_upright_argument(parser)
    parser.set_defaults(apply_postprocessing=True)  # as `track`


def run(args: argparse.Namespace) -> int:
    from sam2long.runner import Job

    settings = tracker_settings(args)
    tree = settings.model.memory_tree
    tasks = _tasks(args.jobs, args.out, tree, upright=args.upright)
    about = {"memory_tree": asdict(tree), **({} if args.upright else {"upright": False})}
    return run_and_conclude(Job(tasks, settings, {args.out: about}, command_line()), args, str(args.out))


def _tasks(path: Path, output: Path, tree: MemoryTreeConfig, *, upright: bool) -> list[BatchTask]:
    """The jobs of the list, checked against their videos.

    Raises:
        UserError: naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable file ({error})") from None
    tasks: dict[str, BatchTask] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = _task(line, path, output, tree, upright)
            if task.name in tasks:
                raise UserError(f'two jobs write to {task.name}: give one another "output"')
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        tasks[task.name] = task
    if not tasks:
        raise UserError(f"{path} is empty: it holds one JSON object a line, for every video")
    return list(tasks.values())


def _task(line: str, path: Path, output: Path, tree: MemoryTreeConfig, upright: bool) -> BatchTask:
    from sam2long.frames import open_frames
    from sam2long.runner import tracking
    from sam2long.runner.batch_task import BatchTask

    try:
        job = json.loads(line)
    except ValueError as error:
        raise UserError(f"not JSON ({error})") from None
    video, shown = _checked(job, path)
    name = job.get("output", Path(video).stem)
    if not isinstance(name, str) or not name or name.startswith(".") or Path(name).name != name:
        raise UserError(f'"output" {name!r}: it is the name of a folder in {output}')
    try:
        with open_frames(video, upright=upright) as source:
            check_prompts(shown, num_frames=len(source), height=source.height, width=source.width)
            length = len(source)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(str(error)) from error
    prompts = tuple(tracking.Prompt(of.frame_idx, of.obj_id, of.mask, of.box, of.points, of.labels) for of in shown)
    return BatchTask(name, video, length, prompts, output, tree, upright)


def _checked(job: Any, path: Path) -> tuple[str, list[Prompt]]:
    if not isinstance(job, dict) or "video" not in job or "prompts" not in job:
        raise UserError('expected {"video": ..., "prompts": ...}')
    if unknown := [key for key in job if key not in _KEYS]:
        raise UserError(f"unknown key {unknown[0]}; known: {', '.join(_KEYS)}")
    video, prompts = job["video"], job["prompts"]
    if not isinstance(video, str):
        raise UserError(f'"video": expected a path, got {video!r}')
    where = video if "://" in video else str(path.parent / video)
    if isinstance(prompts, str):
        return where, read_prompt_file(path.parent / prompts)
    return where, prompts_of_entries(prompts, path)
