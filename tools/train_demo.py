"""Trains the embedded demo model from nothing, on synthetic clips, with SAM 2's own modules.

From nothing to the committed kind of model on one GPU (a CPU works too, far slower); checkpoints/demo.md tells how the
committed one was made and what it can do:

    python tools/train_demo.py --device cuda --minutes 13.5 --photographs 0.25 --out outputs/demo_model

It writes `demo.pt` (fp16 weights for `configs/demo.yaml`), `curves.jsonl`, `curves.png`, `heads.json` (what the heads
mean on held-out clips), `state.pt` and `optimiser.pt`; the same command with `--resume outputs/demo_model` goes on.
`--start checkpoints/demo.pt --curriculum long` trains the committed weights on, on longer clips; to go on with such
a run, give `--resume` in the place of `--start`, and `--curriculum long` again.
With `--fit-clips` the two score heads are fitted on whole clips after the curriculum (tools/demo_head_fit.py).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from demo_data import CURRICULA, SceneStream, Stage, copy_into, make_batch
from demo_head_fit import fit_heads
from demo_heads import measure_heads
from demo_losses import clip_losses
from demo_model import build_model, save_file, save_half
from demo_options import parse
from demo_rollout import ClipBatch, Rollout
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.utils.data import DataLoader

from sam2long.synthetic.textures import ResidentBank

_log = logging.getLogger("train_demo")


class Step:
    """Forward and backward of one batch: replayed as a CUDA graph where asked, else run eagerly.

    The model is small and its steps are many tiny kernels: launched one by one they leave a GPU idle.
    """

    def __init__(self, model: SAM2Base, *, graphed: bool) -> None:
        self.model, self.graphed = model, graphed
        self.rollout = Rollout(model)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.static: ClipBatch | None = None
        self.losses: dict[str, Tensor] = {}
        self.read = torch.cuda.Event() if graphed else None  # when the last batch has been taken over

    def _run(self, batch: ClipBatch) -> dict[str, Tensor]:
        # Without its cache autocast leaves no half-precision weights behind that a graph would reuse.
        with torch.autocast("cuda", torch.bfloat16, enabled=batch.frames.is_cuda, cache_enabled=not self.graphed):
            outputs = self.rollout(batch)
        losses = clip_losses(outputs, batch)
        losses["total"].backward()
        return {name: value.detach() for name, value in losses.items()}

    def _capture(self, batch: ClipBatch) -> None:
        self.static = batch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._run(batch)
                self.model.zero_grad(set_to_none=True)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.empty_cache()  # a graph has a memory pool of its own
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.losses = self._run(batch)

    def __call__(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Losses of `batch`; the gradients lie in the parameters afterwards."""
        if not self.graphed:
            self.model.zero_grad(set_to_none=True)
            return self._run(batch)
        if self.graph is None or self.static is None:
            self.model.zero_grad(set_to_none=True)
            self._capture(batch)
        else:
            copy_into(self.static, batch)
        assert self.graph is not None
        assert self.read is not None
        self.read.record()
        self.graph.replay()  # overwrites the gradients
        return self.losses


class Trainer:
    """Owns the model, its running average, the optimiser and the clock.

    Args:
        options: the command line's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        self.model = build_model(options.config, self.device, options.start)
        self.average = build_model(options.config, self.device).eval().requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=self.device.type == "cuda")
        self.step, self.trained_s, self.warm_from = 0, 0.0, 0
        self.options.out.mkdir(parents=True, exist_ok=True)
        if options.resume:
            self._load(options.resume)

    def _load(self, folder: Path) -> None:
        state = torch.load(folder / "state.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.step, self.trained_s = state["step"], state["trained_s"]
        half = torch.load(folder / "demo.pt", map_location=self.device, weights_only=True)
        self.average.load_state_dict(half["model"])
        moments = folder / "optimiser.pt"
        if moments.exists():
            self.optimiser.load_state_dict(torch.load(moments, map_location=self.device, weights_only=True))
        else:
            self.warm_from = self.step
        _log.info("resumed at step %d after %.0f s", self.step, self.trained_s)

    def save(self) -> None:
        """Writes the fp16 model and what --resume needs, each file whole or not at all."""
        save_half(self.average, self.options.out / "demo.pt")
        save_file(self.optimiser.state_dict(), self.options.out / "optimiser.pt")
        state = {"model": self.model.state_dict(), "step": self.step, "trained_s": self.trained_s}
        save_file(state, self.options.out / "state.pt")

    @property
    def progress(self) -> float:
        """Share of the planned training time that is over, in [0, 1]."""
        return min(1.0, self.trained_s / (60 * self.options.minutes))

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step - self.warm_from + 1) / 200)
        return self.options.lr * warm * max(0.01, 0.5 + 0.5 * math.cos(math.pi * self.progress))

    def _update(self) -> None:
        rate = self._learning_rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
        self.optimiser.step()
        decay = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def train(self) -> None:
        """Runs the curriculum until the planned time is over (or this run's --stop-after)."""
        bank = ResidentBank(
            "train", self.device, size=self.options.textures, photographs=self.options.photographs, varied=True
        )
        deadline = time.monotonic() + 60 * (self.options.stop_after or math.inf)
        for number, stage in enumerate(CURRICULA[self.options.curriculum]):
            if self.progress < stage.until and time.monotonic() < deadline:
                _log.info("stage %d: %s", number, stage)
                self._train_stage(stage, bank, deadline)
        self.save()

    def _loader(self, stage: Stage, clips: int) -> DataLoader[object]:
        stream = SceneStream(stage, clips, first_seed=(self.step + 1) * 1000)
        workers = self.options.workers
        return DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)

    def _batches(self, stage: Stage, clips: int, bank: ResidentBank, step: Step) -> Iterator[ClipBatch]:
        """Rendered batches; with a graph the next one is drawn on a stream of its own while the last one trains."""
        scenes = iter(self._loader(stage, clips))
        size = self.model.image_size
        if step.read is None:
            for packed in scenes:
                yield make_batch(packed, size, bank, stage, self.device)
        assert step.read is not None
        yield make_batch(next(scenes), size, bank, stage, self.device)  # becomes the graph's own input
        side = torch.cuda.Stream()
        while True:
            side.wait_event(step.read)  # the memory drawn into may be what the step before was still reading
            with torch.cuda.stream(side):
                batch = make_batch(next(scenes), size, bank, stage, self.device)
            torch.cuda.current_stream().wait_stream(side)
            yield batch

    def _train_stage(self, stage: Stage, bank: ResidentBank, deadline: float) -> None:
        options = self.options
        clips = max(5, round(stage.clips * options.batch_scale))
        self.model.zero_grad(set_to_none=True)  # the last stage's gradients lie in its graph's memory
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        step = Step(self.model, graphed=options.graphed)
        last = time.monotonic()
        noted, noted_step, saved = last, self.step, last
        for batch in self._batches(stage, clips, bank, step):
            losses = step(batch)
            self._update()
            self.step += 1
            if self.step % options.log_every == 0:
                values = {name: round(float(value), 4) for name, value in losses.items()}  # waits for the GPU
                now = time.monotonic()
                rate = (self.step - noted_step) * clips * stage.num_frames / (now - noted)
                self._note(values, rate)
                noted, noted_step = now, self.step
                if now - saved > 100:
                    self.save()
                    saved = now
            now = time.monotonic()
            self.trained_s += now - last
            last = now
            if self.progress >= stage.until or now > deadline:
                break

    def _note(self, values: dict[str, float], frames_per_s: float) -> None:
        if not math.isfinite(values["total"]):
            raise RuntimeError(f"the loss is {values['total']} at step {self.step}; lower --lr")
        line = {
            "step": self.step,
            "trained_s": round(self.trained_s, 1),
            "lr": round(self._learning_rate(), 7),
            "frames_per_s": round(frames_per_s),
            **values,
        }
        with open(self.options.out / "curves.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        _log.info("%s", line)


def plot_curves(out: Path) -> None:
    """Draws `curves.jsonl` to `curves.png`; does nothing but say so where matplotlib is missing."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        _log.warning("no plot: pip install matplotlib (extra sam2long[viz])")
        return
    lines = [json.loads(line) for line in (out / "curves.jsonl").read_text(encoding="utf-8").splitlines()]
    names = ("total", "mask", "iou", "score", "alternative", "chosen_iou")
    figure, axes = plt.subplots(2, 3, figsize=(12, 6), sharex=True)
    for axis, name in zip(axes.flat, names, strict=True):
        axis.plot([line["step"] for line in lines], [line[name] for line in lines], lw=0.8)
        axis.set_title(name)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=110)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parse(argv, __doc__ or "")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    trainer = Trainer(options)
    trainer.train()
    plot_curves(options.out)
    if options.fit_clips and trainer.progress == 1.0:
        fit_heads(trainer.average, trainer.device, clips=options.fit_clips, rounds=options.fit_rounds)
        save_half(trainer.average, options.out / "demo.pt")
    if options.heads_clips:
        report = measure_heads(trainer.average, trainer.device, split=options.heads_split, clips=options.heads_clips)
        (options.out / "heads.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        for suite, figures in report.items():
            _log.info("%s %s", suite, {name: round(value, 3) for name, value in figures.items()})


if __name__ == "__main__":
    main()
