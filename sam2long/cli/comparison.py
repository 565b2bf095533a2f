"""SAM 2 beside the memory tree on one video: a film and a figure, the tree's scores below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam2long.cli.outputs import ResultFolder
from sam2long.cli.prompts import Prompt
from sam2long.evaluation.measures import jaccard
from sam2long.exports.encoding import mp4_writer
from sam2long.files import replacing
from sam2long.frames import FrameSource
from sam2long.search.scores import FrameScores
from sam2long.views.charts import BACKGROUND, Chart, Curve, Strip
from sam2long.views.visualize import BoolArray, Color, UInt8Array, draw_prompt, overlay, side_by_side

SAM2, TREE = "SAM 2", "SAM2Long"
COLORS: dict[str, Color] = {SAM2: (255, 150, 30), TREE: (60, 175, 255)}
_SCORES: Color = (150, 205, 140)
_FILM_HEIGHT = 480  # of a panel; small clips are enlarged to it
_TILE, _GAP, _MARGIN = 200, 4, 32  # of the figure


class Comparison:
    """What both made of one object, and the pictures of it.

    Args:
        source: the video.
        prompt: what both were given.
        results: the folder of each, under the names `SAM2` and `TREE`; the tree's holds the scores.
        truth: bool [T, H, W], the object's exact mask on every frame.
    """

    def __init__(
        self, source: FrameSource, prompt: Prompt, results: Mapping[str, ResultFolder], truth: BoolArray
    ) -> None:
        self._source, self._prompt = source, prompt
        self._masks = {name: _read_masks(source, folder, prompt.obj_id) for name, folder in results.items()}
        self._scores = results[TREE].read_scores(prompt.obj_id)
        self._away = [not exact.any() for exact in truth]
        self._ious = {
            name: [jaccard(mask, exact) for mask, exact in zip(masks, truth, strict=True)]
            for name, masks in self._masks.items()
        }

    def mean_iou(self, name: str) -> float:
        """Mean IoU with the exact masks over all frames but the prompted one; nothing where nothing is counts 1."""
        return float(np.mean([iou for t, iou in enumerate(self._ious[name]) if t != self._prompt.frame_idx]))

    def write_film(self, results: ResultFolder, fps: Fraction, progress: Any) -> None:
        """SAM 2 left, the tree right, the scores growing below. `progress` wraps the loop over frames (tqdm)."""
        scale = max(1, round(_FILM_HEIGHT / self._source.height))
        panels = self._panels(0, scale)
        chart = self._chart(width=panels.shape[1], strip_height=64)
        size = (panels.shape[0] + chart.size[1], panels.shape[1])
        with replacing(results.comparison) as part, mp4_writer(part, fps, size) as write:
            for t in progress(range(len(self._source))):
                write(np.concatenate([self._panels(t, scale), chart.picture(until=t)]))

    def write_figure(self, results: ResultFolder, moments: Sequence[int]) -> None:
        """The frames `moments` in columns, SAM 2 above, the tree below them, and the scores of the whole video."""
        width = _MARGIN + len(moments) * (_TILE + _GAP)
        chart = self._chart(width=width, strip_height=76, marks=moments)
        top, row = _MARGIN, _TILE + _GAP
        figure = Image.new("RGB", (width, top + 2 * row + 8 + chart.size[1]), BACKGROUND)
        draw, font = ImageDraw.Draw(figure), ImageFont.load_default(16)
        for k, name in enumerate((SAM2, TREE)):
            _write_upwards(figure, name, COLORS[name], (_MARGIN // 2, top + k * row + _TILE // 2))
            for column, t in enumerate(moments):
                tile = Image.fromarray(self._panel(name, t, 2)).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
                figure.paste(tile, (_MARGIN + column * row, top + k * row))
        for column, t in enumerate(moments):
            middle = (_MARGIN + column * row + _TILE / 2, top / 2)
            label = f"frame {t}: away" if self._away[t] else f"frame {t}"
            draw.text(middle, label, fill="white", anchor="mm", font=font)
        figure.paste(Image.fromarray(chart.picture()), (0, top + 2 * row + 8))
        with replacing(results.figure) as part:
            # 256 colours, a quarter of the bytes; refined by k-means, or the few pixels of masks and curves go pale.
            figure.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(part, format="PNG", optimize=True)

    def _panels(self, t: int, scale: int) -> UInt8Array:
        return side_by_side([self._panel(name, t, scale) for name in (SAM2, TREE)], [SAM2, TREE])

    def _panel(self, name: str, t: int, scale: int) -> UInt8Array:
        """A frame with the mask of `name` and, where it was given, the prompt; enlarged before it is painted."""
        frame = Image.fromarray(self._source[t])
        size = (frame.width * scale, frame.height * scale)
        mask = Image.fromarray(self._masks[name][t]).convert("L").resize(size, Image.Resampling.BILINEAR)
        obj_id, prompt = self._prompt.obj_id, self._prompt
        large = np.array(frame.resize(size, Image.Resampling.BICUBIC))
        picture = overlay(large, {obj_id: np.array(mask) > 127}, colors={obj_id: COLORS[name]})
        if t != prompt.frame_idx:
            return picture
        points = [(x * scale, y * scale) for x, y in prompt.points]
        box = None if prompt.box is None else [edge * scale for edge in prompt.box]
        return draw_prompt(picture, obj_id=obj_id, points=points, labels=prompt.labels, box=box)

    def _chart(self, *, width: int, strip_height: int, marks: Sequence[int] = ()) -> Chart:
        num_frames = len(self._source)
        strips = [_iou_strip(self._ious), *score_strips(self._scores, num_frames)]
        return Chart(strips, num_frames, width=width, strip_height=strip_height, marks=marks)


def _iou_strip(ious: Mapping[str, Sequence[float]]) -> Strip:
    curves = tuple(Curve(ious[name], COLORS[name], label=name) for name in (SAM2, TREE))
    return Strip("IoU with the exact mask (away, and nothing marked: 1)", curves, 0.0, 1.0, ticks=(0, 1))


def score_strips(scores: Mapping[int, FrameScores], num_frames: int, threshold: float = 2.0) -> list[Strip]:
    """The tree's scores as strips: predicted IoU, occlusion score, margin to the runner-up, distinct pathways.

    Args:
        scores: by frame index; frames without any leave gaps.
        num_frames: of the video.
        threshold: `uncertainty_threshold`; the occlusion scores between it and its negative are tinted.
    """

    def column(name: str) -> list[float]:
        values = [getattr(scores[t], name) if t in scores else math.nan for t in range(num_frames)]
        return [value if math.isfinite(value) else math.nan for value in values]

    occlusion = column("occlusion_score")
    reach = math.ceil(max([threshold, *(abs(value) for value in occlusion if math.isfinite(value))]))
    most = max((of_frame.distinct_pathways for of_frame in scores.values()), default=1)
    return [
        Strip("predicted IoU", (Curve(column("predicted_iou"), COLORS[TREE]),), 0.0, 1.0, (0, 1)),
        Strip(
            "occlusion score (above 0: visible; tinted: uncertain)", (Curve(occlusion, COLORS[TREE]),), -reach, reach,
            (-reach, 0, reach), band=(-threshold, threshold),
        ),
        Strip("margin to the runner-up (cut at 2)", (Curve(column("margin"), _SCORES, steps=True),), 0.0, 2.0, (0, 2)),
        Strip("distinct pathways", (Curve(column("distinct_pathways"), _SCORES, steps=True),), 0.0, most, (0, most)),
    ]  # fmt: skip


def _read_masks(source: FrameSource, results: ResultFolder, obj_id: int) -> list[BoolArray]:
    empty = np.zeros((source.height, source.width), dtype=np.uint8)
    found = (results.read_mask(source.name(t)) for t in range(len(source)))
    return [(empty if id_map is None else id_map) == obj_id for id_map in found]


def _write_upwards(figure: Image.Image, text: str, color: Color, middle: tuple[int, int]) -> None:
    """A line of text that reads from the bottom to the top."""
    font = ImageFont.load_default(18)
    _, _, width, height = (round(edge) for edge in font.getbbox(text))
    line = Image.new("RGB", (width, height + 4), BACKGROUND)
    ImageDraw.Draw(line).text((0, 0), text, fill=color, font=font)
    turned = line.rotate(90, expand=True)
    figure.paste(turned, (middle[0] - turned.width // 2, middle[1] - turned.height // 2))
