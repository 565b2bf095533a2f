"""Options that trade accuracy for speed, the same for one video and for many."""

from __future__ import annotations

import argparse
from typing import Any

from sam2long.cli.errors import UserError

PRECISIONS = ("auto", "bf16", "fp16", "fp32")  # of `sam2long.precision`, which `--help` does without


_LARGEST = 4096  # pixels; four times SAM 2's own, and 256 times its attention


def add_speed_arguments(how: Any) -> None:
    how.add_argument(
        "--image-size", metavar="PIXELS", type=int,
        help="of the model's input, a multiple of 32 (default: the config's, 1024 for SAM 2's); smaller is faster",
    )  # fmt: skip
    how.add_argument("--precision", choices=PRECISIONS, default="auto", help="default auto: bf16 on CUDA, else fp32")
    how.add_argument(
        "--max-pending", metavar="N", type=int,
        help="let a frame's decision wait for N later ones at most (default: as long as hypotheses compete)",
    )  # fmt: skip


def check_speed(args: argparse.Namespace) -> None:
    """Raises UserError for what makes no sense."""
    if args.max_pending is not None and args.max_pending < 0:
        raise UserError(f"--max-pending {args.max_pending} must be 0 or more")
    if args.image_size is not None and (not 32 <= args.image_size <= _LARGEST or args.image_size % 32):
        raise UserError(f"--image-size {args.image_size} must be a multiple of 32, from 32 to {_LARGEST}")
    if args.precision == "fp16":
        import torch

        named = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if not named.startswith("cuda"):
            raise UserError(f"--precision fp16 needs a CUDA device, not {named}: take bf16 or fp32")
