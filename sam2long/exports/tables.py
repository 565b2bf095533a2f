"""Numbers: a CSV line for each object and frame, and everything as NumPy arrays."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from sam2long.exports.frame_masks import Extent, FrameMasks, ObjId, PackedFrames
from sam2long.exports.video_info import Scores, VideoInfo
from sam2long.exports.writing import Export
from sam2long.files import replacing

COLUMNS = (
    "frame", "name", "obj_id", "area", "cx", "cy", "x0", "y0", "x1", "y1", "visible",
    "predicted_iou", "occlusion_score",
)  # fmt: skip


class ObjectsCsv(Export):
    """`objects.csv`: a line for each object and frame on which it was tracked, `COLUMNS` as in `Extent`.

    Where an object is not seen, `area` and `visible` are 0 and its place is empty; so are scores that are not known.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path, info)
        self._frames: dict[int, list[tuple[ObjId, Extent | None]]] = {}

    def add(self, frame: FrameMasks) -> None:
        extents = [Extent.of(mask) for mask in frame.masks]
        self._frames[frame.frame_idx] = list(zip(frame.obj_ids, extents, strict=True))

    def finish(self) -> None:
        _ = self.size
        with replacing(self.path) as part, part.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(COLUMNS)
            lines.writerows(self._lines())

    def _lines(self) -> Iterator[Sequence[Any]]:
        scores = Scores(self.info)
        for t in sorted(self._frames):
            for obj_id, extent in self._frames[t]:
                place = (0, *[""] * 6) if extent is None else astuple(extent)
                of = scores.get(obj_id, t)
                known = ("", "") if of is None else (of.predicted_iou, of.occlusion_score)
                yield (t, self.info.frame_name(t), obj_id, *place, int(extent is not None), *known)


class NumpyArrays(Export):
    """`masks.npz`, compressed, for T tracked frames in the order of time and N objects.

    `frames` int64 [T], `names` text [T], `obj_ids` [N] (integers, or text if one is text), `masks` bool [T, N, H, W],
    `tracked` bool [T, N] (False: the object was not among the frame's), `predicted_iou` and `occlusion_score` float64
    [T, N], NaN where not known.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path, info)
        self._frames = PackedFrames()

    def add(self, frame: FrameMasks) -> None:
        self._frames.add(frame)

    def finish(self) -> None:
        height, width = self.size
        obj_ids = self._frames.obj_ids()
        shape = (len(self._frames), len(obj_ids))
        arrays: dict[str, npt.NDArray[Any]] = {
            "obj_ids": np.array(obj_ids if all(isinstance(k, int) for k in obj_ids) else [str(k) for k in obj_ids]),
            "tracked": np.zeros(shape, dtype=np.bool_),
            "predicted_iou": np.full(shape, np.nan),
            "occlusion_score": np.full(shape, np.nan),
        }
        with replacing(self.path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            # One frame at a time: the array as a whole may be larger than memory.
            with archive.open("masks.npy", "w", force_zip64=True) as member:
                write_header(member, (*shape, height, width))
                for t, frame in enumerate(self._frames):
                    of = [obj_ids.index(k) for k in frame.obj_ids]
                    masks = np.zeros((len(obj_ids), height, width), dtype=np.bool_)
                    masks[of] = frame.masks
                    arrays["tracked"][t, of] = True
                    member.write(masks.tobytes())
            frames = [frame.frame_idx for frame in self._frames]
            self._fill_scores(arrays, obj_ids, frames)
            arrays["frames"] = np.array(frames)
            arrays["names"] = np.array([self.info.frame_name(t) for t in frames])
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    def _fill_scores(self, arrays: dict[str, npt.NDArray[Any]], obj_ids: Sequence[ObjId], frames: list[int]) -> None:
        scores = Scores(self.info)
        for n, obj_id in enumerate(obj_ids):
            for t, frame_idx in enumerate(frames):
                of = scores.get(obj_id, frame_idx)
                if of is not None:
                    arrays["predicted_iou"][t, n] = of.predicted_iou
                    arrays["occlusion_score"][t, n] = of.occlusion_score


def write_header(member: IO[bytes], shape: tuple[int, ...]) -> None:
    """Begin a .npy file of a bool array whose bytes follow."""
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.bool_)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(member, about)
