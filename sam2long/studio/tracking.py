"""A pass over the video in a thread of its own: watched, stopped, and saved on the way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from sam2long.precision import computing_in
from sam2long.studio.desk import Desk
from sam2long.studio.turns import Turns

logger = logging.getLogger(__name__)

Outcome = Literal["running", "finished", "stopped", "failed"]
_SHARE = 10  # saving takes a tenth of the time at most


class _StoppedError(Exception):
    """Raised between two frames: the predictor hands over what it had pending, and ends the pass."""


@dataclass(frozen=True)
class Progress:
    """How far a pass is.

    Attributes:
        done, total: frames.
        seconds_left: None while it cannot be told.
        newest: the frame that was decided last.
        outcome: whether it runs, or how it ended.
        error: why it failed.
    """

    done: int
    total: int
    seconds_left: float | None
    newest: int | None
    outcome: Outcome
    error: str = ""


class TrackingRun:
    """Tracks in the background; the page has its turn between two frames.

    Args:
        desk: whose objects are tracked.
        turns: held while frames are computed.
        frames: begins the pass: the predictor's generator.
        total: how many frames it takes.
        precision: see `computing_in`.
        save: writes the session, called now and then and at the end.
        save_every: seconds between two saves.
    """

    def __init__(
        self,
        desk: Desk,
        turns: Turns,
        frames: Callable[[], Iterator[tuple[int, Any, Any]]],
        total: int,
        *,
        precision: str,
        save: Callable[[], None],
        save_every: float,
    ) -> None:
        self._desk, self._turns, self._frames, self._total = desk, turns, frames, total
        self._precision, self._save, self._save_every = precision, save, save_every
        self._stop = threading.Event()
        self._begun = time.monotonic()
        self._due = self._begun + save_every
        self._encoded = self._answered = 0
        self._newest: int | None = None
        self._outcome: Outcome = "running"
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="sam2long-studio-tracking", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the frame it is at; what was tracked stays."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    @property
    def is_running(self) -> bool:
        return self._outcome == "running"

    def progress(self) -> Progress:
        """How far it is, at any time, from any thread."""
        done = min(max(self._encoded - 1, self._answered), self._total)
        spent = time.monotonic() - self._begun
        left = spent / done * (self._total - done) if done >= 3 else None
        return Progress(done, self._total, left, self._newest, self._outcome, self._error)

    def _run(self) -> None:
        predictor = self._desk.predictor
        hook = predictor.image_encoder.register_forward_pre_hook(self._before_frame)
        outcome: Outcome = "finished"
        try:
            with self._turns.tracking(), torch.inference_mode(), computing_in(predictor.device, self._precision):
                try:
                    for frame_idx, _, _ in self._frames():
                        self._answered, self._newest = self._answered + 1, frame_idx
                        self._save_now_and_then()
                        self._turns.give_way()
                except _StoppedError:
                    outcome = "stopped"
                self._save()
        except Exception as error:
            logger.warning("tracking ended early", exc_info=True)
            outcome, self._error = "failed", str(error) or type(error).__name__
            self._save_what_there_is()
        finally:
            hook.remove()
            self._outcome = outcome

    def _before_frame(self, module: Any, inputs: Any) -> None:
        """Called by the image encoder: between two frames, where the state is whole.

        A pass may look ahead for long before it answers, so its answers are too rare to stop or to give way at.
        """
        if threading.current_thread() is not self._thread:
            return
        if self._desk.predictor.session(self._desk.state).open_pass is None:  # prompts are still being consolidated
            return
        self._encoded += 1
        self._turns.give_way()
        if self._stop.is_set():
            raise _StoppedError

    def _save_now_and_then(self) -> None:
        # What a stopped pass hands over at its end is not decided: the file must not take it for that.
        if time.monotonic() < self._due or self._desk.predictor.session(self._desk.state).hands_over:
            return
        start = time.monotonic()
        try:
            self._save()
        except OSError as error:
            logger.warning("the session cannot be saved: %s", error)
        now = time.monotonic()
        self._due = now + max(self._save_every, _SHARE * (now - start))

    def _save_what_there_is(self) -> None:
        try:
            with self._turns.tracking():
                self._save()
        except Exception as error:
            logger.warning("the session cannot be saved: %s", error)
