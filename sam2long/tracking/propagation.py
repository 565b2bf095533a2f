"""One pass of the memory trees over the frames of a video.

The trunk is SAM 2's own state: committed frames lie in `output_dict_per_obj[...]["non_cond_frame_outputs"]` in
SAM 2's format, so that its interactive API works on them unchanged. A tree holds only the frames above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sam2long.model.hypotheses import Hypothesis, Pending
from sam2long.model.image_features import FrameEncoder
from sam2long.model.memory_bank import FrameMemory, MemoryBank
from sam2long.model.seam import BankOptions, TreeOptions
from sam2long.model.suitability import check_model_suits_tree
from sam2long.search.policy import Policy
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction
from sam2long.state.memories import FrameMemories
from sam2long.state.object_past import ObjectPast, PastModel
from sam2long.state.session import Session
from sam2long.tracking.alibi import AlibiModel, Alibis, BackwardBatch
from sam2long.tracking.frame_queue import FrameQueue
from sam2long.tracking.object_track import ObjectTrack, PassSettings, Step


class BatchModel(BackwardBatch, Protocol):
    """What proposes and remembers masks, for all pathways at once (`model.hypotheses.HypothesisModel`)."""

    def finish(self, mask_logits: Sequence[Tensor]) -> Sequence[tuple[Tensor, Tensor]]:
        """What is committed of decided masks."""


class TreeModel(AlibiModel, PastModel, BankOptions, TreeOptions, Protocol):
    """What the trees of a pass need of the predictor."""

    encode_ahead: int
    max_obj_ptrs_in_encoder: int

    @property
    def select(self) -> SelectFunction:
        """Which candidates live on."""

    @property
    def choose_memory(self) -> ChooseMemoryFunction[FrameMemory]:
        """Which frames a pathway remembers."""

    def hypothesis_model(self, bank: MemoryBank, spatial_pos: Tensor, max_obj_ptrs: int, policy: Policy) -> BatchModel:
        """What proposes and remembers masks, for one pass."""

    def at_video_res(self, inference_state: dict[str, Any], mask_logits: Tensor) -> Tensor:
        """Logits of any resolution at the video's."""


class Propagation:
    """Tracks frames one after the other for all objects of a video, one memory tree per object.

    Args:
        model: the predictor.
        inference_state: its state, with the prompts consolidated (`propagate_in_video_preflight`).
        session: the video's settings.
        reverse: whether time runs backwards.
        order: the frames to come, in order, if they are known.
        obj_ids: the objects, if they are not the state's own (one that was removed is named when it is tracked).
        before: per object what an earlier pass, continued by this one, remembered of frames that are no longer in
            the state.

    Raises:
        ValueError: if an option of the model leaves a tree nothing to choose from.
    """

    def __init__(
        self,
        model: TreeModel,
        inference_state: dict[str, Any],
        session: Session,
        *,
        reverse: bool,
        order: Sequence[int] = (),
        obj_ids: Sequence[Any] | None = None,
        before: dict[Any, FrameMemories] | None = None,
    ) -> None:
        self._model = model
        self._state = inference_state
        session.recent.keep_only(inference_state["obj_ids"])
        max_obj_ptrs = min(inference_state["num_frames"], model.max_obj_ptrs_in_encoder)
        # A list of its own: SAM 2's `reset_state` empties the state's.
        self.obj_ids: list[Any] = list(inference_state["obj_ids"] if obj_ids is None else obj_ids)
        pasts = [
            ObjectPast(model, inference_state, session.recent, obj_id, max_obj_ptrs=max_obj_ptrs, reverse=reverse)
            for obj_id in self.obj_ids
        ]
        check_model_suits_tree(model, session.config)
        bank = MemoryBank(model, max_obj_ptrs, session.config.modulation)
        self._images = FrameEncoder(model, inference_state, order, model.encode_ahead)
        policy = session.policy.with_functions(model.select, model.choose_memory)
        kept = session.review, session.recording
        settings = PassSettings(session.config, policy, session.max_pending_frames, max_obj_ptrs, *kept)
        self.tracks = {
            past.obj_id: ObjectTrack(past, settings, bank, (before or {}).get(past.obj_id)) for past in pasts
        }
        spatial_pos = inference_state["constants"]["maskmem_pos_enc"][-1]
        self._batch = model.hypothesis_model(bank, spatial_pos, max_obj_ptrs, policy)
        self._alibis: Alibis | None = None
        if policy.audit is not None:
            unwatched = replace(policy, wants=frozenset())  # nobody reads evidence of the way back
            batch = model.hypothesis_model(bank, spatial_pos, max_obj_ptrs, unwatched)
            self._alibis = Alibis(model, inference_state, batch, settings, reverse=reverse)
        self._queue = FrameQueue()
        self.intact = True

    # -- one frame -------------------------------------------------------------------------------------------------

    def track(self, frame_idx: int) -> None:
        """Track one frame for all objects; afterwards `ready` yields what it decided."""
        if self._known(frame_idx):
            return
        conditioned = [track for track in self.tracks.values() if track.past.is_conditioning(frame_idx)]
        steps = [(track, track.step(frame_idx)) for track in self.tracks.values() if track not in conditioned]
        if steps:
            self._run(frame_idx, steps)
        # Nothing is decided before the frame's computation has succeeded: an unreadable frame loses no other.
        self.intact = False  # until all objects have moved on
        self._queue.waiting.append(frame_idx)
        for track in conditioned:
            track.pass_conditioning_frame(frame_idx)
        for track, step in steps:
            track.take(step)
        for track in self.tracks.values():
            track.offload_long_waits(self._queue.waiting)
        self.intact = True

    def _known(self, frame_idx: int) -> bool:
        """Whether an earlier pass, which this one continues, has tracked the frame: then it only has to be yielded."""
        if self._queue.takes_again(frame_idx):
            for track in self.tracks.values():
                track.answers.answer_again(frame_idx)
            return True
        return self._queue.takes_ahead(frame_idx)

    def _run(self, frame_idx: int, steps: Sequence[tuple[ObjectTrack, Step]]) -> None:
        """From what the pathways attend to, to the hypotheses that grow from them."""
        features = self._images.of(frame_idx)  # once for all
        proposals = self._batch.propose(features, [pathway for _, step in steps for pathway in step.pathways])
        self._images.encode_next(frame_idx)  # the device has work while the host waits and selects
        scores = iter(proposals.scores())  # the frame's one wait for the device
        for track, step in steps:
            track.select(step, [next(scores) for _ in step.pathways])
        if self._alibis:
            self._alibis.check(frame_idx, features, proposals, steps)
        picks = [pick for _, step in steps for pick in step.picks.values()]
        hypotheses = iter(self._batch.remember(frame_idx, features, proposals, picks))
        for track, step in steps:
            track.remember(step, [next(hypotheses) for _ in step.picks])

    # -- answers ---------------------------------------------------------------------------------------------------

    def ready(self, *, early: bool = False) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Frames decided for every object, in processing order, as `propagate_in_video` yields them.

        A frame is committed to SAM 2's state when it is yielded: whoever stops there finds nothing beyond it. `early`:
        also frames that are not decided, for the best pathway so far. The trees keep all pathways; a frame that a
        continued pass decides otherwise is put right in SAM 2's state.
        """
        tracks = self.tracks.values()
        for track in tracks:
            for frame_idx in sorted(track.answers.overruled):
                self._commit(frame_idx, [track])
                track.answers.take(frame_idx)
            track.answers.overruled.clear()
        while self._queue.waiting and (early or all(track.answers.knows(self._queue.waiting[0]) for track in tracks)):
            intact, self.intact = self.intact, False  # until the frame is handed out
            frame_idx = self._queue.waiting.popleft()
            self._commit(frame_idx, tracks)
            answers = [track.answers.take(frame_idx).to(self._state["device"], non_blocking=True) for track in tracks]
            masks = self._model.at_video_res(self._state, torch.cat(answers, dim=0))
            self.intact = intact
            yield frame_idx, self.obj_ids, masks

    def _commit(self, frame_idx: int, tracks: Iterable[ObjectTrack]) -> None:
        """Write a frame into SAM 2's state, decided or not, the masks of all objects finished in one batch."""
        for track in tracks:
            track.answer_early(frame_idx)
        due = [(track, hypothesis) for track in tracks if (hypothesis := track.answers.due(frame_idx)) is not None]
        if due:
            # Those that waited long lie on the host, or are on their way there: the device keeps the order of copies.
            masks = [hypothesis.mask_logits.to(self._state["device"], non_blocking=True) for _, hypothesis in due]
            for (track, _), (pred_masks, levels) in zip(due, self._batch.finish(masks), strict=True):
                track.answers.commit(frame_idx, pred_masks, levels)

    def settle(self) -> None:
        """Decide all pending frames for the pathway of slot 0, and commit them before they are yielded (a stream's)."""
        for track in self.tracks.values():
            track.decide_all()
        for frame_idx in self._queue.waiting:
            self._commit(frame_idx, self.tracks.values())
        for track in self.tracks.values():
            track.answers.settle()

    def forget_ahead(self) -> int | None:
        """Forget what was tracked beyond the last frame yielded; returns the first of the frames forgotten."""
        self.intact = False
        for track in self.tracks.values():
            track.restart()
        return self._queue.forget()

    # -- what others may see ---------------------------------------------------------------------------------------

    def remembered(self) -> dict[Any, FrameMemories]:
        """Per object what its best pathway remembers: `before` of the pass that continues this one."""
        return {obj_id: track.remembered for obj_id, track in self.tracks.items()}

    def pending(self, obj_id: Any) -> dict[int, Pending]:
        """The object's undecided frames."""
        return self.tracks[obj_id].pending() if obj_id in self.tracks else {}

    def pending_hypotheses(self, obj_id: Any, frame_idx: int) -> list[tuple[tuple[int, ...], Hypothesis]]:
        """(slots that descend from it, hypothesis) for all hypotheses alive on a pending frame, best first."""
        return self.tracks[obj_id].pending_hypotheses(frame_idx)

    def unfinished(self) -> dict[str, Any]:
        """All that distinguishes this pass from one just begun; nothing is copied, and the state is not in it."""
        begun = {key: unfinished for key, track in self.tracks.items() if (unfinished := track.unfinished())}
        return {
            "trees": {obj_id: unfinished["tree"] for obj_id, unfinished in begun.items()},
            "agreements": {obj_id: unfinished["agreement"] for obj_id, unfinished in begun.items()},
            **self._queue.unfinished(),
            "answers": {obj_id: track.answers.unfinished() for obj_id, track in self.tracks.items()},
            "removed": [obj_id for obj_id, track in self.tracks.items() if track.past.is_gone],
        }

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on where another pass was `unfinished`."""
        self._queue.take_up(unfinished)
        answers = _answers_by_object(unfinished, self.tracks)
        trees, agreements = unfinished["trees"], unfinished["agreements"]
        for obj_id, track in self.tracks.items():
            if obj_id in trees:
                track.take_up({"tree": trees[obj_id], "agreement": agreements.get(obj_id)})
            track.answers.take_up(answers.get(obj_id, {}))
            if obj_id in unfinished["removed"]:
                track.past.set_gone()

    def go_on(self, last: int) -> None:
        """Continue a pass that another generator began: what it tracked ahead waits until it is asked for.

        Args:
            last: the last frame that was yielded; asked for again, it is answered as it was.
        """
        self._queue.go_on(last)


def _answers_by_object(unfinished: dict[str, Any], obj_ids: Iterable[Any]) -> dict[Any, Any]:
    """The "answers" of `Propagation.unfinished`, also of version 1 of saved states."""
    answers: dict[Any, Any] = unfinished["answers"]
    if "ahead" in unfinished:
        return answers
    # Version 1: by frame, and all of them were committed.
    by_frame = answers.items()
    return {obj_id: {"answers": {t: of[obj_id] for t, of in by_frame if obj_id in of}} for obj_id in obj_ids}
