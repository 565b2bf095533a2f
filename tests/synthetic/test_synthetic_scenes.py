"""Scenes and their rendering: reproducible, disjoint between splits, annotated to the pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam2long.synthetic import ALL_SUITES, LONG_SUITES, SUITES, Clip, Difficulty, frames_of, render, sample_scene
from sam2long.synthetic.render import render_layers
from sam2long.synthetic.scene import Outline, Scene, Skin, Sprite, pack
from sam2long.synthetic.textures import TILE_SIZE, ResidentBank, TextureBank, procedural_tile

SIZE = 64


def still(x: float, y: float, half: float, num_frames: int = 2) -> np.ndarray:
    return np.tile(np.array([x, y, half, half, 0.0], np.float32), (num_frames, 1))


def sprite(x: float, y: float, half: float, **changes: object) -> Sprite:
    """A square with sharp corners: its pixels can be counted by hand."""
    square = Outline(exponent=200.0)
    plain = Sprite(square, Skin(1, 2), still(x, y, half), np.ones(2, np.float32), obj_id=1)
    return replace(plain, **changes)  # type: ignore[arg-type]


def stage(*sprites: Sprite) -> Scene:
    camera = np.tile(np.array([0, 0, 1, 0], np.float32), (2, 1))
    return Scene("easy", "val", 0, sprites, Skin(3, 4), camera, np.ones(2, np.float32))


@pytest.fixture(scope="module", params=sorted(ALL_SUITES))
def clip(request: pytest.FixtureRequest) -> Clip:
    return render(sample_scene(request.param, 3, num_frames=24, split="val"), SIZE)


def test_same_seed_same_bytes(clip: Clip) -> None:
    again = render(sample_scene(clip.scene.suite, 3, num_frames=24, split="val"), SIZE, chunk=7)
    for name in ("frames", "masks", "amodal", "visibility"):
        assert np.array_equal(getattr(clip, name), getattr(again, name)), name


@pytest.mark.parametrize("suite", sorted(ALL_SUITES))
def test_seeds_and_splits_differ(suite: str) -> None:
    frames = [
        render(sample_scene(suite, seed, num_frames=24, split=split).frames(np.arange(2)), 32).frames
        for seed, split in ((0, "test"), (1, "test"), (0, "val"), (0, "train"))
    ]
    for a in range(4):
        for b in range(a):
            assert np.abs(frames[a].astype(int) - frames[b].astype(int)).mean() > 2


def test_textures_of_splits_differ() -> None:
    tiles = [procedural_tile(split, index) for split in ("train", "val", "test") for index in range(8)]
    flat = np.stack([tile.reshape(-1).astype(float) for tile in tiles])
    distance = np.abs(flat[:, None, ::50] - flat[None, :, ::50]).mean(2) + np.eye(len(tiles)) * 1e3
    assert distance.min() > 3


def test_shapes_and_relations(clip: Clip) -> None:
    count = len(clip.obj_ids)
    assert clip.frames.shape == (24, SIZE, SIZE, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.masks.shape == clip.amodal.shape == (24, count, SIZE, SIZE)
    assert clip.obj_ids == list(range(1, count + 1))
    assert set(clip.doubles) <= set(clip.obj_ids) - {1}
    assert not (clip.masks & ~clip.amodal).any()  # what is seen is part of the whole
    assert clip.masks.sum(1).max() <= 1  # opaque objects: every pixel shows one of them at most
    assert clip.present[0, 0]
    assert ((clip.visibility >= 0) & (clip.visibility <= 1)).all()


def test_masks_are_exact_for_a_square() -> None:
    clip = render(stage(sprite(0.25, -0.25, 0.25)), SIZE)
    expected = np.zeros((SIZE, SIZE), bool)
    expected[16:32, 32:48] = True  # centre (0.25, -0.25) is pixel (40, 24), half-width 0.25 is 8 pixels
    assert np.array_equal(clip.masks[0, 0], expected)
    assert clip.visibility[0, 0] == pytest.approx(1.0, abs=0.03)


def test_occlusion_is_counted() -> None:
    hidden, bar = sprite(0.0, 0.0, 0.5), sprite(0.5, 0.0, 0.5, obj_id=0)
    clip = render(stage(bar, hidden), SIZE)
    assert clip.amodal[0, 0].sum() == 32 * 32
    assert clip.masks[0, 0].sum() == 32 * 16  # its right half lies behind the bar
    assert clip.visibility[0, 0] == pytest.approx(0.5, abs=0.03)
    behind = render(stage(replace(bar, pose=still(0, 0, 0.6)), hidden), SIZE)
    assert not behind.masks.any()
    assert not behind.present.any()


def test_fog_hides_only_when_thick() -> None:
    thing = sprite(0.0, 0.0, 0.4)
    for opacity, shows in ((0.5, True), (0.7, True), (0.8, False), (1.0, False)):
        fog = sprite(0.0, 0.0, 0.8, obj_id=0, opacity=opacity)
        assert render(stage(fog, thing), SIZE).masks[0, 0].any() == shows


def test_half_outside_the_frame_is_half_visible() -> None:
    clip = render(stage(sprite(1.0, 0.0, 0.25)), SIZE)
    assert clip.visibility[0, 0] == pytest.approx(0.5, abs=0.03)
    assert clip.masks[0, 0].sum() == 16 * 8


def test_light_scales_brightness() -> None:
    bright = render(stage(sprite(0, 0, 0.5)), SIZE)
    scene = stage(sprite(0, 0, 0.5))
    dark = render(replace(scene, light=np.full(2, 0.5, np.float32)), SIZE)
    assert np.abs(dark.frames.astype(float) - bright.frames / 2).max() <= 1


def test_camera_moves_everything() -> None:
    scene = stage(sprite(0, 0, 0.25))
    camera = scene.camera.copy()
    camera[1] = [0.25, 0, 2, 0]  # looks 0.25 to the right, twice as close
    clip = render(replace(scene, camera=camera), SIZE)
    assert clip.masks[1, 0].sum() == pytest.approx(4 * clip.masks[0, 0].sum(), rel=0.02)
    rows, columns = np.nonzero(clip.masks[1, 0])
    assert rows.mean() == pytest.approx(31.5, abs=0.6)
    assert columns.mean() == pytest.approx(31.5 - 16, abs=0.6)


def test_suites_hold_what_they_promise() -> None:
    clips = {suite: [render(sample_scene(suite, k, split="val"), 32) for k in range(6)] for suite in SUITES}
    absent = {suite: np.mean([~c.present[:, 0] for c in found]) for suite, found in clips.items()}
    assert absent["easy"] == 0
    assert absent["occlusion"] > 0.15
    assert absent["reappear"] > 0.15
    assert all(c.doubles for suite in ("distractor", "crowd", "reappear") for c in clips[suite])
    assert all(len(c.obj_ids) >= 6 for c in clips["crowd"])
    comes_back = [c.present[:, 0] for c in clips["reappear"]]
    assert sum(bool((np.diff(p.astype(int)) == 1).any()) for p in comes_back) >= 4


@pytest.mark.parametrize("suite", sorted(LONG_SUITES))
def test_long_suites_hold_what_they_promise(suite: str) -> None:
    clips = [render(sample_scene(suite, k, split="val", num_frames=frames_of(suite)), 32) for k in range(2)]
    for clip in clips:
        absences = (np.diff(clip.present[:, 0].astype(int)) == -1).sum()
        assert len(clip.frames) == {"long": 300, "longest": 1000}[suite]
        assert absences >= 3
        assert any(clip.present[:, clip.obj_ids.index(double)].mean() > 0.6 for double in clip.doubles)


@pytest.mark.parametrize("num_frames", [24, 300])
def test_any_length(num_frames: int) -> None:
    scene = sample_scene("occlusion", 1, num_frames=num_frames, split="val")
    assert scene.num_frames == num_frames
    assert len(scene.events) >= 2 * (num_frames >= 60) * num_frames // 60


def test_difficulty_replaces_the_suite() -> None:
    bars = sample_scene("easy", 0, split="val", difficulty=Difficulty(bars=(2, 2)))
    assert [kind for kind, _, _ in bars.events] == ["bar", "bar"]


def test_a_varied_bank_has_a_tile_in_96_ways() -> None:
    cpu = torch.device("cpu")
    plain, varied = (ResidentBank("train", cpu, size=4, varied=varied) for varied in (False, True))
    names = 2 + 4 * torch.arange(96 + 1)
    tiles = varied.tiles(names)
    assert torch.equal(tiles[:1], plain.tiles(names[:1])), "small names are what they always were"
    assert torch.equal(tiles[96], tiles[0])
    assert len({tile.numpy().tobytes() for tile in tiles}) == 96
    assert (plain.tiles(names) == plain.tiles(names[:1])).all()
    original = tiles[0]
    assert torch.equal(tiles[5], original[[2, 1, 0]]), "the last of the six orders of colours"
    assert torch.equal(tiles[6], 1 - original)
    assert torch.equal(tiles[6 * 2], original.flip(2))
    assert torch.equal(tiles[6 * 4], original.flip(1))
    assert torch.equal(tiles[6 * 8 + 5], original[[2, 1, 0]].transpose(1, 2))


def test_batch_equals_single() -> None:
    scenes = [sample_scene("distractor", k, num_frames=3, split="val") for k in range(3)]
    bank, cpu = TextureBank("val"), torch.device("cpu")
    together = render_layers(pack(scenes, num_layers=10), SIZE, bank, cpu)
    for k, scene in enumerate(scenes):
        alone = render(scene, SIZE)
        frames = (together.frames[k] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        assert np.abs(frames.astype(int) - alone.frames.astype(int)).max() <= 1


def test_tiles_are_seamless() -> None:
    for index in range(12):
        tile = procedural_tile("val", index).astype(float)
        seam = np.abs(tile[0] - tile[-1]).mean()
        inside = np.abs(np.diff(tile, axis=0)).mean(axis=(1, 2))
        assert seam <= inside.max() + 2
        assert tile.shape == (TILE_SIZE, TILE_SIZE, 3)


def test_photographs_on_request() -> None:
    pytest.importorskip("skimage")
    scene = sample_scene("easy", 0, num_frames=2, split="val")
    plain, photographed = render(scene, 32), render(scene, 32, photographs=1.0)
    assert np.array_equal(plain.masks, photographed.masks)
    assert np.abs(plain.frames.astype(int) - photographed.frames.astype(int)).mean() > 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sample_scene("hard", 0), "suite 'hard' is unknown; choose one of easy"),
        (lambda: sample_scene("easy", -1), "seed=-1 is negative"),
        (lambda: sample_scene("easy", 0, num_frames=1), "num_frames=1 is out of range"),
        (lambda: sample_scene("easy", 0, split="all"), "split 'all' is unknown"),
        (lambda: Difficulty(fog=1.5), "fog=1.5 is out of range"),
        (lambda: Difficulty(bars=(3, 1)), r"bars=\(3, 1\) is no range"),
        (lambda: Difficulty(bars=3), "bars=3 is no range"),  # type: ignore[arg-type]
        (lambda: Difficulty(bars=(1.5, 2)), "give whole numbers"),  # type: ignore[arg-type]
        (lambda: Difficulty(similarity=(0.0, 3.0)), "choose numbers from 0 to 1"),
        (lambda: sample_scene("occlusion", 0, num_frames=2), "choose more frames"),
        (lambda: render(sample_scene("easy", 0), 64, chunk=0), "chunk=0 is out of range"),
        (lambda: render(sample_scene("easy", 0), 8), "size=8 pixels is out of range"),
        (lambda: TextureBank("val", photographs=2.0), "photographs=2.0 is not a share"),
        (lambda: pack([sample_scene("easy", 0, num_frames=n) for n in (2, 3)]), "cannot be packed together"),
        (lambda: pack([sample_scene("crowd", 0)], num_layers=2), "raise num_layers"),
    ],
)
def test_bad_input_is_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
