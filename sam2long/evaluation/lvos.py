"""LVOS by the rules of lvos-evaluation: every fifth frame, per object's range, seen and unseen categories apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sam2long.evaluation.assignment import assign, pairwise
from sam2long.evaluation.masks import Labels, existing_folder, labels_on, read_json, read_list, read_pair, require
from sam2long.evaluation.measures import j_and_f
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores, mean_score
from sam2long.evaluation.statistics import Array, mean

TASKS = ("semi", "unsup-multiple", "unsup-single")
_HEADLINE = Headline("J&F-Mean", ("J", "F"), 100)
_STEP = 5


@dataclass(frozen=True)
class _Object:
    """An object's scored frames by the slot that each fills, of `slots` that its sum is divided by."""

    obj: str
    label: int
    frames: dict[int, int]
    slots: int


@dataclass(frozen=True)
class _Video:
    name: str
    objects: tuple[_Object, ...]
    truth: Path
    found: Path
    seen: bool

    @property
    def frames(self) -> list[int]:
        return sorted({frame for of in self.objects for frame in of.frames.values()})


def evaluate_lvos(gt: Path, pred: Path, *, run: MapVideos, task: str = "semi", split: str = "valid") -> Evaluation:
    """LVOS: J, F and V per object, then the mean of the means over the objects of seen and of unseen videos.

    An object is scored on `range(start, end, 5)` of its meta data, `end` excluded. Semi-supervised: but the frames at
    index 0 and `frame_nums` - 1; the sum is divided by `frame_nums` - 2. Unsupervised: all of them, divided by
    `frame_nums`. Where `frame_nums` is more than there are frames, what is not filled counts as 0 (in the unsupervised
    tasks that is one frame even of right meta data whose `end` is the last frame). V is the square root of the variance
    of (J + F) / 2 rounded to 4 decimals before the root. J&F is NaN where no video is seen or none unseen.

    Rows are named by the object's position in the meta data, not by its id. Void (255) is background. Objects that no
    proposal is assigned to score 0, also where nothing is right. `more` holds `overall_codalab_scores_txt`, the plain
    mean over objects that evaluation_codalab.py calls Overall.

    Args:
        gt: holds `<split>_meta.json`, `unseen_videos.txt` (the official tool reads it from where it is started),
            `Annotations/<video>/*.png`, and `unsupervised_videos.txt`, the videos of "unsup-single".
        pred: holds `<video>/*.png`; for "unsup-single" of one salient object: what is above 0, or of more than two grey
            levels what is at least 127.
        task: "semi", "unsup-multiple" or "unsup-single".

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as for the other benchmarks.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r} unknown: {', '.join(TASKS)}")
    videos = _videos(gt, pred, task, split)
    score = _score_semi if task == "semi" else partial(_score_unsup, single=task == "unsup-single")
    objects = [row for rows in run(score, videos, [len(video.frames) for video in videos]) for row in rows]
    if not objects:
        raise ValueError(f"{gt / f'{split}_meta.json'} lists no object")
    overall, codalab = _overall(objects)
    left_out = [LeftOut("all frames but those of each object's range", "LVOS scores every fifth frame")]
    if task == "semi":
        left_out.append(LeftOut("the first and the last frame of every range", "the semi-supervised task skips them"))
    left_out += _unfilled(videos)
    more = {"overall_codalab_scores_txt": codalab}
    return Evaluation(f"lvos-evaluation, {task}", _HEADLINE, overall, objects, left_out, more)


def _overall(objects: Sequence[ObjectScores]) -> tuple[dict[str, float], float]:
    means = {(key, group): mean_score(objects, key, group) for key in ("J", "F", "V") for group in ("seen", "unseen")}
    overall = {"J&F-Mean": float(np.mean([means[key, group] for key in ("J", "F") for group in ("seen", "unseen")]))}
    for key in ("J", "F", "V"):
        seen, unseen = means[key, "seen"], means[key, "unseen"]
        overall |= {f"{key}-Mean": (seen + unseen) / 2, f"{key}-seen-Mean": seen, f"{key}-unseen-Mean": unseen}
    return overall, (mean_score(objects, "J") + mean_score(objects, "F")) / 2


def _videos(gt: Path, pred: Path, task: str, split: str) -> list[_Video]:
    meta = gt / f"{split}_meta.json"
    content = read_json(meta, "GT holds this list of videos, objects and their frames")
    what = "GT holds this list of the videos of unseen categories, one a line"
    unseen = read_list(gt / "unseen_videos.txt", what, may_be_empty=True)
    try:
        listed = content["videos"]
        if task == "unsup-single":
            names = read_list(gt / "unsupervised_videos.txt", "GT holds this list of the task's videos, one a line")
            listed = {name: listed[name] for name in names}
        objects = {
            name: tuple(_object(name, obj, of["frame_range"], task == "semi") for obj, of in video["objects"].items())
            for name, video in listed.items()
        }
    except ValueError as error:
        raise ValueError(f"{meta}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        wanted = '"videos", "objects", and "start", "end", "frame_nums" of "frame_range"'
        raise ValueError(f"{meta} must hold {wanted} ({error!r})") from error
    videos = []
    for name, of_video in objects.items():
        truth = existing_folder(gt / "Annotations" / name, f"the annotation of video {name}, which {meta} lists")
        videos.append(_Video(name, of_video, truth, pred / name, name not in unseen))
    for kind, why in (("truth", "every fifth frame is annotated"), ("found", "every annotated frame needs a mask")):
        require((getattr(video, kind) / _png(frame) for video in videos for frame in video.frames), why)
    return videos


def _object(video: str, obj: str, frame_range: dict[str, str | int], skip_ends: bool) -> _Object:
    start, end, number = (int(frame_range[key]) for key in ("start", "end", "frame_nums"))
    in_range = list(enumerate(range(start, end, _STEP)))
    slots = number - 2 if skip_ends else number
    counted = [(k, frame) for k, frame in in_range if not skip_ends or k not in (0, number - 1)]
    # Frame k fills slot k - 1: without skipping, the first frame lies in the last slot, as Python counts from the end.
    frames = {k - 1 if k else slots - 1: frame for k, frame in counted}
    if not frames or max(frames) >= slots:
        raise ValueError(
            f"object {obj} of video {video} has {len(in_range)} frames from {start} to {end}, but frame_nums is "
            f"{number}; the official program ends here"
        )
    return _Object(obj, int(obj), frames, slots)


def _unfilled(videos: Iterable[_Video]) -> list[LeftOut]:
    return [
        LeftOut(f"{video.name}, object {of.obj}: {missing} of {of.slots} frames", "not in its range: they count as 0")
        for video in videos
        for of in video.objects
        if (missing := of.slots - len(of.frames))
    ]


def _png(frame: int) -> str:
    return f"{frame:08d}.png"


def _pairs(video: _Video) -> Iterable[tuple[int, Labels, Labels]]:
    for frame in video.frames:
        yield frame, *read_pair(video.found / _png(frame), video.truth / _png(frame))


def _score_semi(video: _Video) -> list[ObjectScores]:
    values: list[dict[int, tuple[float, float]]] = [{} for _ in video.objects]
    for frame, found, truth in _pairs(video):
        for of, scored in zip(video.objects, values, strict=True):
            if frame in of.frames.values():
                scored[frame] = j_and_f(found == of.label, truth == of.label)
    filled = []
    for of, scored in zip(video.objects, values, strict=True):
        filled.append(np.zeros((2, of.slots)))
        for slot, frame in of.frames.items():
            filled[-1][:, slot] = scored[frame]
    return [_row(video, k, filled[k]) for k in range(len(video.objects))]


def _score_unsup(video: _Video, *, single: bool) -> list[ObjectScores]:
    by_frame = {}
    num_proposals = 0
    for frame, found, truth in _pairs(video):
        shown = [_salient(found)] if single else [found == k + 1 for k in range(max(labels_on(found), default=0))]
        num_proposals = max(num_proposals, len(shown))
        nothing = np.zeros(found.shape, bool)
        by_frame[frame] = pairwise([*shown, nothing], [truth == of.label for of in video.objects])
    rows = []
    values = [np.zeros((2, num_proposals, of.slots)) for of in video.objects]
    for k, of in enumerate(video.objects):
        for slot, frame in of.frames.items():
            pair = np.array(by_frame[frame])[:, :, k]  # (2, proposals and nothing)
            values[k][:, :, slot] = pair[:, [*range(pair.shape[1] - 1), *[-1] * (num_proposals + 1 - pair.shape[1])]]
    means = np.stack([of_object.mean(2) for of_object in values], axis=2)
    best = dict(zip(*reversed(assign(*means)), strict=True))
    for k, of in enumerate(video.objects):
        rows.append(_row(video, k, values[k][:, best[k]] if k in best else np.zeros((2, of.slots))))
    return rows


def _salient(found: Labels) -> np.ndarray:
    levels = len(labels_on(found)) + bool((found == 0).any())
    return found >= 127 if levels > 2 else found > 0


def _row(video: _Video, position: int, values: Array) -> ObjectScores:
    both = values.mean(0)
    variance = round(float(((both - both.mean()) ** 2).sum()) / len(both), 4)
    of = video.objects[position]
    frames = [f"{of.frames[slot]:08d}" if slot in of.frames else "" for slot in range(of.slots)]
    scores = {"J": mean(values[0]), "F": mean(values[1]), "V": variance**0.5}
    per_frame = {"J": values[0].tolist(), "F": values[1].tolist()}
    group = "seen" if video.seen else "unseen"
    return ObjectScores(video.name, of.obj, f"{video.name}_{position + 1}", dict(scores), frames, per_frame, group)
