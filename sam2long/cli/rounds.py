"""The passes of a run: its own, and those of its corrections; begun, or gone on with from a saved state.

Each saves its state under a number of its own and begins with the state of the one before, so that it can be begun
again from there whenever it is killed; the older state goes when the newer one is on disk.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sam2long.cli.errors import UserError
from sam2long.cli.frame_choice import among_chosen
from sam2long.cli.prompts import Prompt, add_to_predictor, without
from sam2long.cli.run_record import RunRecord
from sam2long.cli.saying import say
from sam2long.cli.track_job import TrackJob

if TYPE_CHECKING:
    from sam2long.cli.tree_outputs import TreeWatch
    from sam2long.frames import FrameSource

_DIRECTIONS = {"forward": "forward", "backward": "reverse", "both": "both"}  # as the library calls them


@dataclass(frozen=True)
class Round:
    """One pass.

    Attributes:
        number: 0 is the run's own, the others are its corrections.
        state: the inference state, which the pass changes.
        frames: answers as `propagate_in_video` yields them.
        num_frames: how many there will be.
    """

    number: int
    state: dict[str, Any]
    frames: Generator[Any, None, None]
    num_frames: int


class Rounds:
    """What a job has to do now.

    Args:
        chosen: the frames of `source`, in the video's numbers.
        predictor: of the job's settings.
        watch: who listens to the trees.
    """

    def __init__(
        self,
        job: TrackJob,
        source: FrameSource,
        chosen: range,
        record: RunRecord,
        predictor: Any,
        watch: TreeWatch,
    ) -> None:
        self._job = job
        self._source = source
        self._chosen = chosen
        self._record = record
        self._predictor = predictor
        self._watch = watch

    def begin(self) -> Round:
        """The next pass, its state made or loaded and its prompts added; from here on the folder holds this run.

        Whatever is raised before, the folder is as it was.

        Raises:
            UserError: if a state cannot be read, or the folder cannot be written.
            FrameError: if a prompted frame cannot be read.
        """
        number = self._record.num_corrections
        if self._job.going == "correct":
            return self._correct()
        if self._record.is_begun and self._job.results.state(number).exists():
            return self._go_on(number)
        if number:
            return self._correct_again(number)
        # Masks of past frames wait in host memory, so that a GPU's does not fill up over a long video.
        state = self._predictor.init_state(
            self._source, offload_state_to_cpu=True, max_pending_frames=self._job.max_pending
        )
        prompted = among_chosen(self._job.prompts, self._chosen)
        start = (max if self._job.direction == "backward" else min)(prompt.frame_idx for prompt in prompted)
        begun = self._pass(0, state, prompted, start, self._job.direction)
        self._record.begin_run(self._job)
        self._job.results.begin(self._record.content)
        return begun

    def _go_on(self, number: int) -> Round:
        state = self._load(number)
        open_pass = self._predictor.session(state).open_pass
        self._note_begin()
        if open_pass is None:  # killed between the last state and the note that it is finished
            return Round(number, state, _nothing(), 0)
        frames = self._predictor.resume_propagation(state, **self._listening(state))
        left = len(open_pass.remaining) + len(open_pass.then)
        say(f"resumed  at frame {self._chosen[(open_pass.remaining or open_pass.then)[0]]}" if left else "resumed")
        return Round(number, state, frames, left)

    def _correct(self) -> Round:
        """By the job's prompts, from their first frame on; what was not tracked yet is tracked with them.

        A correction that was killed before its first state becomes part of this one, which overwrites its masks.
        """
        record, prompts = self._record, list(self._job.prompts)
        again = record.correction() if record.has_unsaved_correction else None
        number = record.num_corrections + (again is None)
        state = self._load(number - 1)
        prompted = [prompt.frame_idx for prompt in among_chosen(prompts, self._chosen)]
        start, direction = _course(prompted, self._job.direction, self._predictor.session(state).open_pass)
        if again is not None:
            kept = without(again[0], prompts)
            if kept:
                say(f"with     the correction on frame {kept[0].frame_idx}, which was interrupted")
            prompts = [*kept, *prompts]
            start, direction = _over_both(start, direction, *again[1:])
        begun = self._pass(number, state, among_chosen(prompts, self._chosen), start, direction)
        if again is not None:
            record.drop_correction()
        record.add_correction(prompts, start, direction)
        self._note_begin()
        return begun

    def _correct_again(self, number: int) -> Round:
        """A correction that was killed before its first state."""
        prompts, start, direction = self._record.correction()
        state = self._load(number - 1)
        begun = self._pass(number, state, among_chosen(prompts, self._chosen), start, direction)
        self._note_begin()
        return begun

    def _pass(self, number: int, state: Any, prompts: Sequence[Prompt], start: int, direction: str) -> Round:
        for prompt in prompts:
            add_to_predictor(self._predictor, state, prompt)
        frames = self._predictor.propagate_in_video(
            state, start_frame_idx=start, direction=_DIRECTIONS[direction], **self._listening(state)
        )
        last = len(self._source) - 1
        num_frames = {"forward": last - start + 1, "backward": start + 1, "both": last + 1}[direction]
        return Round(number, state, frames, num_frames)

    def _listening(self, state: Any) -> dict[str, Any]:
        listener = self._watch.listener(self._predictor, lambda: state)
        return {} if listener is None else {"on_frame": listener}

    def _load(self, number: int) -> dict[str, Any]:
        path = self._job.results.state(number)
        try:
            state: dict[str, Any] = self._predictor.load_state(path, self._source)
        except (OSError, ValueError, ImportError) as error:
            raise UserError(f"cannot go on: {error}; --overwrite tracks anew") from error
        return state

    def _note_begin(self) -> None:
        self._record.begin_run(self._job)
        try:
            self._record.write()
        except OSError as error:
            raise UserError(f"cannot write to {self._job.results.path}: {error}") from error


def _course(prompted: Sequence[int], direction: str, open_pass: Any) -> tuple[int, str]:
    """Where a correction starts and which way it goes: over all it is asked for, and all that an open pass left."""
    forward, backward = direction != "backward", direction != "forward"
    earliest, latest = min(prompted), max(prompted)
    if open_pass is not None:
        left = [*open_pass.remaining[:1], *open_pass.then[:1]]
        forward |= bool(left) and not open_pass.reverse
        backward |= bool(left) and (open_pass.reverse or len(open_pass.then) > 0)
        earliest, latest = min(earliest, *left), max(latest, *left)
    if forward and backward:
        return min(prompted), "both"
    return (earliest, "forward") if forward else (latest, "backward")


def _over_both(start: int, direction: str, other: int, others: str) -> tuple[int, str]:
    """The course over the frames of two passes."""
    if direction == others == "backward":
        return max(start, other), direction
    return min(start, other), direction if direction == others else "both"


def _nothing() -> Generator[Any, None, None]:
    yield from ()
