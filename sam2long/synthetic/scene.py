"""What a clip shows, as plain numbers: a few kilobytes that say everything the renderer needs.

Coordinates: the frame is the square [-1, 1] x [-1, 1], x to the right, y down; sizes are in the same unit.
Layers are listed front to back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

NUM_HARMONICS = 5  # of the outline, angular frequencies 2..6


@dataclass(frozen=True)
class Outline:
    """A closed shape in the unit square: a superellipse whose radius swings with the angle, perhaps with a hole."""

    exponent: float = 2.0  # 2 an ellipse, 10 nearly a rectangle, 1 a diamond
    hole: float = 0.0  # inner radius over outer radius
    swings: tuple[float, ...] = (0.0,) * NUM_HARMONICS
    phases: tuple[float, ...] = (0.0,) * NUM_HARMONICS

    def numbers(self) -> list[float]:
        return [self.exponent, self.hole, *self.swings, *self.phases]


@dataclass(frozen=True)
class Skin:
    """A sprite's surface: tile `base`, into which tile `overlay` is mixed, seen through a window and a tint."""

    base: int
    overlay: int
    mix: float = 0.0
    window: tuple[float, float, float, float] = (0.0, 0.0, 0.5, 0.0)  # x, y, zoom, angle in the tile
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def numbers(self) -> list[float]:
        return [self.mix, *self.window, *self.tint]


@dataclass(frozen=True)
class Sprite:
    """One moving thing.

    Attributes:
        pose: (T, 5) float32: centre x, y, half-width, half-height, angle in radians.
        light: (T,) float32 brightness factor.
        opacity: 1 hides what lies behind; less lets it shine through (fog, glass).
        obj_id: positive for objects, whose masks the clip reports; 0 for scenery.
        double_of: the obj_id this sprite is a look-alike of, else 0.
    """

    outline: Outline
    skin: Skin
    pose: FloatArray
    light: FloatArray
    opacity: float = 1.0
    obj_id: int = 0
    double_of: int = 0


@dataclass(frozen=True)
class Scene:
    """A clip before it is rendered. `sprites` lie front to back; object 1 is the one to track.

    Attributes:
        camera: (T, 4) float32: shift x, y, zoom, roll in radians, applied to everything.
        light: (T,) float32 brightness of the whole frame.
        split: whose textures it wears (`train`, `val`, `test`).
    """

    suite: str
    split: str
    seed: int
    sprites: tuple[Sprite, ...]
    background: Skin
    camera: FloatArray
    light: FloatArray
    events: tuple[tuple[str, int, int], ...] = field(default=())  # (kind, first frame, last frame)

    @property
    def num_frames(self) -> int:
        return len(self.light)

    @property
    def obj_ids(self) -> list[int]:
        return sorted(sprite.obj_id for sprite in self.sprites if sprite.obj_id > 0)

    def frames(self, which: IntArray) -> Scene:
        """The same scene at the frames `which` only (events keep the old numbering)."""
        sprites = tuple(replace(s, pose=s.pose[which], light=s.light[which]) for s in self.sprites)
        return replace(self, sprites=sprites, camera=self.camera[which], light=self.light[which])


@dataclass(frozen=True)
class PackedScenes:
    """Scenes of equal length as stacked arrays (B scenes, T frames, L layers, padded with invisible ones)."""

    pose: FloatArray  # (B, T, L, 5)
    light: FloatArray  # (B, T, L), the frame's light multiplied in
    opacity: FloatArray  # (B, L), 0 where padded
    outline: FloatArray  # (B, L, 2 + 2 * NUM_HARMONICS)
    skin: FloatArray  # (B, L + 1, 8), the background last
    tiles: IntArray  # (B, L + 1, 2)
    camera: FloatArray  # (B, T, 4)
    backdrop_light: FloatArray  # (B, T)
    obj_id: IntArray  # (B, L)
    double_of: IntArray  # (B, L)


def pack(scenes: list[Scene], num_layers: int | None = None) -> PackedScenes:
    """Stacks scenes for the renderer.

    Raises:
        ValueError: the scenes differ in length, or one has more than `num_layers` sprites.
    """
    lengths = {scene.num_frames for scene in scenes}
    if len(lengths) != 1:
        raise ValueError(f"scenes of {sorted(lengths)} frames cannot be packed together; make them equally long")
    most = max(len(scene.sprites) for scene in scenes)
    layers = num_layers or most
    if most > layers:
        raise ValueError(f"a scene has {most} sprites but num_layers={layers}; raise num_layers")
    size, (frames,) = len(scenes), lengths
    packed = PackedScenes(
        pose=np.ones((size, frames, layers, 5), np.float32),
        light=np.ones((size, frames, layers), np.float32),
        opacity=np.zeros((size, layers), np.float32),
        outline=np.ones((size, layers, 2 + 2 * NUM_HARMONICS), np.float32),
        skin=np.ones((size, layers + 1, 8), np.float32),
        tiles=np.zeros((size, layers + 1, 2), np.int64),
        camera=np.stack([scene.camera for scene in scenes]),
        backdrop_light=np.stack([scene.light for scene in scenes]),
        obj_id=np.zeros((size, layers), np.int64),
        double_of=np.zeros((size, layers), np.int64),
    )
    for b, scene in enumerate(scenes):
        packed.skin[b, -1] = scene.background.numbers()
        packed.tiles[b, -1] = scene.background.base, scene.background.overlay
        for layer, sprite in enumerate(scene.sprites):
            packed.pose[b, :, layer] = sprite.pose
            packed.light[b, :, layer] = sprite.light * scene.light
            packed.opacity[b, layer] = sprite.opacity
            packed.outline[b, layer] = sprite.outline.numbers()
            packed.skin[b, layer] = sprite.skin.numbers()
            packed.tiles[b, layer] = sprite.skin.base, sprite.skin.overlay
            packed.obj_id[b, layer], packed.double_of[b, layer] = sprite.obj_id, sprite.double_of
    return packed
