"""Training clips: scenes drawn by worker processes, rendered and prompted on the training device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from demo_rollout import ANY_MASK, ON_DOUBLE, OWN_BEST, TRUE_BEST, ClipBatch
from torch.utils.data import IterableDataset, get_worker_info

from sam2long.synthetic import SUITES, Difficulty, sample_scene
from sam2long.synthetic.render import render_layers
from sam2long.synthetic.scene import PackedScenes, Scene, pack
from sam2long.synthetic.textures import TextureBank

NUM_LAYERS = 10


@dataclass(frozen=True)
class Stage:
    """One stretch of the curriculum, up to the share `until` of the training time."""

    until: float
    num_frames: int
    clips: int  # batch size
    suites: tuple[tuple[str, float], ...]  # names and their shares
    teacher: float  # chance that a clip's memory is written from the truly best mask
    mistakes: float  # chance that a stretch of a clip's memory is written from a wrong mask
    burn_in: int = 0  # frames after the prompted one that are tracked without gradients


_HARD = (("easy", 0.1), ("occlusion", 0.3), ("distractor", 0.3), ("reappear", 0.3))
_AWAY = (("easy", 0.1), ("occlusion", 0.25), ("distractor", 0.25), ("reappear", 0.4))
CURRICULUM = (
    Stage(0.15, 3, 128, (("easy", 0.6), ("distractor", 0.4)), 0.5, 0.0),
    Stage(0.40, 5, 96, (("easy", 0.25), ("occlusion", 0.25), ("distractor", 0.3), ("reappear", 0.2)), 0.2, 0.15),
    Stage(0.68, 8, 64, (("easy", 0.1), ("occlusion", 0.3), ("distractor", 0.3), ("reappear", 0.3)), 0.0, 0.25),
    Stage(1.00, 14, 36, _HARD, 0.0, 0.25),
)
# To train a model on: what it drifts to in a long clip becomes what it learns from, at the cost of a short one.
LONG_CURRICULUM = (
    Stage(0.25, 20, 36, _AWAY, 0.0, 0.2, burn_in=7),
    Stage(1.00, 40, 30, _AWAY, 0.0, 0.2, burn_in=27),
)
CURRICULA = {"whole": CURRICULUM, "long": LONG_CURRICULUM}


def training_difficulty(rng: np.random.Generator, suite: str, span: int) -> Difficulty:
    """The suite's knobs widened, its events shortened to fit a span of frames."""
    knobs = SUITES[suite]
    short = (1, max(2, span // 3))
    return replace(
        knobs,
        size=(0.12, 0.42),
        speed=(0.0, float(rng.uniform(0.01, 0.05))),
        bystanders=(0, 2),
        doubles=(0, 0) if suite == "easy" else (min(1, knobs.doubles[0]), 3),
        similarity=(0.2, 0.97),
        meetings=(0, 2) if suite == "distractor" else (0, 1) if knobs.doubles[1] else (0, 0),
        bars=(1, 2) if suite == "occlusion" else (0, 1) if suite == "distractor" else (0, 0),
        occlusion_frames=short,
        absences=(1, 1) if suite == "reappear" else (0, 0),
        absence_frames=(1, max(2, span // 2)),
        dimming=0.7,
        drift=float(rng.uniform(0.2, 1.0)),
        camera=float(rng.uniform(0.0, 0.6)),
    )


def training_scene(seed: int, suite: str, num_frames: int) -> Scene:
    """A scene of `num_frames` picked from a longer one: an even stride, or frames at random."""
    rng = np.random.default_rng([7300, seed])
    span = num_frames * int(rng.integers(1, 5))
    try:
        knobs = training_difficulty(rng, suite, span)
        scene = sample_scene(suite, seed, num_frames=span, split="train", difficulty=knobs)
        if len(scene.sprites) > NUM_LAYERS:
            raise ValueError("too many bars to draw")
    except ValueError:  # large objects behind many bars may leave no scene that shows its object at first
        scene = sample_scene("easy", seed, num_frames=span, split="train")
    if rng.random() < 0.25 and span > num_frames:
        later = np.sort(rng.choice(np.arange(1, span), num_frames - 1, replace=False))
        return scene.frames(np.concatenate([[0], later]))
    return scene.frames(np.arange(0, span, span // num_frames)[:num_frames])


class SceneStream(IterableDataset[PackedScenes]):
    """Endless batches of packed scenes for one stage; no seed comes twice, whatever the number of workers."""

    def __init__(self, stage: Stage, clips: int, first_seed: int) -> None:
        self.stage, self.clips, self.first_seed = stage, clips, first_seed

    def __iter__(self) -> Iterator[PackedScenes]:
        worker = get_worker_info()
        index, step = (worker.id, worker.num_workers) if worker else (0, 1)
        names, shares = zip(*self.stage.suites, strict=True)
        while True:
            first = self.first_seed + index * self.clips
            suites = np.random.default_rng([7301, first]).choice(names, self.clips, p=shares)
            scenes = [training_scene(first + k, str(s), self.stage.num_frames) for k, s in enumerate(suites)]
            yield pack(scenes, NUM_LAYERS)
            index += step


def point_prompts(target: torch.Tensor, num_clicked: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clicks inside the masks (B, S, S) for the first `num_clicked`, loose boxes around the rest."""
    b, size = len(target), target.shape[-1]
    weight = target.flatten(1).float() + 1e-6
    where = torch.multinomial(weight, 1).squeeze(1)
    click = torch.stack([where % size, where // size], dim=1).float()
    axis = torch.arange(size, device=target.device, dtype=torch.float32)
    corners = []
    for dim in (1, 2):  # any over rows gives columns, x first
        line = target.any(dim)
        low = torch.where(line, axis, float(size)).amin(1)
        high = torch.where(line, axis, -1.0).amax(1)
        loose = 0.05 * (high - low).clamp_min(1)
        corners.append((low + loose * torch.randn_like(low), high + loose * torch.randn_like(low)))
    (x0, x1), (y0, y1) = corners
    box = torch.stack([torch.stack([x0, y0], 1), torch.stack([x1, y1], 1)], 1).clamp(0, size - 1)
    points = torch.stack([click, torch.zeros_like(click)], 1)
    labels = torch.tensor([[1, -1], [2, 3]], dtype=torch.int32, device=target.device)
    boxed = torch.arange(b, device=target.device) >= num_clicked
    return torch.where(boxed[:, None, None], box, points), labels[boxed.long()]


def memory_plan(clips: int, num_frames: int, stage: Stage, device: torch.device) -> torch.Tensor:
    """What every frame writes to memory: (clips, num_frames) of OWN_BEST, ANY_MASK, ON_DOUBLE, TRUE_BEST."""
    draw = torch.rand(clips, 1, device=device)
    kind = torch.where(torch.rand(clips, 1, device=device) < 0.7, ON_DOUBLE, ANY_MASK)
    first = torch.randint(1, max(2, num_frames - 1), (clips, 1), device=device)
    length = torch.randint(1, max(2, num_frames - 2), (clips, 1), device=device)
    time = torch.arange(num_frames, device=device)
    wrong = (draw < stage.mistakes) & (time >= first) & (time < first + length)
    plan = torch.where(wrong, kind, OWN_BEST)
    return torch.where(draw >= 1 - stage.teacher, TRUE_BEST, plan)


def _augment(frames: torch.Tensor) -> torch.Tensor:
    """Per-clip contrast and per-pixel noise on frames (B, T, 3, S, S), in place where it can."""
    b = len(frames)
    contrast = torch.rand(b, 1, 1, 1, 1, device=frames.device) * 0.5 + 0.75
    noise = torch.rand(b, 1, 1, 1, 1, device=frames.device) * 0.04
    frames = (frames - 0.5).mul_(contrast).add_(0.5)
    return frames.add_(noise * torch.randn_like(frames)).clamp_(0, 1)


def make_batch(scenes: PackedScenes, size: int, bank: TextureBank, stage: Stage, device: torch.device) -> ClipBatch:
    """Renders packed scenes and prompts them: 60 % with the mask, 20 % with a click, 20 % with a box."""
    drawn = render_layers(scenes, size, bank, device)
    clips, num_frames = drawn.frames.shape[:2]
    obj_id, double_of = (torch.from_numpy(a).to(device) for a in (scenes.obj_id, scenes.double_of))
    is_target = obj_id == 1
    # Object ids follow the cast's order: the lowest double is the one whose every meeting is staged.
    rank = torch.where(double_of == 1, obj_id, 10_000)
    is_double = (rank == rank.amin(1, keepdim=True)) & (double_of == 1)
    target, double = ((drawn.visible & role[:, None, :, None, None]).any(2) for role in (is_target, is_double))
    area = (drawn.area * is_target[:, None]).sum(2).clamp_min(1)
    num_masked, num_clicked = round(0.6 * clips), round(0.2 * clips)
    points = torch.zeros(clips, 2, 2, device=device)
    labels = -torch.ones(clips, 2, dtype=torch.int32, device=device)
    if clips > num_masked:
        points[num_masked:], labels[num_masked:] = point_prompts(target[num_masked:, 0], num_clicked)
    return ClipBatch(
        frames=_augment(drawn.frames),
        target=target,
        double=double,
        visibility=(target.sum((2, 3)) / area).clamp(0, 1),
        points=points,
        labels=labels,
        memory=memory_plan(clips, num_frames, stage, device),
        pick=torch.randint(0, 3, (clips, num_frames), device=device),
        gap=(torch.rand((), device=device) ** 3 * 120).floor(),
        num_masked=num_masked,
        num_clicked=num_clicked,
        burn_in=stage.burn_in,
    )


def copy_into(static: ClipBatch, fresh: ClipBatch) -> None:
    """Overwrites the tensors of `static` (the inputs of a CUDA graph) with those of `fresh`."""
    for item in fields(ClipBatch):
        value = getattr(fresh, item.name)
        if isinstance(value, torch.Tensor):
            getattr(static, item.name).copy_(value)
