"""Stages one scene: the object's path, what happens to it and when, and who else is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sam2long.synthetic import motion
from sam2long.synthetic.difficulty import Difficulty
from sam2long.synthetic.scene import NUM_HARMONICS, Outline, Scene, Skin, Sprite

_TILES = 1 << 20  # tile names; a bank takes them modulo its size


class Director:
    """Draws the parts of one scene in a fixed order from one random stream.

    Args:
        rng: the scene's own stream.
        num_frames: length of the clip.
        knobs: how hard it shall be.
    """

    def __init__(self, rng: np.random.Generator, num_frames: int, knobs: Difficulty) -> None:
        self.rng, self.num_frames, self.knobs = rng, num_frames, knobs
        self.events: list[tuple[str, int, int]] = []

    def scene(self, suite: str, split: str, seed: int) -> Scene | None:
        """The whole scene, or None where something covers the object on the first frame."""
        self._plan()
        target = self._target()
        doubles = [self._double(target, k) for k in range(self._count(self.knobs.doubles))]
        bystanders = [self._bystander() for _ in range(self._count(self.knobs.bystanders))]
        bars = [self._bar(target, first, last) for kind, first, last in self.events if kind == "bar"]
        cast = [target, *doubles, *bystanders]
        order = self.rng.permutation(len(cast))
        sprites = bars + [replace(cast[k], obj_id=int(k) + 1) for k in order]
        if _covered(sprites):
            return None
        return Scene(
            suite, split, seed, tuple(sprites), self._skin(0.5, 1.5), self._camera(), self._light(), tuple(self.events)
        )

    def _count(self, bounds: tuple[int, int], *, scaled: bool = False) -> int:
        count = int(self.rng.integers(bounds[0], bounds[1] + 1))
        return round(count * max(1.0, self.num_frames / 60)) if scaled else count

    def _plan(self) -> None:
        """Events one after another, each (kind, first frame, last frame)."""
        knobs, rng = self.knobs, self.rng
        kinds = ["bar"] * self._count(knobs.bars, scaled=True)
        kinds += ["meeting"] * self._count(knobs.meetings, scaled=True)
        kinds += ["absence"] * self._count(knobs.absences, scaled=True)
        rng.shuffle(kinds)
        lead = max(1, min(6, self.num_frames // 8))
        for kind, middle in zip(kinds, motion.slots(rng, self.num_frames, len(kinds), lead), strict=True):
            bounds = knobs.absence_frames if kind == "absence" else knobs.occlusion_frames
            half = int(rng.integers(bounds[0], bounds[1] + 1)) / 2
            first = max(lead, round(middle - half))
            # The last tenth of a clip is free of events, so that what was lost can be found again.
            latest = self.num_frames - 1 - max(1, self.num_frames // 10)
            self.events.append((kind, min(first, latest), min(latest, max(first, round(middle + half)))))

    def _target(self) -> Sprite:
        knobs, rng = self.knobs, self.rng
        path = motion.wander(rng, self.num_frames, rng.uniform(*knobs.speed))
        size = rng.uniform(*knobs.size)
        for kind, first, last in self.events:
            if kind == "absence":
                ramp = max(1.0, min(8.0, (last - first) / 2))
                away = rng.uniform(0, 2 * np.pi)
                far = 1.75 + 2 * size
                path += (
                    motion.bump(self.num_frames, first + 1, last - 1, ramp)[:, None]
                    * far
                    * np.array([[np.cos(away), np.sin(away)]])
                )
        return self._sprite(self._outline(), self._skin(0.3, 0.8), path, size)

    def _double(self, target: Sprite, index: int) -> Sprite:
        """A look-alike: the object's outline and skin, altered the more the less similar, on a path that meets it."""
        rng = self.rng
        unlike = 1 - rng.uniform(*self.knobs.similarity)
        swings = tuple(s + unlike * rng.uniform(-0.12, 0.12) for s in target.outline.swings)
        tint = tuple(float(t * (1 + unlike * rng.uniform(-0.8, 0.8))) for t in target.skin.tint)
        skin = replace(
            target.skin,
            overlay=int(rng.integers(_TILES)),
            mix=float(min(1.0, 1.2 * unlike)),
            tint=(tint[0], tint[1], tint[2]),
        )
        path = self._meeting_path(target, index)
        size = float(target.pose[0, 2]) * rng.uniform(1 - 0.3 * unlike, 1 + 0.3 * unlike)
        sprite = self._sprite(replace(target.outline, swings=swings), skin, path, size, like=target)
        return replace(sprite, double_of=1)

    def _meeting_path(self, target: Sprite, index: int) -> motion.Array:
        """Own way between meetings, at the object's side during them (all meetings of the first, some of the rest)."""
        rng, knobs = self.rng, self.knobs
        own = motion.wander(rng, self.num_frames, rng.uniform(*knobs.speed), reach=0.75)
        size = float(target.pose[0, 2])
        near = np.zeros(self.num_frames)
        offset = np.zeros((self.num_frames, 2))
        for kind, first, last in self.events:
            chance = {"meeting": 1.0 if index == 0 else 0.4, "bar": knobs.swap, "absence": 0.0}[kind]
            if rng.random() >= chance:
                continue
            middle, ramp = (first + last) / 2, max(1.5, 1.2 * (last - first))
            weight = motion.bump(self.num_frames, middle, middle, ramp)
            angle, aside = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.3, 1.2)
            # Passing through: from one side of the object to the other while near it.
            course = np.clip((np.arange(self.num_frames) - middle) / ramp, -1, 1)[:, None] * 3 * size
            along = np.array([[np.cos(angle), np.sin(angle)]])
            across = np.array([[-np.sin(angle), np.cos(angle)]]) * aside * 0.5
            stronger = (weight > near)[:, None]
            offset = np.where(stronger, course * along + across, offset)
            near = np.maximum(near, weight)
        inside = np.clip(target.pose[:, :2], -0.9, 0.9)  # nobody follows the object out of the frame
        return np.asarray(own * (1 - near[:, None]) + (inside + offset) * near[:, None])

    def _bystander(self) -> Sprite:
        rng, knobs = self.rng, self.knobs
        path = motion.wander(rng, self.num_frames, rng.uniform(*knobs.speed), reach=0.85)
        return self._sprite(self._outline(), self._skin(0.3, 0.8), path, rng.uniform(*knobs.size))

    def _bar(self, target: Sprite, first: int, last: int) -> Sprite:
        """An occluder across the object's path: a standing or sweeping bar, or a blob, solid or see-through."""
        rng = self.rng
        middle = (first + last) // 2
        where, size = target.pose[middle, :2].astype(np.float64), float(target.pose[middle, 2:4].max())
        step = (target.pose[last, :2] - target.pose[first, :2]).astype(np.float64) / max(last - first, 1)
        sweep = step if rng.random() < 0.5 else motion.wander(rng, 2, 1.0)[0] * rng.uniform(0.0, 0.05)
        course = (np.arange(self.num_frames) - middle)[:, None] * (sweep - step)[None]
        relative = float(np.linalg.norm(sweep - step))
        enough = max(0.025, (2.3 * size + 0.1) / max(middle, 1))
        if relative < enough:  # it would hide the object from the first frame on, or never uncover it again
            turn = rng.uniform(0, 2 * np.pi)
            towards = np.array([[np.cos(turn), np.sin(turn)]]) * enough
            course = (np.arange(self.num_frames) - middle)[:, None] * towards
            relative = enough
        heading = np.arctan2(course[-1, 1] - course[0, 1], course[-1, 0] - course[0, 0])
        half = size + min(0.3, relative * (last - first) / 2)
        # `course` is the bar's motion relative to the object; away from the event it goes its own straight way.
        path = where + course + step * (np.arange(self.num_frames) - middle)[:, None]
        pose = np.empty((self.num_frames, 5), np.float32)
        pose[:, :2], pose[:, 2], pose[:, 3] = path, min(half, 0.7), max(half, rng.uniform(0.8, 1.8))
        pose[:, 4] = heading
        opacity = float(rng.uniform(0.5, 0.9)) if rng.random() < self.knobs.fog else 1.0
        outline = Outline(exponent=10.0) if rng.random() < 0.6 else self._outline()
        light = np.full(self.num_frames, rng.uniform(0.6, 1.1), np.float32)
        return Sprite(outline, self._skin(0.3, 1.0), pose, light, opacity)

    def _sprite(
        self, outline: Outline, skin: Skin, path: motion.Array, size: float, like: Sprite | None = None
    ) -> Sprite:
        rng, amount, frames = self.rng, self.knobs.drift, self.num_frames
        aspect = rng.uniform(0.75, 1.33) if like is None else float(like.pose[0, 3] / like.pose[0, 2])
        growth = np.exp(motion.drift(rng, frames, 0.6 * amount))
        growth /= growth[0]
        pose = np.empty((frames, 5), np.float32)
        pose[:, :2] = path
        pose[:, 2] = np.clip(size * growth, 0.08, 0.5)
        pose[:, 3] = pose[:, 2] * aspect
        pose[:, 4] = rng.uniform(0, 2 * np.pi) + np.cumsum(motion.drift(rng, frames, 0.06 * amount))
        light = np.exp(motion.drift(rng, frames, 0.6 * amount)).astype(np.float32)
        return Sprite(outline, skin, pose, light)

    def _outline(self) -> Outline:
        rng = self.rng
        swings = rng.normal(0, 1, NUM_HARMONICS) * 0.18 / np.sqrt(np.arange(2, 2 + NUM_HARMONICS))
        return Outline(
            exponent=float(rng.choice([1.2, 2.0, 2.0, 3.0, 8.0])),
            hole=float(rng.uniform(0.3, 0.5)) if rng.random() < 0.08 else 0.0,
            swings=tuple(np.clip(swings, -0.2, 0.2).tolist()),
            phases=tuple(rng.uniform(0, 2 * np.pi, NUM_HARMONICS).tolist()),
        )

    def _skin(self, least_zoom: float, most_zoom: float) -> Skin:
        rng = self.rng
        base, overlay = (int(name) for name in rng.integers(_TILES, size=2))
        x, y = rng.uniform(-1, 1, 2)
        tint = rng.uniform(0.75, 1.25, 3)
        window = (float(x), float(y), float(rng.uniform(least_zoom, most_zoom)), float(rng.uniform(0, 2 * np.pi)))
        return Skin(base, overlay, 0.0, window, (float(tint[0]), float(tint[1]), float(tint[2])))

    def _camera(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        rng, amount, frames = self.rng, self.knobs.camera, self.num_frames
        camera = np.empty((frames, 4), np.float32)
        camera[:, 0], camera[:, 1] = (motion.drift(rng, frames, 0.35 * amount, period=18) for _ in range(2))
        camera[:, 2] = np.exp(motion.drift(rng, frames, 0.2 * amount))
        camera[:, 3] = motion.drift(rng, frames, 0.2 * amount)
        camera[:, :2] -= camera[0, :2]
        return camera

    def _light(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        light = np.exp(motion.drift(self.rng, self.num_frames, 0.3 * self.knobs.drift))
        for _, first, last in self.events:
            depth = self.knobs.dimming * self.rng.uniform(0.4, 1.0)
            light *= 1 - 0.9 * depth * motion.bump(self.num_frames, first, last, max(1.0, (last - first) / 3))
        return light.astype(np.float32)


def _covered(sprites: list[Sprite]) -> bool:
    """Whether object 1 is out of the frame or behind something on frame 0."""
    target = next(s for s in sprites if s.obj_id == 1)
    x, y, size = (float(v) for v in target.pose[0, :3])
    if max(abs(x), abs(y)) > 0.85:
        return True
    for sprite in sprites[: sprites.index(target)]:
        dx, dy, half_w, half_h, angle = (float(v) for v in (sprite.pose[0] - [x, y, 0, 0, 0]))
        u = abs(np.cos(angle) * dx + np.sin(angle) * dy)
        v = abs(-np.sin(angle) * dx + np.cos(angle) * dy)
        if u < half_w + 0.6 * size and v < half_h + 0.6 * size:
            return True
    return False
