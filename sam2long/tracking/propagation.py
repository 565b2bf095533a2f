"""One pass of the memory trees over the frames of a video.

The trunk is SAM 2's own state: committed frames lie in `output_dict_per_obj[...]["non_cond_frame_outputs"]` in
SAM 2's format, so that its interactive API works on them unchanged. A tree holds only the frames above it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sam2long.model.hypotheses import Hypothesis, HypothesisModel, Pending, wait_for_host_copies
from sam2long.model.image_features import FeatureCache
from sam2long.model.memory_bank import FrameMemory, MemoryBank
from sam2long.state.object_past import ObjectPast
from sam2long.state.session import Session
from sam2long.tracking.object_track import ObjectTrack, PassSettings, Step
from sam2long.tracking.seam import TreeModel


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
        # A list of its own: SAM 2's `reset_state` empties the state's.
        self.obj_ids: list[Any] = list(inference_state["obj_ids"] if obj_ids is None else obj_ids)
        self._device: torch.device = inference_state["device"]
        max_obj_ptrs = min(inference_state["num_frames"], model.max_obj_ptrs_in_encoder)
        settings = PassSettings(
            session.config, model.select, model.choose_memory, session.max_pending_frames, max_obj_ptrs
        )
        spatial_pos = inference_state["constants"]["maskmem_pos_enc"][-1]
        bank = MemoryBank(model, spatial_pos, max_obj_ptrs, session.config.modulation, self._device)
        self._features = FeatureCache(model, inference_state, order, model.encode_ahead)
        self._hypotheses = HypothesisModel(model, bank)
        session.recent.keep_only(self.obj_ids)
        pasts = [
            ObjectPast(model, inference_state, session.recent, obj_id, max_obj_ptrs=max_obj_ptrs, reverse=reverse)
            for obj_id in self.obj_ids
        ]
        self.tracks = [ObjectTrack(past, settings, bank, (before or {}).get(past.obj_id, ())) for past in pasts]
        self._waiting: deque[int] = deque()  # frames tracked and not yet yielded, in processing order

    # -- one frame -------------------------------------------------------------------------------------------------

    def track(self, frame_idx: int) -> None:
        """Track one frame for all objects; afterwards `ready` yields what it decided."""
        given = [track for track in self.tracks if track.past.is_given(frame_idx)]
        steps = [(track, track.step(frame_idx)) for track in self.tracks if track not in given]
        if steps:
            self._run(frame_idx, steps)
        if given:  # what they commit below may still be on its way to the host
            wait_for_host_copies(self._device)
        # Nothing is changed before the frame's computation has succeeded: an unreadable frame loses no other.
        self._waiting.append(frame_idx)
        for track in given:
            track.pass_given(frame_idx)
        for track, step in steps:
            track.take(step)
        for track in self.tracks:
            track.offload_long_waits(self._waiting)

    def _run(self, frame_idx: int, steps: Sequence[tuple[ObjectTrack, Step]]) -> None:
        """From what the pathways attend to, to the hypotheses that grow from them."""
        features = self._features.of(frame_idx)  # once for all
        decoded = self._hypotheses.decode(features, [pathway for _, step in steps for pathway in step.pathways])
        proposals = iter(decoded.proposals())  # the frame's one wait for the device
        for track, step in steps:
            track.select(step, [next(proposals) for _ in step.pathways])
        picks = [pick for _, step in steps for pick in step.picks.values()]
        hypotheses = iter(self._hypotheses.encode(frame_idx, features, decoded, picks))
        for track, step in steps:
            track.grow(step, [next(hypotheses) for _ in step.picks])

    def ready(self) -> Iterator[tuple[int, list[Any], Tensor]]:
        """Frames decided for every object, in processing order: (frame_idx, obj_ids, low-res logits [N, 1, h, w])."""
        while self._waiting and all(self._waiting[0] in track.answers for track in self.tracks):
            frame_idx = self._waiting.popleft()
            answers = [track.answers.pop(frame_idx) for track in self.tracks]
            masks = [answer.to(self._device, non_blocking=True) for answer in answers]
            yield frame_idx, self.obj_ids, torch.cat(masks, dim=0)

    def settle(self) -> None:
        """Commit all pending frames to the pathway of slot 0. Tracking may go on afterwards."""
        wait_for_host_copies(self._device)
        for track in self.tracks:
            track.settle()

    # -- what others may see ---------------------------------------------------------------------------------------

    def remembered(self) -> dict[Any, tuple[FrameMemory, ...]]:
        """Per object what its best pathway remembers: `before` of the pass that continues this one."""
        return {track.past.obj_id: track.remembered for track in self.tracks}

    def pending(self, obj_id: Any) -> dict[int, Pending]:
        """The object's undecided frames."""
        return next((track.pending() for track in self.tracks if track.past.obj_id == obj_id), {})

    def pending_hypotheses(self, obj_id: Any, frame_idx: int) -> list[tuple[tuple[int, ...], Hypothesis]]:
        """(slots that descend from it, hypothesis) for all hypotheses alive on a pending frame, best first."""
        (track,) = (track for track in self.tracks if track.past.obj_id == obj_id)
        return track.pending_hypotheses(frame_idx)

    def unfinished(self) -> dict[str, Any]:
        """All that distinguishes this pass from one just begun (for `saving`); nothing is copied or settled."""
        begun = {track.past.obj_id: unfinished for track in self.tracks if (unfinished := track.unfinished())}
        answers: dict[int, dict[Any, Tensor]] = {}
        for track in self.tracks:
            for frame_idx, answer in track.answers.items():
                answers.setdefault(frame_idx, {})[track.past.obj_id] = answer
        return {
            "trees": {obj_id: unfinished["tree"] for obj_id, unfinished in begun.items()},
            "agreements": {obj_id: unfinished["agreement"] for obj_id, unfinished in begun.items()},
            "waiting": self._waiting,
            "answers": answers,
            "removed": [track.past.obj_id for track in self.tracks if track.past.is_gone],
        }

    def take_up(self, unfinished: dict[str, Any]) -> None:
        """Go on where another pass was `unfinished`."""
        self._waiting.extend(unfinished["waiting"])
        for track in self.tracks:
            obj_id = track.past.obj_id
            if obj_id in unfinished["trees"]:
                track.take_up(unfinished["trees"][obj_id], unfinished["agreements"].get(obj_id))
            for frame_idx, answers in unfinished["answers"].items():
                if obj_id in answers:
                    track.answers[frame_idx] = answers[obj_id]
            if obj_id in unfinished["removed"]:
                track.past.set_gone()
