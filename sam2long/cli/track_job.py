"""One run of `sam2long track`: what it is to do, and what runs over files and over streams share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sam2long.cli.errors import UserError
from sam2long.cli.frame_choice import ALL, FrameChoice
from sam2long.cli.mask_file import describe_mask
from sam2long.cli.outputs import IdMap, ResultFolder
from sam2long.cli.prompts import Prompt
from sam2long.cli.saying import advise, say
from sam2long.cli.tree_outputs import TreeFiles, TreeWatch
from sam2long.model_choice import ModelChoice

if TYPE_CHECKING:
    from torch import Tensor

    from sam2long.runner.job import Observe
    from sam2long.runner.worker import TrackerSettings

Going = Literal["anew", "resume", "correct"]
DIRECTIONS = ("forward", "backward", "both")


@dataclass(frozen=True)
class TrackJob:
    """One run of `sam2long track`, its prompts parsed and its model chosen.

    Attributes:
        video: whatever `sam2long.frames.open_frames` takes as text: a folder, a file, a URL.
        direction: forward from the earliest prompt, backward from the latest, or both from the earliest.
        max_pending: frames a decision may wait for (None: as long as it takes).
        fps: of the overlay; None takes the video's.
        advice: a line for the user, said when the job has been checked.
        image_size, postprocessing, precision: see `TrackerSettings`.
        frames: which of the video's are tracked.
        upright: whether images are turned as their EXIF tag says.
        going: begin anew, resume the run that the folder holds, or correct it by further prompts.
        save_every: seconds between two saved states; 0 saves none.
        observe: told of what happens, as `run_job`'s.
        tree_files: what is written of the memory trees.
        exports: formats of other tools that are written too.
    """

    video: str
    prompts: Sequence[Prompt]
    model: ModelChoice
    results: ResultFolder
    direction: str = "forward"
    max_pending: int | None = None
    overlay: bool = True
    fps: Fraction | None = None
    advice: str = ""
    image_size: int | None = None
    postprocessing: bool = True
    precision: str = "auto"
    frames: FrameChoice = ALL
    upright: bool = True
    going: Going = "anew"
    save_every: float = 0
    observe: Observe | None = None
    tree_files: TreeFiles = field(default_factory=TreeFiles)
    exports: Sequence[str] = ()

    @property
    def settings(self) -> TrackerSettings:
        """What the predictor is built from and how it computes, but for the tree."""
        from sam2long.runner.worker import TrackerSettings

        return TrackerSettings(
            self.model, self.image_size, self.postprocessing, False, self.precision, self.max_pending
        )

    def watch(self, in_video: Callable[[int], int]) -> TreeWatch:
        """Who listens to the trees; `in_video` gives the video's number of a tracked frame."""
        return TreeWatch(self.tree_files, goes_on=self.going != "anew", in_video=in_video)

    def tell(self, event: str, **of: Any) -> None:
        if self.observe is not None:
            self.observe(event, of)


def failed(job: TrackJob, error: BaseException) -> UserError:
    """What a run says that fails on the way."""
    reason = str(error) or type(error).__name__
    return UserError(f"{reason} (what was tracked before is in {job.results.path})", exit_status=1)


def cannot_begin(error: BaseException) -> UserError:
    """What a run says that fails at its prompts, before anything in the folder has changed."""
    is_bad_input = isinstance(error, (ValueError, OSError))  # a FrameError is the first
    return UserError(str(error) or type(error).__name__, exit_status=2 if is_bad_input else 1)


def say_what_is_shown(job: TrackJob) -> None:
    """How the masks among the prompts were understood, and what the embedded model is for."""
    for prompt in job.prompts:
        if prompt.mask is not None:
            say(f"prompt   frame {prompt.frame_idx}, object {prompt.obj_id}: {describe_mask(prompt.mask)}")
    if job.advice:
        advise(job.advice)


def id_map(mask_logits: Tensor, obj_ids: Sequence[int]) -> IdMap:
    """Object ids per pixel: 0 for background, and where masks overlap the object of the larger logit.

    Args:
        mask_logits: [N, 1, H, W]; positive on the object.
        obj_ids: N ids from 1 to 65535.

    Returns:
        uint8 [H, W]; uint16 where an id is above 255.
    """
    highest, winner = mask_logits[:, 0].max(dim=0)
    winner[highest <= 0] = len(obj_ids)
    ids = np.array([*obj_ids, 0], dtype=np.uint8 if max(obj_ids) <= 255 else np.uint16)
    labels: IdMap = ids[winner.cpu().numpy()]
    return labels
