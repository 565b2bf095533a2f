"""Masks and boxes, read back by the libraries and rules they are written for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from objects import HEIGHT, NUM_FRAMES, WIDTH, masks, scores, tracked
from PIL import Image

from sam2long.evaluation.masks import read_labels
from sam2long.exports import VideoInfo, export
from sam2long.views.visualize import davis_palette

NAMES = [f"left cam {t + 8}" for t in range(NUM_FRAMES)]
INFO = VideoInfo("cage 2", frame_names=NAMES, objects={1: "mouse", 2: "tube"}, scores=scores)


def flat(t: int) -> np.ndarray:
    """The later object lies on top; the second is not there on frame 0."""
    disk, box = masks(t)
    labels = np.where(disk, 1, 0)
    return labels if t == 0 else np.where(box, 2, labels)


def test_the_clip_has_what_is_claimed() -> None:
    assert all((masks(t)[0] & masks(t)[1]).any() for t in (0, 1, 4, 5))
    assert not any(masks(t)[0].any() for t in (2, 3))


def test_davis(tmp_path: Path) -> None:
    export(tracked(), {"davis": tmp_path / "davis"}, VideoInfo(frame_names=NAMES, colors={2: (1, 2, 3)}))
    assert sorted(p.name for p in tmp_path.glob("davis/*.png")) == sorted(f"{name}.png" for name in NAMES)
    palette = davis_palette()
    palette[2] = (1, 2, 3)
    for t, name in enumerate(NAMES):
        with Image.open(tmp_path / "davis" / f"{name}.png") as image:
            assert image.mode == "P"
            assert image.getpalette() == palette.ravel().tolist()
            assert (np.array(image) == flat(t)).all()


def test_per_object_keeps_overlaps(tmp_path: Path) -> None:
    export(tracked(), {"per-object": tmp_path / "out"}, VideoInfo(frame_names=NAMES))
    assert not (tmp_path / "out" / "002" / f"{NAMES[0]}.png").exists()
    for t, name in enumerate(NAMES):
        for k, mask in enumerate(masks(t)[: 1 if t == 0 else 2]):
            with Image.open(tmp_path / "out" / f"00{k + 1}" / f"{name}.png") as image:
                assert (np.array(image) == mask * 255).all()


def test_youtube_vos(tmp_path: Path) -> None:
    export(tracked(), {"youtube-vos": tmp_path / "out"}, INFO)
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    objects = meta["videos"]["cage 2"]["objects"]
    assert objects == {
        "1": {"category": "mouse", "frames": [NAMES[t] for t in (0, 1, 4, 5)]},
        "2": {"category": "tube", "frames": NAMES[1:]},
    }
    for t, name in enumerate(NAMES):
        assert (read_labels(tmp_path / "out" / "Annotations" / "cage 2" / f"{name}.png") == flat(t)).all()


def test_coco(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    from pycocotools.coco import COCO

    export(tracked(), {"coco": tmp_path / "coco.json"}, INFO)
    coco = COCO(str(tmp_path / "coco.json"))
    assert [coco.imgs[t]["file_name"] for t in range(NUM_FRAMES)] == [f"{name}.jpg" for name in NAMES]
    assert {of["name"]: of["id"] for of in coco.loadCats(coco.getCatIds())} == {"mouse": 1, "tube": 2}
    seen = [(t, k) for t in range(NUM_FRAMES) for k in range(1 if t == 0 else 2) if masks(t)[k].any()]
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [(of["image_id"], of["track_id"] - 1) for of in annotations] == seen
    for of, (t, k) in zip(annotations, seen, strict=True):
        mask = masks(t)[k]
        theirs = tools.encode(np.asfortranarray(mask, dtype=np.uint8))
        assert of["segmentation"] == {"size": [HEIGHT, WIDTH], "counts": theirs["counts"].decode()}
        assert (coco.annToMask(of) == mask).all()
        assert of["area"] == mask.sum()
        assert of["bbox"] == tools.toBbox(theirs).tolist()
        assert of["score"] == (1 if t == 0 else scores(k)[t].predicted_iou)
    # What was found may be taken for results too: against itself it is perfect.
    from pycocotools.cocoeval import COCOeval

    results = coco.loadRes([{**of, "score": 0.5} for of in annotations])
    evaluation = COCOeval(coco, results, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)
    capsys.readouterr()


def test_mot(tmp_path: Path) -> None:
    """MOTChallenge: ten numbers a line; frames, ids and pixels are counted from 1."""
    export(tracked(), {"mot": tmp_path / "mot.txt"}, INFO)
    lines = [[float(value) for value in line.split(",")] for line in (tmp_path / "mot.txt").read_text().splitlines()]
    read = {(int(frame), int(number)): rest for frame, number, *rest in lines}
    expected = {(t + 1, k + 1) for t in range(NUM_FRAMES) for k in range(1 if t == 0 else 2) if masks(t)[k].any()}
    assert read.keys() == expected
    assert len(lines) == len(read)
    for (frame, number), (left, top, width, height, confidence, *world) in read.items():
        box = np.zeros((HEIGHT, WIDTH), dtype=bool)
        box[int(top) - 1 : int(top - 1 + height), int(left) - 1 : int(left - 1 + width)] = True
        ys, xs = np.nonzero(masks(frame - 1)[number - 1])
        tight = np.zeros_like(box)
        tight[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
        assert (box == tight).all()
        assert confidence == pytest.approx(1 if frame == 1 else scores(number)[frame - 1].predicted_iou)
        assert world == [-1, -1, -1]
    assert not (tmp_path / "mot.objects.json").exists()


def test_mots(tmp_path: Path) -> None:
    """MOTSChallenge: no pixel belongs to two objects of a frame."""
    tools = pytest.importorskip("pycocotools.mask")
    export(tracked(), {"mots": tmp_path / "mots.txt"}, INFO)
    found = np.zeros((NUM_FRAMES, HEIGHT, WIDTH), dtype=int)
    for line in (tmp_path / "mots.txt").read_text().splitlines():
        frame, number, class_id, height, width, counts = line.split(" ")
        assert (class_id, height, width) == ("2", str(HEIGHT), str(WIDTH))
        mask = tools.decode({"size": [HEIGHT, WIDTH], "counts": counts.encode()})
        assert not found[int(frame) - 1][mask > 0].any()
        found[int(frame) - 1] += mask * int(number)
    assert (found == np.stack([flat(t) for t in range(NUM_FRAMES)])).all()


def test_csv(tmp_path: Path) -> None:
    export(tracked(), {"csv": tmp_path / "objects.csv"}, INFO)
    with (tmp_path / "objects.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    header = "frame,name,obj_id,area,cx,cy,x0,y0,x1,y1,visible,predicted_iou,occlusion_score"
    assert list(lines[0]) == header.split(",")
    assert [(int(of["frame"]), int(of["obj_id"])) for of in lines] == [
        (t, k) for t in range(NUM_FRAMES) for k in ([1] if t == 0 else [1, 2])
    ]
    for of in lines:
        t, k = int(of["frame"]), int(of["obj_id"])
        mask = masks(t)[k - 1]
        assert of["name"] == NAMES[t]
        assert int(of["area"]) == mask.sum()
        assert int(of["visible"]) == mask.any()
        known = ("", "") if t == 0 else (scores(k)[t].predicted_iou, scores(k)[t].occlusion_score)
        assert (of["predicted_iou"], of["occlusion_score"]) == tuple(map(str, known))
        ys, xs = np.nonzero(mask)
        place = [of[name] for name in ("cx", "cy", "x0", "y0", "x1", "y1")]
        if not len(ys):
            assert place == [""] * 6
            continue
        corners = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert [float(value) for value in place] == pytest.approx([xs.mean(), ys.mean(), *corners])


@pytest.mark.parametrize("ids", [(1, 2), ("a", 7)])
def test_npz(tmp_path: Path, ids: tuple[int | str, ...]) -> None:
    export(tracked(*ids), {"npz": tmp_path / "masks.npz"}, VideoInfo(frame_names=NAMES, scores=scores))
    with np.load(tmp_path / "masks.npz") as read:
        arrays = dict(read)
    expected = np.stack([masks(t) for t in range(NUM_FRAMES)])
    expected[0, 1] = False
    assert arrays["masks"].dtype == bool
    assert (arrays["masks"] == expected).all()
    assert arrays["frames"].tolist() == list(range(NUM_FRAMES))
    assert arrays["names"].tolist() == NAMES
    assert arrays["obj_ids"].tolist() == ([1, 2] if ids == (1, 2) else ["a", "7"])
    assert arrays["tracked"].sum() == 2 * NUM_FRAMES - 1
    assert not arrays["tracked"][0, 1]
    assert np.isnan(arrays["predicted_iou"][0]).all()
    assert arrays["occlusion_score"][4].tolist() == [scores(1)[4].occlusion_score] * 2


def test_supervision() -> None:
    supervision = pytest.importorskip("supervision")
    from sam2long.exports import detections

    read = dict(detections(tracked("cat", 5), VideoInfo(objects={"cat": "Cat"}, scores=scores)))
    assert list(read) == list(range(NUM_FRAMES))
    assert [found.tracker_id.tolist() for found in read.values()] == [[1], [1, 5], [5], [5], [1, 5], [1, 5]]
    assert read[1].data["obj_id"].tolist() == ["cat", "5"]
    assert read[1]["class_name"].tolist() == ["Cat", "object"]
    assert (read[1].mask == masks(1)).all()
    assert read[1].area.tolist() == masks(1).sum(axis=(1, 2)).tolist()
    assert read[1].confidence == pytest.approx([0.55, 0.55])
    assert (read[4].xyxy == supervision.mask_to_xyxy(masks(4))).all()
    ((_, empty),) = detections([(3, [1, 2], np.zeros((2, HEIGHT, WIDTH), dtype=bool))])
    assert len(empty) == 0
    picture = supervision.MaskAnnotator().annotate(np.zeros((HEIGHT, WIDTH, 3), np.uint8), read[4])
    assert (picture.any(axis=2) == masks(4).any(axis=0)).all()
    assert len(supervision.Detections.merge([read[1], read[4]])) == 4
