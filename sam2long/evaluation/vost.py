"""VOST by the rules of its own evaluation: J over the video, and J_tr over its last quarter."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from sam2long.evaluation.davis import (
    Video,
    first_objects,
    late_items,
    later_objects,
    listed_videos,
    statistic_keys,
    statistics,
)
from sam2long.evaluation.masks import labels_on
from sam2long.evaluation.measures import jaccard
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores, mean_score

_HEADLINE = Headline("J-Mean", ("J-Mean",), 100)
_ENDS = LeftOut("the first and the last frame of every video", "VOST does not score them")


def evaluate_vost(gt: Path, pred: Path, *, run: MapVideos, split: str = "val", sane: bool = False) -> Evaluation:
    """VOST: J per object over all frames but the first and the last, and `J_last`, the paper's J_tr.

    J_last is over the scored frames from index floor(0.75 n) on. Objects are 1 to the highest id of the first
    annotation, as for DAVIS, and void (255) is background, but higher predicted ids are cut off in place of ending the
    program. Decay as for DAVIS, with `sane` likewise.

    Args:
        gt: holds `ImageSets/<split>.txt` and `Annotations/<video>/*.png`.
        pred: holds `<video>/*.png`.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as for the other benchmarks.
    """
    videos = listed_videos(gt / "ImageSets" / f"{split}.txt", gt / "Annotations", pred, drop_ends=True)
    scored = run(partial(_score, sane=sane), videos, [len(video.frames) for video in videos])
    objects = [row for rows, _ in scored for row in rows]
    if not objects:
        raise ValueError(f"no video of {gt} has an object in its first annotation: nothing can be scored")
    overall = {key: mean_score(objects, key) for key in statistic_keys(("J", "J_last"))}
    left_out = [_ENDS, *(item for _, items in scored for item in items)]
    return Evaluation("VOST evaluation", _HEADLINE, overall, objects, left_out)


def _score(video: Video, *, sane: bool) -> tuple[list[ObjectScores], list[LeftOut]]:
    objects, frames = first_objects(video), video.frames[1:-1]
    j = np.zeros((len(objects), len(frames)))
    late: set[int] = set()
    cut: set[int] = set()
    for t, frame in enumerate(frames):
        found, truth = video.pair(frame)
        later_objects(video, truth, objects, late)
        if found.max(initial=0) > len(objects):
            cut |= {label for label in labels_on(found) if label > len(objects)}
        j[:, t] = [jaccard(found == label, truth == label) for label in objects]
    last = math.floor(0.75 * len(frames))
    rows = []
    for label, values in zip(objects, j, strict=True):
        scores = statistics({"J": values, "J_last": values[last:]}, sane=sane)
        per_frame = {"J": values.tolist()}
        rows.append(ObjectScores(video.name, str(label), f"{video.name}_{label}", scores, frames, per_frame))
    why = "it is above the highest id of the first annotation"
    return rows, late_items(video, late) + [LeftOut(f"{video.name}, predicted id {k}", why) for k in sorted(cut)]
