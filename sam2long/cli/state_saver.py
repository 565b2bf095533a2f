"""The state of a run on disk, so that a run that is killed goes on where it was."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from time import monotonic
from typing import Any

from sam2long.cli.errors import UserError
from sam2long.cli.outputs import ResultFolder

logger = logging.getLogger(__name__)

_SHARE = 10  # saving takes a tenth of the time at most


def can_save() -> bool:
    return find_spec("safetensors") is not None


def require_safetensors(option: str) -> None:
    """Raises UserError where it is missing."""
    if not can_save():
        raise UserError(f"{option} needs safetensors: pip install safetensors (extra sam2long[state])")


class StateSaver:
    """Saves an inference state now and then while a pass over it is open.

    A state that cannot be written is told of once, and ends nothing but the saving.

    Args:
        number: of the round, see `ResultFolder.state`.
        seconds: between two saves; 0 saves nothing. Saves that take long are farther apart.
    """

    def __init__(self, predictor: Any, state: Any, results: ResultFolder, number: int, seconds: float) -> None:
        self._predictor, self._state = predictor, state
        self._results, self._number = results, number
        self._seconds = seconds
        self._due = monotonic() + seconds

    def after_frame(self) -> None:
        """A frame was yielded, and its mask is on disk."""
        # What a failing pass hands over at its end is not decided: who goes on from here must not take it for that.
        if monotonic() >= self._due and not self._predictor.session(self._state).hands_over:
            self.save()

    def save(self) -> None:
        if self._seconds <= 0:
            return
        start = monotonic()
        try:
            path = self._results.state(self._number)
            path.parent.mkdir(exist_ok=True)
            self._predictor.save_state(self._state, path)
            for older in range(self._number):
                self._results.state(older).unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            logger.warning("the state cannot be saved, --resume begins with the last one: %s", error)
            self._seconds = 0
        now = monotonic()
        self._due = now + max(self._seconds, _SHARE * (now - start))
