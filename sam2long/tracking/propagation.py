"""One pass of the memory trees over the frames of a video.

The trunk is SAM 2's own state: committed frames lie in `output_dict_per_obj[...]["non_cond_frame_outputs"]` in
SAM 2's format, so that its interactive API works on them unchanged. A tree holds only the frames above it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from sam2long.model.host_copies import wait_for_host_copies
from sam2long.model.hypotheses import Hypothesis, Pending, Proposals
from sam2long.model.image_features import FrameEncoder, ImageFeatures, ImageModel
from sam2long.model.memory_bank import FrameMemory, MemoryBank, PathwayMemory
from sam2long.model.seam import BankOptions
from sam2long.search.picking import Pick
from sam2long.search.selection import ChooseMemoryFunction, SelectFunction
from sam2long.state.object_past import ObjectPast, PastModel
from sam2long.state.session import Session
from sam2long.tracking.object_track import ObjectTrack, PassSettings, Step

# A pass that ends may decide many frames at once; their masks are small.
_COMMITTED_AT_ONCE = 32


class BatchModel(Protocol):
    """What proposes and remembers masks, for all pathways at once (`model.hypotheses.HypothesisModel`)."""

    def propose(self, features: ImageFeatures, pathways: Sequence[PathwayMemory]) -> Proposals:
        """The masks each pathway proposes for a frame."""

    def remember(
        self, frame_idx: int, features: ImageFeatures, proposals: Proposals, picks: Sequence[Pick]
    ) -> Sequence[Hypothesis]:
        """The memories of the masks that were selected."""

    def finish(self, mask_logits: Sequence[Tensor]) -> Sequence[tuple[Tensor, Tensor]]:
        """What is committed of decided masks."""


class TreeModel(ImageModel, PastModel, BankOptions, Protocol):
    """What the trees of a pass need of the predictor."""

    encode_ahead: int
    max_obj_ptrs_in_encoder: int

    @property
    def select(self) -> SelectFunction:
        """Which candidates live on."""

    @property
    def choose_memory(self) -> ChooseMemoryFunction[FrameMemory]:
        """Which frames a pathway remembers."""

    def hypothesis_model(self, bank: MemoryBank, spatial_pos: Tensor, max_obj_ptrs: int) -> BatchModel:
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
        before: dict[Any, tuple[FrameMemory, ...]] | None = None,
    ) -> None:
        self._model = model
        self._state = inference_state
        self._device: torch.device = inference_state["device"]
        session.recent.keep_only(inference_state["obj_ids"])
        max_obj_ptrs = min(inference_state["num_frames"], model.max_obj_ptrs_in_encoder)
        # A list of its own: SAM 2's `reset_state` empties the state's.
        self.obj_ids: list[Any] = list(inference_state["obj_ids"] if obj_ids is None else obj_ids)
        pasts = [
            ObjectPast(model, inference_state, session.recent, obj_id, max_obj_ptrs=max_obj_ptrs, reverse=reverse)
            for obj_id in self.obj_ids
        ]
        bank = MemoryBank(model, max_obj_ptrs, session.config.modulation)
        settings = PassSettings(
            session.config, model.select, model.choose_memory, session.max_pending_frames, max_obj_ptrs
        )
        self.tracks = {
            past.obj_id: ObjectTrack(past, settings, bank, (before or {}).get(past.obj_id, ())) for past in pasts
        }
        self._images = FrameEncoder(model, inference_state, order, model.encode_ahead)
        spatial_pos = inference_state["constants"]["maskmem_pos_enc"][-1]
        self._batch = model.hypothesis_model(bank, spatial_pos, max_obj_ptrs)
        self._waiting: deque[int] = deque()  # frames tracked and not yet yielded, in processing order

    # -- one frame -------------------------------------------------------------------------------------------------

    def track(self, frame_idx: int) -> None:
        """Track one frame for all objects; afterwards `ready` yields what it decided."""
        conditioned = [track for track in self.tracks.values() if track.past.is_conditioning(frame_idx)]
        steps = [(track, track.step(frame_idx)) for track in self.tracks.values() if track not in conditioned]
        if steps:
            self._run(frame_idx, steps)
        # Nothing is committed before the frame's computation has succeeded: an unreadable frame loses no other.
        self._waiting.append(frame_idx)
        if conditioned:
            self._commit([(track, decided) for track in conditioned for decided in track.decide_all()], waited=False)
        for track in conditioned:
            track.pass_conditioning_frame(frame_idx)
        self._commit([(track, decided) for track, step in steps for decided in track.take(step)])
        for track in self.tracks.values():
            track.offload_long_waits(self._waiting)

    def _run(self, frame_idx: int, steps: Sequence[tuple[ObjectTrack, Step]]) -> None:
        """From what the pathways attend to, to the hypotheses that grow from them."""
        features = self._images.of(frame_idx)  # once for all
        proposals = self._batch.propose(features, [pathway for _, step in steps for pathway in step.pathways])
        self._images.encode_next(frame_idx)  # the device has work while the host waits and selects
        scores = iter(proposals.scores())  # the frame's one wait for the device
        for track, step in steps:
            track.select(step, [next(scores) for _ in step.pathways])
        picks = [pick for _, step in steps for pick in step.picks.values()]
        hypotheses = iter(self._batch.remember(frame_idx, features, proposals, picks))
        for track, step in steps:
            track.remember(step, [next(hypotheses) for _ in step.picks])

    def _commit(self, decided: Sequence[tuple[ObjectTrack, Pending]], *, waited: bool = True) -> None:
        """Commit decided frames, all objects' in one batch.

        Args:
            decided: frames, in order for each object.
            waited: whether the host has waited for the device since they began to wait on the host.
        """
        if not waited:
            wait_for_host_copies(self._device)
        for begin in range(0, len(decided), _COMMITTED_AT_ONCE):
            batch = decided[begin : begin + _COMMITTED_AT_ONCE]
            hypotheses = [frame.nodes[0].output for _, frame in batch]
            masks = [h.mask_logits.to(self._device, non_blocking=True) for h in hypotheses if h is not None]
            for (track, frame), (pred_masks, levels) in zip(batch, self._batch.finish(masks), strict=True):
                track.commit(frame, pred_masks, levels)

    def ready(self) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Frames decided for every object, in processing order, as `propagate_in_video` yields them.

        Yields:
            (frame_idx, obj_ids, logits), the logits float32 [num_objects, 1, video_height, video_width].
        """
        while self._waiting and all(self._waiting[0] in track.answers for track in self.tracks.values()):
            frame_idx = self._waiting.popleft()
            answers = [track.answers.pop(frame_idx) for track in self.tracks.values()]
            masks = torch.cat([answer.to(self._device, non_blocking=True) for answer in answers], dim=0)
            yield frame_idx, self.obj_ids, self._model.at_video_res(self._state, masks)

    def settle(self) -> None:
        """Commit all pending frames to the pathway of slot 0. Tracking may go on afterwards."""
        self._commit(
            [(track, decided) for track in self.tracks.values() for decided in track.decide_all()], waited=False
        )

    # -- what others may see ---------------------------------------------------------------------------------------

    def remembered(self) -> dict[Any, tuple[FrameMemory, ...]]:
        """Per object what its best pathway remembers: `before` of the pass that continues this one."""
        return {obj_id: track.remembered for obj_id, track in self.tracks.items()}

    def pending(self, obj_id: Any) -> dict[int, Pending]:
        """The object's undecided frames."""
        return self.tracks[obj_id].pending() if obj_id in self.tracks else {}

    def pending_hypotheses(self, obj_id: Any, frame_idx: int) -> list[tuple[tuple[int, ...], Hypothesis]]:
        """(slots that descend from it, hypothesis) for all hypotheses alive on a pending frame, best first."""
        return self.tracks[obj_id].pending_hypotheses(frame_idx)

    def unfinished(self) -> dict[str, Any]:
        """All that distinguishes this pass from one just begun (for `saving`); nothing is copied or settled."""
        begun = {key: unfinished for key, track in self.tracks.items() if (unfinished := track.unfinished())}
        answers: dict[int, dict[Any, Tensor]] = {}
        for obj_id, track in self.tracks.items():
            for frame_idx, answer in track.answers.items():
                answers.setdefault(frame_idx, {})[obj_id] = answer
        return {
            "trees": {obj_id: unfinished["tree"] for obj_id, unfinished in begun.items()},
            "agreements": {obj_id: unfinished["agreement"] for obj_id, unfinished in begun.items()},
            "waiting": self._waiting,
            "answers": answers,
            "removed": [obj_id for obj_id, track in self.tracks.items() if track.past.is_gone],
        }

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on where another pass was `unfinished`."""
        self._waiting.extend(unfinished["waiting"])
        for obj_id, track in self.tracks.items():
            if obj_id in unfinished["trees"]:
                track.take_up(unfinished["trees"][obj_id], unfinished["agreements"].get(obj_id))
            for frame_idx, answers in unfinished["answers"].items():
                if obj_id in answers:
                    track.answers[frame_idx] = answers[obj_id]
            if obj_id in unfinished["removed"]:
                track.past.set_gone()
