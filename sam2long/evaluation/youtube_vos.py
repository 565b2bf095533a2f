"""YouTube-VOS by pytracking's `evaluate_sequence`: not the numbers of its server, whose program is not public."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam2long.evaluation.masks import existing_folder, png_names, read_json, read_pair, require
from sam2long.evaluation.measures import j_and_f
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores, Scores, mean_score
from sam2long.evaluation.statistics import decay, mean, recall

# The 65 categories of the training set; what else the validation set shows is unseen.
_TRAINED = (
    "airplane ape bear bike bird boat bucket bus camel cat cow crocodile deer dog dolphin duck eagle earless_seal "
    "elephant fish fox frisbee frog giant_panda giraffe hand hat hedgehog horse knife leopard lion lizard monkey "
    "motorbike mouse others owl paddle parachute parrot penguin person plant rabbit raccoon sedan shark sheep sign "
    "skateboard snail snake snowboard squirrel surfboard tennis_racket tiger toilet train truck turtle umbrella whale "
    "zebra"
)
SEEN = frozenset(_TRAINED.split())
_HEADLINE = Headline("Overall", ("J-mean", "F-mean"), 100)
_STATISTICS = ("mean", "recall", "decay")


@dataclass(frozen=True)
class _Video:
    name: str
    frames: tuple[str, ...]
    objects: dict[int, tuple[str, str]]  # id -> category, first frame
    truth: Path
    found: Path


def evaluate_youtube_vos(gt: Path, pred: Path, *, run: MapVideos) -> Evaluation:
    """YouTube-VOS validation, where the annotation is at hand. Not the server's numbers: its program is not public.

    Per object all frames after its first one count, but not the last one of the video (pytracking's rule). `global`
    holds pytracking's means over objects (`J-mean` ...) and the split that papers give (`J_seen`, `J_unseen`, `F_seen`,
    `F_unseen`, and `Overall`, the mean of the four): categories of the training set are seen. That split is this
    project's; no public program computes it. `more` holds the two apart.

    Args:
        gt: holds `meta.json` and `Annotations/<video>/*.png`.
        pred: holds `<video>/*.png`.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as for the other benchmarks.
    """
    videos = _videos(gt, pred)
    scored = run(_score, videos, [len(video.frames) for video in videos])
    objects = [row for rows in scored for row in rows]
    if not objects:
        raise ValueError(f"{gt / 'meta.json'} lists no object that shows before its video ends")
    keys = [f"{measure}-{statistic}" for measure in ("J", "F") for statistic in _STATISTICS]
    means = {key: mean_score(objects, key) for key in keys}
    splits = {
        f"{measure}_{group}": mean_score(objects, f"{measure}-mean", group)
        for measure in ("J", "F")
        for group in ("seen", "unseen")
    }
    splits["Overall"] = float(np.mean(list(splits.values())))
    more = {"global_pytracking": means, "derived_seen_unseen_not_from_an_official_tool": splits}
    left_out = [
        LeftOut("per object the frames up to its first one, and the last frame of the video", "pytracking's rule"),
        LeftOut("the server's numbers", "YouTube-VOS publishes no evaluator"),
    ]
    scored_names = {row.name for row in objects}
    names = [f"{video.name}_{obj}" for video in videos for obj in video.objects]
    left_out += [LeftOut(name, "no frame of it is scored") for name in names if name not in scored_names]
    tool = "pytracking evaluate_vos (not the YouTube-VOS server)"
    return Evaluation(tool, _HEADLINE, means | splits, objects, left_out, more)


def _videos(gt: Path, pred: Path) -> list[_Video]:
    meta = gt / "meta.json"
    content = read_json(meta, "GT holds this list of videos, objects, their categories and frames")
    videos = []
    try:
        for name, video in content["videos"].items():
            objects = {int(obj): (of["category"], min(of["frames"])) for obj, of in video["objects"].items()}
            truth = existing_folder(gt / "Annotations" / name, f"the annotation of video {name}, which {meta} lists")
            videos.append(_Video(name, tuple(png_names(truth)), objects, truth, pred / name))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f'{meta} must hold "videos", "objects", "category" and "frames" ({error!r})') from error
    require(
        (video.found / f"{frame}.png" for video in videos for frame in video.frames[_first(video) + 1 : -1]),
        "every scored frame needs a prediction, named as its annotation",
    )
    return videos


def _first(video: _Video) -> int:
    """The index of the frame on which the first of the objects appears."""
    firsts = [first for _, first in video.objects.values()]
    return min((sum(frame < first for frame in video.frames) for first in firsts), default=len(video.frames))


def _score(video: _Video) -> list[ObjectScores]:
    values = {obj: np.full((2, len(video.frames)), np.nan) for obj in video.objects}
    for t in range(_first(video) + 1, len(video.frames) - 1):
        frame = video.frames[t]
        found, truth = read_pair(video.found / f"{frame}.png", video.truth / f"{frame}.png")
        for obj, (_, first) in video.objects.items():
            if frame > first:
                values[obj][:, t] = j_and_f(found == obj, truth == obj)
    return [_row(video, obj, values[obj]) for obj in video.objects if np.isfinite(values[obj]).any()]


def _row(video: _Video, obj: int, values: np.ndarray) -> ObjectScores:
    scores: Scores = {}
    for measure, column in zip(("J", "F"), values, strict=True):
        counted = column[np.isfinite(column)]
        scores |= {
            f"{measure}-mean": mean(counted),
            f"{measure}-recall": recall(counted),
            f"{measure}-decay": decay(counted),
            f"{measure}-std": float(counted.std()),
        }
    per_frame = {"J": values[0].tolist(), "F": values[1].tolist()}
    group = "seen" if video.objects[obj][0] in SEEN else "unseen"
    return ObjectScores(video.name, str(obj), f"{video.name}_{obj}", scores, video.frames, per_frame, group)
