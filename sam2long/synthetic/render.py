"""Scenes to pixels: every sprite is drawn once per clip and warped into every frame, on the CPU or a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sam2long.synthetic.scene import NUM_HARMONICS, PackedScenes, Scene, pack
from sam2long.synthetic.textures import TILE_SIZE, TextureBank

CANVAS_SIZE = 128
_MARGIN = 1.25  # the canvas shows [-1.25, 1.25]^2 of the sprite's own square, so that outlines may swing out
# Behind this much opacity an object no longer counts as visible: at 3/4 a quarter of its contrast is left.
_HIDDEN_BELOW = 0.25


@dataclass(frozen=True)
class LayerFrames:
    """What the renderer draws for B scenes of T frames and L layers.

    Attributes:
        frames: (B, T, 3, S, S) float32 in [0, 1].
        visible: (B, T, L, S, S) bool, the part of each layer that can be seen.
        amodal: (B, T, L, S, S) bool, the whole layer within the frame, hidden or not.
        area: (B, T, L) float32, pixels the whole layer would cover if the frame did not end.
    """

    frames: torch.Tensor
    visible: torch.Tensor
    amodal: torch.Tensor
    area: torch.Tensor


@dataclass(frozen=True)
class Clip:
    """A rendered clip with exact annotations for its N objects.

    Attributes:
        frames: (T, S, S, 3) uint8 RGB.
        masks: (T, N, S, S) bool, visible pixels.
        amodal: (T, N, S, S) bool, all pixels within the frame, hidden or not.
        visibility: (T, N) float32 in [0, 1]: visible pixels over all pixels, those beyond the frame included.
        obj_ids: the objects' ids in mask order; 1 is the one to track.
        doubles: ids of the objects that are look-alikes of object 1.
    """

    scene: Scene
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    amodal: NDArray[np.bool_]
    visibility: NDArray[np.float32]
    obj_ids: list[int]
    doubles: list[int]

    @property
    def present(self) -> NDArray[np.bool_]:
        """(T, N): the object shows at least 5 % of itself and 8 pixels; below that nobody could mark it."""
        return np.asarray((self.visibility >= 0.05) & (self.masks.sum((2, 3)) >= 8))


def _grid(size: int, device: torch.device) -> torch.Tensor:
    """Pixel centres of a (size, size) image in [-1, 1]: (size, size, 2) as x, y."""
    axis = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1)


def _cut_outlines(outline: torch.Tensor) -> torch.Tensor:
    """Coverage in [0, 1] of N outlines (N, 2 + 2 * NUM_HARMONICS) on their canvases: (N, CANVAS, CANVAS)."""
    grid = _grid(CANVAS_SIZE, outline.device) * _MARGIN
    exponent, hole = outline[:, 0, None, None], outline[:, 1, None, None]
    angle = torch.atan2(grid[..., 1], grid[..., 0])
    radius = torch.ones_like(angle).repeat(len(outline), 1, 1)
    for k in range(NUM_HARMONICS):
        swing, phase = outline[:, 2 + k], outline[:, 2 + NUM_HARMONICS + k]
        radius = radius + swing[:, None, None] * torch.cos((k + 2) * angle + phase[:, None, None])
    x, y = grid[..., 0].abs().clamp_min(1e-6), grid[..., 1].abs().clamp_min(1e-6)
    level = (x**exponent + y**exponent) ** (1 / exponent) / radius.clamp_min(0.2)
    sharpness = CANVAS_SIZE / (2 * _MARGIN)
    outer = ((1 - level) * sharpness + 0.5).clamp(0, 1)
    inner = torch.where(hole > 0, ((level - hole) * sharpness + 0.5).clamp(0, 1), torch.ones_like(level))
    return outer * inner


def _clothe(skin: torch.Tensor, tiles: torch.Tensor, bank: TextureBank, size: int) -> torch.Tensor:
    """Colours of N skins (N, 8) wearing `tiles` (N, 2), each on a square of `size`: (N, 3, size, size) in [0, 1]."""
    mix, x, y, zoom, angle = (skin[:, k, None, None] for k in range(5))
    grid = _grid(size, skin.device)
    u = x + zoom * (torch.cos(angle) * grid[..., 0] - torch.sin(angle) * grid[..., 1])
    v = y + zoom * (torch.sin(angle) * grid[..., 0] + torch.cos(angle) * grid[..., 1])
    # Tiles are seamless: wrap coordinates round, on a tile padded by one pixel so that the seam interpolates.
    step = (TILE_SIZE + 2) / TILE_SIZE
    where = torch.stack([torch.remainder(u + 1, 2) - 1, torch.remainder(v + 1, 2) - 1], dim=-1) / step
    colours = [
        F.grid_sample(F.pad(bank.tiles(tiles[:, k]), (1, 1, 1, 1), mode="circular"), where, align_corners=False)
        for k in range(2)
    ]
    blended = colours[0] * (1 - mix[:, None]) + colours[1] * mix[:, None]
    return (blended * skin[:, 5:8, None, None]).clamp(0, 1)


def _backdrops(canvas: torch.Tensor, camera: torch.Tensor, size: int) -> torch.Tensor:
    """Backgrounds (B, 3, C, C) seen by moving cameras (B, T, 4): (B, T, 3, size, size)."""
    grid = _grid(size, canvas.device)
    world = _to_world(grid, camera) / 2.0  # the canvas covers [-2, 2]^2 and is mirrored beyond
    b, t = camera.shape[:2]
    drawn = F.grid_sample(canvas, world.reshape(b, t * size, size, 2), padding_mode="reflection", align_corners=False)
    return drawn.view(b, 3, t, size, size).transpose(1, 2)


def _to_world(grid: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Frame coordinates (S, S, 2) to world coordinates (B, T, S, S, 2) under the camera (B, T, 4)."""
    shift, zoom, roll = camera[..., None, None, :2], camera[..., 2], camera[..., 3]
    cos, sin = (torch.cos(roll) / zoom)[..., None, None], (torch.sin(roll) / zoom)[..., None, None]
    x, y = grid[..., 0], grid[..., 1]
    return torch.stack([cos * x + sin * y, -sin * x + cos * y], dim=-1) + shift


def _warp(canvas: torch.Tensor, pose: torch.Tensor, world: torch.Tensor) -> torch.Tensor:
    """One layer's canvases (B, 4, C, C) put into every frame by poses (B, T, 5): (B, T, 4, S, S)."""
    offset = world - pose[:, :, None, None, :2]
    cos, sin = torch.cos(pose[..., 4])[..., None, None], torch.sin(pose[..., 4])[..., None, None]
    u = (cos * offset[..., 0] + sin * offset[..., 1]) / (pose[..., 2] * _MARGIN)[..., None, None]
    v = (-sin * offset[..., 0] + cos * offset[..., 1]) / (pose[..., 3] * _MARGIN)[..., None, None]
    b, t, size = world.shape[:3]
    where = torch.stack([u, v], dim=-1).view(b, t * size, size, 2)
    drawn = F.grid_sample(canvas, where, padding_mode="zeros", align_corners=False)
    return drawn.view(b, 4, t, size, size).transpose(1, 2)


@torch.no_grad()
def check_size(size: int) -> None:
    """Raises ValueError where `size` is outside 32..2048 pixels."""
    if not isinstance(size, int) or not 32 <= size <= 2048:
        raise ValueError(f"size={size} pixels is out of range; choose 32 to 2048")


def render_layers(scenes: PackedScenes, size: int, bank: TextureBank, device: torch.device) -> LayerFrames:
    """Draws packed scenes at size x size pixels, all frames and scenes at once.

    Raises:
        ValueError: `size` is outside 32..2048.
    """
    check_size(size)
    pose, light, opacity, outline, skin, tiles, camera, backdrop_light = (
        torch.from_numpy(getattr(scenes, name)).to(device, non_blocking=True)
        for name in ("pose", "light", "opacity", "outline", "skin", "tiles", "camera", "backdrop_light")
    )
    b, t, num_layers = pose.shape[:3]
    cover = _cut_outlines(outline.flatten(0, 1)).view(b, num_layers, 1, CANVAS_SIZE, CANVAS_SIZE)
    colour = _clothe(skin[:, :-1].flatten(0, 1), tiles[:, :-1].flatten(0, 1), bank, CANVAS_SIZE)
    canvases = torch.cat([colour.view(b, num_layers, 3, CANVAS_SIZE, CANVAS_SIZE), cover], dim=2)
    world = _to_world(_grid(size, device), camera)

    frames = torch.zeros(b, t, 3, size, size, device=device)
    through = torch.ones(b, t, 1, size, size, device=device)  # light still let through by the layers in front
    clear = torch.ones(b, t, size, size, device=device)  # the same with hard edges: decides visibility
    visible, amodal = [], []
    for layer in range(num_layers):
        drawn = _warp(canvases[:, layer], pose[:, :, layer], world)
        alpha = drawn[:, :, 3:] * opacity[:, None, layer, None, None, None]
        # grid_sample blends colours with the zeros beyond the canvas only where alpha is 0 already.
        frames += through * alpha * drawn[:, :, :3] * light[:, :, layer, None, None, None]
        through = through * (1 - alpha)
        solid = (drawn[:, :, 3] > 0.5) & (opacity[:, None, layer, None, None] > 0)
        visible.append(solid & (clear >= _HIDDEN_BELOW))
        amodal.append(solid)
        clear = torch.where(solid, clear * (1 - opacity[:, None, layer, None, None]), clear)
    backdrop = _clothe(skin[:, -1], tiles[:, -1], bank, 2 * CANVAS_SIZE)
    frames += through * _backdrops(backdrop, camera, size) * backdrop_light[..., None, None, None]
    share = (cover.squeeze(2) > 0.5).float().mean((2, 3)) * (opacity > 0)
    scale = (size / 2 * 2 * _MARGIN * camera[..., 2]) ** 2
    area = share[:, None] * pose[..., 2] * pose[..., 3] * scale[..., None]
    return LayerFrames(frames.clamp_(0, 1), torch.stack(visible, 2), torch.stack(amodal, 2), area)


def render(
    scene: Scene, size: int = 256, *, photographs: float = 0.0, device: str | torch.device = "cpu", chunk: int = 16
) -> Clip:
    """Renders one scene with its exact annotations.

    Args:
        scene: what to show, from `sample_scene`.
        size: height and width in pixels, 32..2048.
        photographs: share of textures taken from photographs (needs scikit-image when > 0).
        device: where to draw; on the CPU the same scene gives the same bytes at every call.
        chunk: frames drawn at a time, which bounds memory.

    Raises:
        ValueError: `size` or `chunk` out of range, `photographs` not in [0, 1] or asked for without scikit-image.
    """
    if chunk < 1:
        raise ValueError(f"chunk={chunk} is out of range; choose 1 or more frames")
    bank = TextureBank(scene.split, photographs=photographs)
    layers = [k for k, sprite in enumerate(scene.sprites) if sprite.obj_id > 0]
    layers.sort(key=lambda k: scene.sprites[k].obj_id)
    frames, masks, amodal, visibility = [], [], [], []
    for start in range(0, scene.num_frames, chunk):
        part = scene.frames(np.arange(start, min(start + chunk, scene.num_frames)))
        drawn = render_layers(pack([part]), size, bank, torch.device(device))
        frames.append((drawn.frames[0] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        masks.append(drawn.visible[0][:, layers].cpu().numpy())
        amodal.append(drawn.amodal[0][:, layers].cpu().numpy())
        seen = drawn.visible[0].sum((2, 3)) / drawn.area[0].clamp_min(1)
        visibility.append(seen[:, layers].clamp(0, 1).cpu().numpy())
    return Clip(
        scene=scene,
        frames=np.concatenate(frames),
        masks=np.concatenate(masks),
        amodal=np.concatenate(amodal),
        visibility=np.concatenate(visibility).astype(np.float32),
        obj_ids=scene.obj_ids,
        doubles=sorted(s.obj_id for s in scene.sprites if s.double_of == 1),
    )
