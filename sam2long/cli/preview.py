"""`sam2long track --preview`: what the prompts select, as one picture, before hours are spent on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sam2long.cli.model import build_model
from sam2long.cli.outputs import IdMap
from sam2long.cli.prompts import add_to_predictor, check_prompts
from sam2long.cli.saying import say
from sam2long.cli.track_job import TrackJob, cannot_begin, id_map, say_what_is_shown
from sam2long.cli.track_video import open_video
from sam2long.files import replacing
from sam2long.views.visualize import UInt8Array, side_by_side

if TYPE_CHECKING:
    from sam2long.frames import FrameSource

_IN_A_ROW = 4


def write_preview(job: TrackJob) -> None:
    """Write `preview.png`: the prompted frames with their masks and prompts.

    Raises:
        UserError: status 2 before any work is done, status 1 for a frame or a file that fails on the way.
    """
    with open_video(job) as source:
        check_prompts(job.prompts, num_frames=len(source), height=source.height, width=source.width)
        say_what_is_shown(job)
        predictor = build_model(job.settings)
        try:
            pictures = _pictures(job, source, predictor)
            job.results.path.mkdir(parents=True, exist_ok=True)
            with replacing(job.results.preview) as part:
                _in_rows(pictures).save(part, format="PNG")
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            raise cannot_begin(error) from error
    say(f"preview  {job.results.preview}")


def _pictures(job: TrackJob, source: FrameSource, predictor: Any) -> dict[int, UInt8Array]:
    """By frame."""
    import torch

    from sam2long.cli.overlay_video import painted
    from sam2long.precision import computing_in

    shown: dict[int, IdMap] = {}
    with torch.inference_mode(), computing_in(predictor.device, job.precision):
        state = predictor.init_state(source, offload_state_to_cpu=True)
        for prompt in job.prompts:
            t, obj_ids, mask_logits = add_to_predictor(predictor, state, prompt)
            shown[t] = id_map(mask_logits, obj_ids)
    return {
        t: painted(source[t], shown[t], [prompt for prompt in job.prompts if prompt.frame_idx == t])
        for t in sorted(shown)
    }


def _in_rows(pictures: dict[int, UInt8Array]) -> Image.Image:
    labels = [f"frame {t}" for t in pictures]
    rows = [_row(list(pictures.values())[k : k + _IN_A_ROW], labels[k:]) for k in range(0, len(labels), _IN_A_ROW)]
    width = max(row.shape[1] for row in rows)
    return Image.fromarray(np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0))) for r in rows]))


def _row(pictures: Sequence[UInt8Array], labels: Sequence[str]) -> UInt8Array:
    return side_by_side(pictures, labels[: len(pictures)])
