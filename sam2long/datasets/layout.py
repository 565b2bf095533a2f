"""A dataset of videos with annotated objects: its folders, its rules, and its videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam2long.evaluation.masks import existing_folder, subfolders
from sam2long.frames.images import list_images, warn_if_turned


@dataclass(frozen=True)
class DatasetLayout:
    """Where the videos of a dataset lie, and by which rules its masks are read.

    Attributes:
        frames: folder with a folder of images a video.
        masks: folder with a folder a video of PNG masks named as the frames: of label maps, or with `per_object` one
            more folder for each object.
        videos: names of the videos to track, in order; None takes all that have a folder in `masks`.
        per_object: a folder of masks an object, whatever is above 0 in them; objects may overlap (SA-V).
        later: objects may appear after the first frame; each is shown on the first frame that has a mask of it.
            Without it objects are shown on the first frame alone.
        all_masks: every mask there is is shown, not only an object's first.
        void: the label in label maps that is no object; None where there is none.
        merged: all labels of a map are one object, written as 255 (DAVIS 2016).
    """

    frames: Path
    masks: Path
    videos: tuple[str, ...] | None = None
    per_object: bool = False
    later: bool = False
    all_masks: bool = False
    void: int | None = 255
    merged: bool = False

    def items(self) -> list[VideoItem]:
        """The videos, each with its frames and a folder of masks, or with what is the trouble with it.

        Raises:
            FileNotFoundError, NotADirectoryError: a folder is missing, or that of a video that is named in `videos`;
                the message shows what lies where it should be.
            ValueError: there is no video, or none that has frames, or a name leads out of the folder.
        """
        existing_folder(self.frames, "the folder with a folder of images a video")
        existing_folder(self.masks, "the folder with a folder of masks a video")
        names = subfolders(self.masks) if self.videos is None else list(dict.fromkeys(self.videos))
        if not names:
            raise ValueError(f"{self.masks} holds no folder: it should hold one with masks for every video")
        for name in names:
            if not name or name.startswith(".") or Path(name).name != name:
                raise ValueError(f"{name!r} cannot be a video: names are those of folders in {self.frames}")
            if self.videos is not None:
                existing_folder(self.frames / name, f"the images of {name}")
                existing_folder(self.masks / name, f"the masks of {name}")
        items = [self._item(name) for name in names]
        if all(item.trouble for item in items):
            raise ValueError(items[0].trouble)
        return items

    def _item(self, name: str) -> VideoItem:
        folder, images, trouble = self.frames / name, [], ""
        try:
            images = list_images(existing_folder(folder, f"the images of {name}"))
            trouble = "" if images else f"{folder} holds no images"
        except OSError as error:
            trouble = str(error)
        warn_if_turned(folder, images)
        return VideoItem(name, tuple(images), self.masks / name, self, trouble)


@dataclass(frozen=True)
class VideoItem:
    """One video: its images in order, the folder of its masks, and the dataset's rules.

    `trouble` says why it cannot be tracked; "" where it can.
    """

    name: str
    images: tuple[Path, ...]
    masks: Path
    layout: DatasetLayout
    trouble: str = ""

    @property
    def frame_names(self) -> list[str]:
        """The names that its masks have too, in the order of time."""
        return [image.stem for image in self.images]

    def mask_paths(self, frame_name: str, objects: Sequence[str]) -> Iterator[tuple[str, Path]]:
        """(object's folder or "", the file of its mask on a frame), whether it is there or not."""
        if not self.layout.per_object:
            yield "", self.masks / f"{frame_name}.png"
        for folder in objects:
            yield folder, self.masks / folder / f"{frame_name}.png"

    @property
    def object_folders(self) -> list[str]:
        """The objects' folders, in the order of their numbers; none where masks are label maps."""
        if not self.layout.per_object:
            return []
        return sorted(subfolders(self.masks), key=lambda name: (not name.isdecimal(), name.zfill(8)))
