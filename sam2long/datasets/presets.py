"""The benchmarks' layouts, by name."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from sam2long.datasets.layout import DatasetLayout
from sam2long.evaluation.masks import read_list

LayoutOf = Callable[[Path, str], DatasetLayout]


def preset(name: str, root: str | PathLike[str], split: str | None = None) -> DatasetLayout:
    """The layout of a benchmark as it is downloaded.

    Args:
        name: one of `PRESETS`.
        root: the folder it was unpacked in.
        split: which part; None takes the one that is usually reported.

    Raises:
        FileNotFoundError: its list of videos is missing. (Its folders are looked at by `DatasetLayout.items`.)
        ValueError: the name is unknown.
    """
    if name not in PRESETS:
        raise ValueError(f"dataset {name!r} unknown: {', '.join(PRESETS)}")
    layout_of, usual = PRESETS[name]
    return layout_of(Path(root), usual if split is None else split)


def _davis2016(root: Path, split: str) -> DatasetLayout:
    """The set's own release, whose lists name files, or the videos of 2016 in the release of 2017."""
    lists = [root / "ImageSets" / "480p" / f"{split}.txt", root / "ImageSets" / "2016" / f"{split}.txt"]
    listed = next((path for path in lists if path.is_file()), lists[0])
    videos = tuple(dict.fromkeys(_folder_named(line) for line in _list(listed)))
    return DatasetLayout(root / "JPEGImages" / "480p", root / "Annotations" / "480p", videos, void=None, merged=True)


def _folder_named(line: str) -> str:
    first = line.split()[0]
    return Path(first).parent.name if "/" in first else first


def _davis2017(root: Path, split: str) -> DatasetLayout:
    videos = _list(root / "ImageSets" / "2017" / f"{split}.txt")
    return DatasetLayout(root / "JPEGImages" / "480p", root / "Annotations" / "480p", videos)


def _youtube_vos(root: Path, split: str) -> DatasetLayout:
    """`<split>_all_frames` takes the frames of the download of that name and the masks of the other."""
    masks = root / split.removesuffix("_all_frames") / "Annotations"
    frames = next((folder for folder in (root / "all_frames" / split, root / split) if folder.is_dir()), root / split)
    return DatasetLayout(frames / "JPEGImages", masks, later=True)


def _split_folders(root: Path, split: str) -> DatasetLayout:
    return DatasetLayout(root / split / "JPEGImages", root / split / "Annotations")


def _split_folders_later(root: Path, split: str) -> DatasetLayout:
    return DatasetLayout(root / split / "JPEGImages", root / split / "Annotations", later=True)


def _sav(root: Path, split: str) -> DatasetLayout:
    """`root` is sav_val or sav_test, or the folder that holds them."""
    home = root / f"sav_{split}" if (root / f"sav_{split}").is_dir() else root
    videos = _list(home / f"sav_{split}.txt")
    return DatasetLayout(home / "JPEGImages_24fps", home / "Annotations_6fps", videos, per_object=True)


def _vost(root: Path, split: str) -> DatasetLayout:
    return DatasetLayout(root / "JPEGImages", root / "Annotations", _list(root / "ImageSets" / f"{split}.txt"))


def _plain(root: Path, split: str) -> DatasetLayout:
    """`JPEGImages` and `Annotations`; the split, if there is one, is a list of videos in `ImageSets`."""
    videos = _list(root / "ImageSets" / f"{split}.txt") if split else None
    return DatasetLayout(root / "JPEGImages", root / "Annotations", videos)


def _list(path: Path) -> tuple[str, ...]:
    return tuple(read_list(path, "this list of the videos to track, one a line"))


# Each with the split that is usually reported.
PRESETS: dict[str, tuple[LayoutOf, str]] = {
    "davis2016": (_davis2016, "val"),
    "davis2017": (_davis2017, "val"),
    "youtube-vos-2018": (_youtube_vos, "valid"),
    "youtube-vos-2019": (_youtube_vos, "valid"),
    "mose": (_split_folders, "valid"),
    "mosev2": (_split_folders_later, "valid"),
    "lvos": (_split_folders_later, "valid"),
    "lvosv2": (_split_folders_later, "valid"),
    "sav": (_sav, "val"),
    "vost": (_vost, "val"),
    "pumavos": (_plain, ""),
    "custom": (_plain, ""),
}
