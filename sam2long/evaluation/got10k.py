"""GOT-10k by the rules of its toolkit: AO is a mean over frames, not over videos."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam2long.evaluation.boxes import Array, clipped, overlaps, read_numbers, success_curve
from sam2long.evaluation.masks import existing_folder, read_list, subfolders
from sam2long.evaluation.processes import MapVideos
from sam2long.evaluation.results import Evaluation, Headline, LeftOut, ObjectScores
from sam2long.evaluation.statistics import mean

_HEADLINE = Headline("ao", ("ao",), 100)
_THRESHOLDS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class _Video:
    name: str
    truth: Path
    found: Path


def evaluate_got10k(
    gt: Path, pred: Path, *, run: MapVideos, split: str = "val", tracker: str | None = None
) -> Evaluation:
    """GOT-10k: average overlap and success rates over the frames of all videos and all repetitions.

    The first frame and frames whose cover is 0 do not count. Boxes, the annotated ones too, are clipped to the image
    as in `boxes.clipped`. A success is an overlap strictly above 0.5, or 0.75 (which the toolkit does not print).

    Args:
        gt: holds `<split>/list.txt` and `<split>/<video>/` with `groundtruth.txt`, `cover.label`, `meta_info.ini`.
        pred: holds `GOT-10k/<tracker>/<video>/<video>_001.txt`, more repetitions as `_002` ...
        tracker: whose results; may be left out where there is one.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: as for the other benchmarks.
    """
    folder = _tracker(pred, tracker)
    videos = [
        _Video(
            name,
            existing_folder(gt / split / name, f"the annotation of {name}, which list.txt names"),
            existing_folder(folder / name, f"the results on {name}"),
        )
        for name in read_list(gt / split / "list.txt", "GT holds this list of the videos to score, one a line")
    ]
    objects = run(_score, videos, [1] * len(videos))
    iou = np.concatenate([np.array(row.per_frame["overlap"]) for row in objects])
    curve = success_curve(iou, _THRESHOLDS)
    overall = {"ao": mean(iou), "sr0.5": float(curve[50]), "sr0.75": float(curve[75])}
    left_out = [
        LeftOut("the first frame of every video", "it is given to the tracker"),
        LeftOut("frames whose cover is 0", "the object is not visible"),
        LeftOut("speed", "the files of times are not read"),
    ]
    more = {"succ_curve": curve.tolist(), "thresholds": _THRESHOLDS.tolist()}
    return Evaluation("got-10k toolkit, ExperimentGOT10k", _HEADLINE, overall, objects, left_out, more)


def _tracker(pred: Path, tracker: str | None) -> Path:
    home = existing_folder(pred / "GOT-10k", "the results, one folder a tracker")
    trackers = subfolders(home)
    if tracker is None:
        if len(trackers) != 1:
            names = ", ".join(trackers) or "no folder"
            raise ValueError(f"{home} holds {names}: there must be one tracker, or name it (--tracker)")
        tracker = trackers[0]
    return existing_folder(home / tracker, f"the results of tracker {tracker}")


def _score(video: _Video) -> ObjectScores:
    truth = read_numbers(video.truth / "groundtruth.txt", 4)
    cover = read_numbers(video.truth / "cover.label")
    if len(cover) != len(truth):
        raise ValueError(f"{video.truth}: cover.label has {len(cover)} values, groundtruth.txt {len(truth)} boxes")
    width, height = _resolution(video.truth / "meta_info.ini")
    counted = np.flatnonzero(cover > 0)
    counted = counted[counted > 0]
    if not len(counted):
        raise ValueError(f"{video.truth / 'cover.label'}: no frame after the first has a cover above 0")
    names = sorted(path for path in video.found.glob(f"{video.name}_*.txt") if re.search(r"_\d+$", path.stem))
    if not names:
        raise FileNotFoundError(f"{video.found / f'{video.name}_001.txt'} is missing: one box a frame")
    iou: list[Array] = []
    for path in names:
        found = read_numbers(path, 4)
        if len(found) != len(truth):
            raise ValueError(f"{path} has {len(found)} boxes, the annotation {len(truth)}: write one a frame")
        iou.append(overlaps(clipped(found, width, height)[counted], clipped(truth, width, height)[counted]))
    every = np.concatenate(iou)
    scores = {"ao": mean(every), "sr0.5": mean(every > 0.5), "sr0.75": mean(every > 0.75), "length": len(truth) - 1}
    frames = [f"{t + 1:08d}" for t in counted] * len(names)
    per_frame = {"overlap": every.tolist()}
    return ObjectScores(video.name, "1", video.name, dict(scores), frames, per_frame, weight=len(every))


def _resolution(path: Path) -> tuple[float, float]:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        width, height = (float(size) for size in parser["METAINFO"]["resolution"].strip("()[] ").split(","))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: it holds the size of the video's images") from None
    except (configparser.Error, KeyError, ValueError) as error:
        raise ValueError(f'{path} has no "resolution: (width, height)" under [METAINFO]') from error
    return width, height
