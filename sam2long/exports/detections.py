"""Roboflow's `supervision`, whose annotators, zones and counters take `Detections`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sam2long.exports.frame_masks import FrameMasks, Tracked
from sam2long.exports.video_info import Numbers, Scores, VideoInfo

if TYPE_CHECKING:
    import supervision


def detections(tracked: Tracked, info: VideoInfo | None = None) -> Iterator[tuple[int, supervision.Detections]]:
    """Each frame as `supervision.Detections`, while it is tracked.

    Only objects that are seen are in them: `mask` bool [n, H, W], `xyxy` as `supervision.mask_to_xyxy` gives it (the
    last pixel inside), `tracker_id` the object's number, `class_id` 0, `data["obj_id"]` its id and, where `info` has
    names, `data["class_name"]`. `confidence` is the predicted IoU, 1 where there is none; None without `info.scores`.
    Scores are asked for at every frame.

    Yields:
        (frame index, detections).

    Raises:
        ImportError: supervision is missing (extra `supervision`).
        ValueError: masks that no export takes, see `FrameMasks.of`.
    """
    try:
        import supervision
    except ImportError as error:
        raise ImportError(
            "detections need supervision: pip install supervision (extra sam2long[supervision])"
        ) from error
    info = info or VideoInfo()
    numbers = Numbers(info)
    return (_of(FrameMasks.of(*frame), info, numbers, supervision) for frame in tracked)


def _of(frame: FrameMasks, info: VideoInfo, numbers: Numbers, supervision: Any) -> tuple[int, Any]:
    number_of = dict(zip(frame.obj_ids, numbers.of(frame.obj_ids), strict=True))
    seen = np.array([mask.any() for mask in frame.masks], dtype=np.bool_)
    masks = frame.masks[seen]
    obj_ids = [obj_id for obj_id, is_seen in zip(frame.obj_ids, seen, strict=True) if is_seen]
    scores = Scores(info)
    confidence = [scores.confidence(obj_id, frame.frame_idx) for obj_id in obj_ids]
    data = {"obj_id": np.array(obj_ids)}
    if info.objects:
        data["class_name"] = np.array([info.objects.get(obj_id, "object") for obj_id in obj_ids])
    return frame.frame_idx, supervision.Detections(
        xyxy=supervision.mask_to_xyxy(masks).reshape(-1, 4).astype(np.float32),
        mask=masks,
        confidence=None if info.scores is None else np.array(confidence, dtype=np.float32),
        class_id=np.zeros(len(obj_ids), dtype=np.int64),
        tracker_id=np.array([number_of[obj_id] for obj_id in obj_ids], dtype=np.int64),
        data=data,
    )
