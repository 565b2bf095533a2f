"""The video that is open, whose turn it is with it, and what is on disk of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sam2long.precision import computing_in
from sam2long.runner.locks import locked
from sam2long.studio import uploads
from sam2long.studio.desk import Desk
from sam2long.studio.folder import SessionFolder, SessionInfo, sessions_in
from sam2long.studio.tracking import Progress, TrackingRun
from sam2long.studio.turns import Turns
from sam2long.views.visualize import BoolArray

if TYPE_CHECKING:
    from sam2long.predictor import SAM2LongVideoPredictor

ReadMasks = Callable[[Path], dict[int, BoolArray]]


class OpenVideo:
    """At most one video, with a person's work on it. The arguments are `Studio`'s."""

    def __init__(
        self,
        predictor: SAM2LongVideoPredictor,
        root: Path,
        *,
        read_masks: ReadMasks | None = None,
        precision: str = "auto",
        save_every: float = 30.0,
    ) -> None:
        self._predictor, self.root = predictor, root
        self._read_masks, self._precision, self._save_every = read_masks, precision, save_every
        self._turns = Turns()
        self._desk: Desk | None = None
        self._folder = SessionFolder(root)
        self._lock = ExitStack()
        self._run: TrackingRun | None = None
        self._unfinished = False  # a pass that was open when the session was saved may go on
        self.video = ""
        self.version = 0

    # -- opening and closing -------------------------------------------------------------------------------------

    def open(self, video: str) -> bool:
        """Open a video file or a folder of images; says whether there is an earlier session of it, which goes on.

        Raises:
            ValueError, OSError, ImportError: if it cannot be read.
        """
        video = video.strip()
        if not video:
            raise ValueError("Give the path of a video file or of a folder of images.")
        path = Path(video).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {path}.")
        folder = SessionFolder.of(self.root, str(path))
        with self._turns.person(), self._computing():
            self._require_idle()
            went_on = folder.is_begun
            lock = self._lock_of(folder)
            try:
                desk = folder.open(self._predictor, str(path))
            except BaseException as error:
                if lock is not self._lock:
                    lock.close()
                if went_on and isinstance(error, ValueError):
                    mend = f"earlier work on this video is in {folder.path}: move it away to begin anew"
                    raise ValueError(f"{error} ({mend})") from error
                raise
            self._let_go(lock)
            self._desk, self._folder, self.video = desk, folder, str(path)
            open_pass = self._predictor.session(desk.state).open_pass
            self._unfinished = open_pass is not None and open_pass.loaded
            self._changed(with_state=False)
        return went_on

    def open_upload(self, files: Sequence[Path]) -> bool:
        """Open what a browser sent: a video, or images; it is kept beside the sessions."""
        kept, is_new = uploads.keep(files, self.root / "uploads")
        try:
            return self.open(str(kept))
        except (ValueError, OSError) as error:
            if is_new:
                uploads.remove(kept)
            raise ValueError(str(error).replace(str(kept), files[0].name)) from error

    def start_over(self) -> None:
        """Forget the session of the video, and begin anew."""
        with self._changing() as desk:
            self._folder.remove()
            self._desk = self._folder.open(self._predictor, self.video)
            desk.source.close()

    def sessions(self) -> list[SessionInfo]:
        """What can be opened again, the newest first."""
        return sessions_in(self.root)

    def close(self) -> None:
        """Stop tracking, which saves, and let go of the video."""
        if self._run is not None:
            self._run.stop()
            self._run.join()
        with self._turns.person():
            self._let_go(ExitStack())

    def _lock_of(self, folder: SessionFolder) -> ExitStack:
        """Nobody else's while it is not closed.

        Raises:
            ValueError: if another studio has it.
        """
        if self._desk is not None and folder.path == self._folder.path:
            return self._lock
        lock = ExitStack()
        self.root.mkdir(parents=True, exist_ok=True)
        if not lock.enter_context(locked(folder.lock)):
            lock.close()
            raise ValueError("This video is open in another studio on this machine: close that one first.")
        return lock

    def _let_go(self, lock: ExitStack) -> None:
        """Of the video; `lock` is the one of the next."""
        if lock is not self._lock:
            self._lock.close()
            self._lock = lock
        if self._desk is not None:
            self._desk.source.close()
        self._desk, self._run, self._unfinished = None, None, False

    # -- tracking ------------------------------------------------------------------------------------------------

    def progress(self) -> Progress | None:
        """Of the tracking that runs or ran last; None before the first."""
        return None if self._run is None else self._run.progress()

    @property
    def is_tracking(self) -> bool:
        return self._run is not None and self._run.is_running

    # -- turns ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _looking(self) -> Iterator[Desk]:
        with self._turns.person(), self._computing():
            if self._desk is None:
                raise ValueError("Open a video first.")
            yield self._desk

    @contextmanager
    def _changing(self, *, while_tracking: bool = False, saves: bool = True) -> Iterator[Desk]:
        with self._looking() as desk:
            if not while_tracking:
                self._require_idle()
            yield desk
            if not while_tracking:
                self._unfinished = False
            self._changed(with_state=False, saves=saves)

    def _changed(self, *, with_state: bool, saves: bool = True) -> None:
        self.version += 1
        if saves and self._desk is not None:
            self._folder.save(self._desk, self.video, with_state=with_state)

    def _require_idle(self) -> None:
        if self.is_tracking:
            raise ValueError("Tracking is under way: press Stop first.")

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), computing_in(self._predictor.device, self._precision):
            yield

    @staticmethod
    def _checked(desk: Desk, frame_idx: int) -> int:
        return min(max(int(frame_idx), 0), desk.num_frames - 1)
