"""`sam2long vos --dataset synthetic ROOT`: a dataset made on the spot, in three benchmarks' layouts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sam2long.cli.errors import UserError


def add_arguments(group: Any) -> None:
    group.add_argument("--suites", default="easy,occlusion,reappear", help="comma-separated (default %(default)s)")
    group.add_argument("--clips", metavar="N", type=int, default=2, help="clips of each suite (default %(default)s)")
    group.add_argument("--frames", metavar="N", type=int, default=40, help="of a clip (default %(default)s)")
    group.add_argument("--size", metavar="PIXELS", type=int, default=256, help="of a frame (default %(default)s)")
    group.add_argument("--first-seed", metavar="N", type=int, default=0, help="of the clips (default %(default)s)")


def make(args: argparse.Namespace, root: Path) -> int:
    """Write the dataset, unless it is there; says where it lies and returns the exit status, 0.

    Raises:
        UserError: status 2 for numbers that make no sense, status 1 where it cannot be written.
    """
    from sam2long.datasets import made
    from sam2long.synthetic import ALL_SUITES, sample_scene
    from sam2long.synthetic.render import check_size
    from sam2long.views.visualize import davis_palette

    suites = list(dict.fromkeys(args.suites.split(",")))
    if unknown := sorted(set(suites) - set(ALL_SUITES)):
        raise UserError(f"--suites: {', '.join(unknown)} unknown; choose from {', '.join(ALL_SUITES)}")
    if args.clips < 1:
        raise UserError("--clips must be at least 1")
    if all((root / layout).is_dir() for layout in made.LAYOUTS):
        if not (args.quiet or args.json_progress):
            print(f"{root} holds a dataset already: it is taken as it is")
        return 0
    try:
        clips = list(made.clips_of(suites, args.clips, args.first_seed, args.frames, args.size))
        for clip in clips:  # drawn, not rendered: whatever is wrong with the numbers comes out here
            sample_scene(clip.suite, clip.seed, num_frames=clip.num_frames, split=clip.split)
        check_size(args.size)
        made.check_lengths(clips)
        with tqdm(total=len(clips), desc="make clips", disable=args.quiet, file=sys.stderr) as bar:
            made.write_made(root, clips, davis_palette().tobytes(), progress=bar.update)
    except (ValueError, FileExistsError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"the dataset cannot be written: {error}", exit_status=1) from error
    if not (args.quiet or args.json_progress):
        print(f"DAVIS 2017  {root / 'davis'}\nSA-V        {root / 'sav'}\nLVOS        {root / 'lvos'}")
    return 0
