"""What is known of a video's objects, frame by frame: read from SAM 2's state, which is changed elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from sam2long.frames import FrameSource
from sam2long.state.session import SESSION_KEY
from sam2long.studio.objects import StudioObject
from sam2long.views.visualize import BoolArray

if TYPE_CHECKING:
    from sam2long.predictor import SAM2LongVideoPredictor
    from sam2long.state.review import Alternative, DoubtfulFrame


class Looking:
    """One video, its objects, and SAM 2's state of them. The arguments are `Desk`'s."""

    def __init__(
        self,
        predictor: SAM2LongVideoPredictor,
        source: FrameSource,
        state: dict[str, Any],
        objects: dict[int, StudioObject] | None = None,
        next_id: int = 1,
    ) -> None:
        self.predictor, self.source, self.state = predictor, source, state
        self.objects = objects or {}
        self.next_id = next_id
        self.given_again: set[int] = set()

    @property
    def num_frames(self) -> int:
        return len(self.source)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the video."""
        return self.source.height, self.source.width

    def known(self, obj_id: int) -> StudioObject:
        """The object.

        Raises:
            ValueError: if there is none of that number.
        """
        if obj_id not in self.objects:
            raise ValueError("Add an object first." if not self.objects else f"There is no object {obj_id} any more.")
        return self.objects[obj_id]

    def masks(self, frame_idx: int, size: tuple[int, int] | None = None) -> dict[int, BoolArray]:
        """The masks known on a frame, by object, bool [H, W], in the video's size or another."""
        outputs = {k: found for k in self.state["obj_ids"] if (found := self._output(k, frame_idx)) is not None}
        if not outputs:
            return {}
        logits = torch.cat([output["pred_masks"].to(self.predictor.device) for output in outputs.values()])
        if size is None:
            shown = self.predictor.at_video_res(self.state, logits)
        else:
            shown = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
        return dict(zip(outputs, (shown[:, 0] > 0).cpu().numpy(), strict=True))

    def _output(self, obj_id: int, frame_idx: int) -> Any:
        """SAM 2's entry for an object on a frame: what was shown last, else what was tracked."""
        obj_idx = self.state["obj_id_to_idx"][obj_id]
        shown, tracked = (self.state[key][obj_idx] for key in ("temp_output_dict_per_obj", "output_dict_per_obj"))
        for outputs in (shown["cond_frame_outputs"], shown["non_cond_frame_outputs"], tracked["cond_frame_outputs"]):
            if frame_idx in outputs:
                return outputs[frame_idx]
        # What was shown and is not any more stays there as if it were tracked.
        is_tracked = frame_idx in self.state["frames_tracked_per_obj"][obj_idx]
        return tracked["non_cond_frame_outputs"].get(frame_idx) if is_tracked else None

    def frames_known(self, obj_id: int) -> set[int]:
        """The frames on which an object was shown or tracked."""
        obj_idx = self.state["obj_id_to_idx"].get(obj_id)
        tracked = set() if obj_idx is None else set(self.state["frames_tracked_per_obj"][obj_idx])
        return tracked | self.known(obj_id).shown.keys()

    def doubtful(self, obj_id: int) -> list[DoubtfulFrame]:
        """The frames on which the tracking of an object was in doubt, most doubtful first."""
        session = self.state.get(SESSION_KEY)
        if obj_id not in self.state["obj_ids"] or session is None or session.review is None:
            return []
        return self.predictor.doubtful_frames(self.state, obj_id)

    def alternatives(self, obj_id: int, frame_idx: int) -> list[Alternative]:
        """What an object nearly was on a frame, best first; none where there was no doubt."""
        if frame_idx not in [frame.frame_idx for frame in self.doubtful(obj_id)]:
            return []
        return self.predictor.alternatives(self.state, obj_id, frame_idx)

    def copied_objects(self) -> list[StudioObject]:
        """The objects as they are now, for a thread that writes them."""
        return [replace(of, shown=dict(of.shown)) for of in self.objects.values()]
