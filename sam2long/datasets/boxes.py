"""Benchmarks of box tracking: videos with the box of one object on the first frame, as (x, y, width, height)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from sam2long.evaluation.boxes import read_numbers
from sam2long.evaluation.masks import existing_folder, read_list, subfolders
from sam2long.frames.images import list_images, warn_if_turned

Box = tuple[float, float, float, float]
VideosOf = Callable[[Path, str], "Iterator[BoxVideo]"]

# OTB annotates a part of this video, from that image on; of others the first images.
_OTB_FIRST = {"David": 300}
_ANNOTATIONS = ("groundtruth_rect.txt", "groundtruth_rect.1.txt", "groundtruth_rect.2.txt")


@dataclass(frozen=True)
class BoxVideo:
    """One object in one video.

    Attributes:
        name: unique in the benchmark; results are called by it.
        images: in order, from the one that the box is on.
        box: x, y, width, height of the object on the first image, in pixels as the benchmark counts them.
        trouble: why it cannot be tracked; "" where it can.
    """

    name: str
    images: tuple[Path, ...]
    box: Box
    trouble: str = ""


def box_videos(benchmark: str, root: str | PathLike[str], split: str | None = None) -> list[BoxVideo]:
    """The videos of a benchmark as it is downloaded, each with its images and a box, or with the trouble with it.

    Args:
        benchmark: one of `BOX_BENCHMARKS`.
        root: the folder it was unpacked in.
        split: which part (GOT-10k: val or test); None takes the one that is usually reported.

    Raises:
        FileNotFoundError, NotADirectoryError: something is missing, also a video that a list names.
        ValueError: the name is unknown, or no video can be tracked.
    """
    if benchmark not in BOX_BENCHMARKS:
        raise ValueError(f"benchmark {benchmark!r} unknown: {', '.join(BOX_BENCHMARKS)}")
    videos_of, usual = BOX_BENCHMARKS[benchmark]
    home = existing_folder(Path(root), f"the folder of {benchmark}")
    videos = list(videos_of(home, usual if split is None else split))
    if not videos:
        raise ValueError(f"{home} holds no video of {benchmark}")
    if all(video.trouble for video in videos):
        raise ValueError(videos[0].trouble)
    return videos


def unannotated(benchmark: str, root: Path, split: str | None = None) -> list[str]:
    """The folders of a benchmark that look like videos and are none, as they have no annotation."""
    if benchmark == "got10k" or (root / f"{split or BOX_BENCHMARKS[benchmark][1]}_set.txt").is_file():
        return []  # a list says what the videos are
    found = [root / name for name in subfolders(root)]
    if benchmark in ("lasot", "lasotext"):
        inside = [folder / name for folder in found for name in subfolders(folder)]
        found = [folder for folder in (*found, *inside) if (folder / "img").is_dir()]
    names = {"otb": _ANNOTATIONS, "nfs": ("{split}/{name}.txt",)}.get(benchmark, ("groundtruth.txt",))
    rate = split or "30"
    return [
        folder.name
        for folder in found
        if not any((folder / name.format(split=rate, name=folder.name)).is_file() for name in names)
    ]


def _lasot(root: Path, split: str) -> Iterator[BoxVideo]:
    """`CLASS/VIDEO/` or `VIDEO/`, with `img/` and `groundtruth.txt`; those of `<split>_set.txt` where that is there."""
    found = {path.parent.name: path.parent for path in sorted(root.glob("*/*/groundtruth.txt"))}
    found |= {path.parent.name: path.parent for path in sorted(root.glob("*/groundtruth.txt"))}
    listed = root / f"{split}_set.txt"
    for name in read_list(listed, "the videos to track, one a line") if listed.is_file() else sorted(found):
        if name not in found:
            raise FileNotFoundError(f"{root} holds no {name}/groundtruth.txt, which {listed.name} names")
        yield _video(name, found[name] / "img", found[name] / "groundtruth.txt")


def _got10k(root: Path, split: str) -> Iterator[BoxVideo]:
    for name in read_list(root / split / "list.txt", "the videos to track, one a line"):
        existing_folder(root / split / name, "a video that list.txt names")
        yield _video(name, root / split / name, root / split / name / "groundtruth.txt")


def _otb(root: Path, _: str) -> Iterator[BoxVideo]:
    """A video with two objects (Jogging, Skating2) has an annotation for each, `.1` and `.2`."""
    for folder in subfolders(root):
        present = [root / folder / name for name in _ANNOTATIONS if (root / folder / name).is_file()]
        for annotation in present:
            number = re.search(r"\.(\d)\.txt$", annotation.name)
            name = f"{folder}_{number[1]}" if number and len(present) > 1 else folder
            first = _OTB_FIRST.get(folder, 1) - 1
            yield _video(name, root / folder / "img", annotation, first=first, trimmed=True)


def _tnl2k(root: Path, _: str) -> Iterator[BoxVideo]:
    for name in subfolders(root):
        if (root / name / "groundtruth.txt").is_file():
            yield _video(name, root / name / "imgs", root / name / "groundtruth.txt")


def _nfs(root: Path, split: str) -> Iterator[BoxVideo]:
    """As it comes, `VIDEO/30/VIDEO.txt` and `VIDEO/30/VIDEO/`; the split is the frame rate, 30 or 240."""
    for name in subfolders(root):
        annotation = root / name / split / f"{name}.txt"
        if annotation.is_file():
            yield _video(name, root / name / split / name, annotation, _vatic_box)


# Each with the part that is usually reported.
BOX_BENCHMARKS: dict[str, tuple[VideosOf, str]] = {
    "lasot": (_lasot, "testing"),
    "lasotext": (_lasot, "testing"),
    "got10k": (_got10k, "val"),
    "otb": (_otb, ""),
    "tnl2k": (_tnl2k, ""),
    "nfs": (_nfs, "30"),
}


def _boxes(annotation: Path) -> list[Box]:
    return [(x, y, width, height) for x, y, width, height in read_numbers(annotation, 4).tolist()]


def _vatic_box(annotation: Path) -> list[Box]:
    """The first line of NfS' annotation: track, x0, y0, x1, y1, frame, flags, label."""
    line = next(iter(read_list(annotation, "the object's boxes")))
    try:
        x0, y0, x1, y1 = (float(word) for word in line.split()[1:5])
    except ValueError:
        raise ValueError(f"{annotation}, line 1: {line!r} is no track with x0 y0 x1 y1") from None
    return [(x0, y0, x1 - x0, y1 - y0)]


def _video(
    name: str,
    folder: Path,
    annotation: Path,
    read: Callable[[Path], list[Box]] = _boxes,
    *,
    first: int = 0,
    trimmed: bool = False,
) -> BoxVideo:
    """`trimmed`: the video ends where its annotation does."""
    try:
        images = list_images(existing_folder(folder, f"the images of {name}"))[first:]
        boxes = read(annotation)
        if not images or not boxes:
            raise ValueError(f"{annotation} holds no box" if images else f"{folder} holds no images")
        if boxes[0][2] <= 0 or boxes[0][3] <= 0:
            raise ValueError(f"{annotation}: the first box {boxes[0]} is empty")
    except (OSError, ValueError) as error:
        return BoxVideo(name, (), (0, 0, 0, 0), str(error))
    warn_if_turned(folder, images)
    return BoxVideo(name, tuple(images[: len(boxes)] if trimmed else images), boxes[0])
