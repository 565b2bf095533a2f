"""Datasets of videos as they lie on disk: where frames, annotations and lists are, and which object is shown when.

A name and a folder come in (`preset`), or folders of one's own (`DatasetLayout`); a list of `VideoItem` goes out, each
with its images and the masks that a tracker is shown. Nothing here knows models. Start with `layout`; `presets` holds
the benchmarks, `annotations` the rules by which masks are read, `made` writes the synthetic dataset.
"""

from sam2long.datasets.annotations import ShownMask, shown_masks
from sam2long.datasets.layout import DatasetLayout, VideoItem
from sam2long.datasets.presets import PRESETS, preset

__all__ = ["PRESETS", "DatasetLayout", "ShownMask", "VideoItem", "preset", "shown_masks"]
