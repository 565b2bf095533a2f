"""What belongs to one video beyond SAM 2's own state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Protocol

from torch import Tensor

from sam2long.config import MemoryTreeConfig
from sam2long.model.hypotheses import Hypothesis, Pending
from sam2long.model.memory_bank import FrameMemory
from sam2long.search.policy import PAPER, Memory, Policy
from sam2long.state.corrections import Corrections
from sam2long.state.recording import Recording
from sam2long.state.review import Review
from sam2long.state.tracked_frames import RecentFrames

# Where it lies in `inference_state`; absent until a video has settings of its own or a tree has run.
SESSION_KEY = "sam2long"


class TreePass(Protocol):
    """An unfinished pass of the trees over the video (`tracking.propagation.Propagation`).

    `intact`: whether nothing has interrupted it since it last tracked a frame.
    """

    obj_ids: list[Any]
    intact: bool

    def track(self, frame_idx: int) -> None:
        """Track one frame for all objects."""

    def ready(self, *, early: bool = False) -> Iterator[tuple[int, list[Any], Tensor]]:
        """The frames decided since, in video resolution; `early`: also those that are not decided."""

    def settle(self) -> None:
        """Commit all pending frames, for the best pathways so far."""

    def forget_ahead(self) -> int | None:
        """Forget what was tracked beyond the last frame yielded; returns the first of the frames forgotten."""

    def pending(self, obj_id: Any) -> Mapping[int, Pending]:
        """The object's undecided frames."""

    def pending_hypotheses(self, obj_id: Any, frame_idx: int) -> list[tuple[tuple[int, ...], Hypothesis]]:
        """The hypotheses alive on one of them, each with its slots, best first."""

    def remembered(self) -> dict[Any, Memory[FrameMemory]]:
        """What the best pathways remember, for the pass that continues this one."""

    def unfinished(self) -> dict[str, Any]:
        """All that distinguishes the pass from one just begun."""


@dataclass(slots=True)
class OpenPass:
    """How far an unfinished `propagate_in_video` is.

    Attributes:
        remaining: the frames it has still to track, in order.
        reverse: whether time runs backwards.
        obj_ids: the list it yields; SAM 2 replaces its own where objects are added or removed, and empties it on reset.
        num_objects: how many objects there were when it began; SAM 2's own pass tracks no others.
        then: frames that follow in a pass of their own, backwards.
        loaded: whether it came with `load_state` and is not yet resumed.
        last: the last frame it yielded.
    """

    remaining: range
    reverse: bool
    obj_ids: list[Any]
    num_objects: int
    then: range = range(0)
    loaded: bool = False
    last: int | None = None


@dataclass(slots=True)
class LeftPass:
    """What the trees of a pass that was left know, for a pass that goes on from there. The state is not in it.

    Attributes:
        reverse: whether time runs backwards.
        last: the last frame that was yielded.
        settings: config, wait and policies it ran with: another pass goes on only with the same. In a copied state
            the policies, functions of the user's, are not among them.
        unfinished: see `TreePass.unfinished`.
    """

    reverse: bool
    last: int
    settings: tuple[Any, ...]
    unfinished: dict[str, Any]

    @property
    def next_frame(self) -> int:
        """The frame after the last one; beyond the video's end if there is none."""
        return self.last - 1 if self.reverse else self.last + 1

    def leads_to(self, order: range, reverse: bool, settings: tuple[Any, ...]) -> bool:
        """Whether a pass over `order` goes on where this one was left: at the next frame, or at its last once more."""
        goes_on = len(order) > 0 and order[0] in (self.last, self.next_frame)
        return goes_on and reverse == self.reverse and settings[: len(self.settings)] == self.settings

    def __reduce__(self) -> tuple[Any, ...]:
        return LeftPass, (self.reverse, self.last, self.settings[:2], self.unfinished)


@dataclass(slots=True)
class AsleepPass:
    """The pass of a stream that was copied, until the copy is used.

    Attributes:
        obj_ids: the objects it tracks.
        unfinished: see `TreePass.unfinished`.
    """

    obj_ids: list[Any]
    unfinished: dict[str, Any]


@dataclass(slots=True)
class Session:
    """Settings of one video, its recent frames, and the pass whose frames may still be pending.

    Attributes:
        config: settings of the trees.
        max_pending_frames: see `SAM2LongVideoPredictor`.
        policy: what the trees put forward, select and remember by.
        recent: committed frames that are still whole.
        propagation: the trees of the unfinished pass, if any.
        open_pass: how far that pass, or SAM 2's own, is; None for a stream.
        left: the pass that was left last, until something else changes the state.
        corrections: what corrected frames were before.
        asleep: of a stream that was copied, what its pass knows; the next call wakes it.
        review: what the trees nearly answered, if it is kept.
        recording: who is told what the trees do; a copy tells nobody.
        owed: answers of a stream that an error kept from being handed out.
        hands_over: whether the pass ends with an error, and yields what it had pending as it stands.
    """

    config: MemoryTreeConfig
    max_pending_frames: int | None
    policy: Policy = PAPER
    recent: RecentFrames = field(default_factory=RecentFrames)
    propagation: TreePass | None = None
    open_pass: OpenPass | None = None
    left: LeftPass | None = None
    corrections: Corrections = field(default_factory=Corrections)
    asleep: AsleepPass | None = None
    review: Review | None = None
    hands_over: bool = False
    recording: Recording = field(default_factory=Recording)
    owed: list[tuple[int, list[Any], Tensor]] = field(default_factory=list)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has no generator that could go on: it is as if the pass had been left where it is."""
        left = self.left if self.open_pass is None else self.left_pass()
        asleep = self.asleep
        if self.propagation is not None and self.open_pass is None:
            asleep = AsleepPass(list(self.propagation.obj_ids), self.propagation.unfinished())
        copied = (
            self.config,
            self.max_pending_frames,
            self.policy,
            self.recent,
            None,
            None,
            left,
            self.corrections,
            asleep,
            self.review,
        )
        return Session, copied

    def left_pass(self) -> LeftPass | None:
        """The unfinished pass, as it would be if it were left now; None if nothing could go on from there."""
        if self.propagation is None or self.open_pass is None or not self.propagation.intact:
            return None
        if self.open_pass.last is None:
            return None
        settings = (self.config, self.max_pending_frames)
        return LeftPass(self.open_pass.reverse, self.open_pass.last, settings, self.propagation.unfinished())

    def enter(self, propagation: TreePass, open_pass: OpenPass) -> None:
        """Go on with a pass; of several that are suspended, one at a time has tracked ahead of what it yielded."""
        if self.propagation is not propagation:
            self.interrupt()
        self.propagation, self.open_pass = propagation, open_pass

    def leave(self, open_pass: OpenPass, propagation: TreePass | None = None) -> None:
        """Forget a pass that has ended, so that dropping the state frees its tensors at once (no cycle)."""
        if self.propagation is propagation:
            self.propagation = None
        if self.open_pass is open_pass:
            self.open_pass = None

    def interrupt(self) -> None:
        """Something else is about to change the state: what an unfinished pass knows beyond it will not be true.

        A pass is as far as it has yielded, as SAM 2's is, and goes on from there. A stream cannot come back to a frame:
        what it has pending is decided.

        Raises:
            RuntimeError: within an `on_frame=` listener.
        """
        self.recording.forbid_changes()
        self.left = None
        if self.propagation is None:
            return
        if self.open_pass is None:
            self.propagation.settle()
        elif (first := self.propagation.forget_ahead()) is not None:
            remaining = self.open_pass.remaining
            self.open_pass.remaining = range(first, remaining.stop, remaining.step)

    def keep_only(self, obj_ids: list[Any]) -> None:
        """Drop objects that are not tracked any more."""
        self.recent.keep_only(obj_ids)
        self.corrections.keep_only(obj_ids)
        if self.review is not None:
            self.review.keep_only(obj_ids)


def checked_count(name: str, value: int | None) -> int | None:
    """`value`, or ValueError if it is neither None nor an integer >= 0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ValueError(f"{name} must be None or an integer >= 0, got {value!r}")
    return int(value)
