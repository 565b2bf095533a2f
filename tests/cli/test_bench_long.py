"""The long benchmark's parts: the endless scene, the meter, the figures, the plot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sam2long.bench import long_run
from sam2long.bench.long_run import Contestant, EndlessDisks, Meter, summary
from sam2long.cli import bench_long
from sam2long.cli.errors import Parser, UserError
from sam2long.model_choice import embedded_model

CPU = torch.device("cpu")


def test_the_scene_goes_on_where_another_began() -> None:
    whole, later = EndlessDisks(10_000, 2), EndlessDisks(200, 2, first=9_800)
    assert np.array_equal(whole[9_950], later[150])
    assert not np.array_equal(whole[9_950], whole[9_951])
    assert all(whole.visible(t, k).any() for t in range(0, 10_000, 97) for k in (0, 1))
    behind, in_front = (whole.visible(0, k) for k in (0, 1))
    assert not (behind & in_front).any()


def test_the_meter_counts_ticks_and_its_own_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(long_run.time, "perf_counter", lambda: now[0])
    meter = Meter(CPU)

    def frames() -> Any:
        for t in range(6):
            now[0] += 0.010
            meter.tick()
            if t % 2:  # two frames at a time
                yield t - 1
                yield t

    for _ in meter.watch(frames()):
        now[0] += 5.0  # what the consumer does does not count
        meter.tick()
    assert len(meter.wall_s) == 6
    assert meter.frame_ms()["wall"] == pytest.approx([10.0] * 5)
    assert meter.pending == [1, 2, 1, 2, 1, 2]
    assert meter.num_yielded == 6
    assert all(used > 2**20 for used in meter.host_bytes)


def measured(num_frames: int, late_ms: float, growth: int) -> Meter:
    """A run in which a frame takes 10 ms, the last hundred `late_ms`, and memory grows evenly."""
    meter = Meter(CPU)
    times = np.cumsum([10.0] * (num_frames - 100) + [late_ms] * 100) / 1000
    meter.wall_s = meter.cpu_s = times.tolist()
    meter.host_bytes = [10**8 + growth * t for t in range(num_frames)]
    meter.pending = [t % 4 for t in range(num_frames)]
    meter.pathways = [2] * num_frames
    return meter


@pytest.fixture
def result() -> dict[str, Any]:
    contestant = Contestant("memory tree", embedded_model("cpu"), 5000, 2, is_sam2=False)
    return {**summary(measured(5000, 12.0, 600), measured(200, 11.0, 0), contestant), "mean_iou": 0.9}


def test_the_figures(result: dict[str, Any]) -> None:
    assert result["cpu_ms"] == pytest.approx(
        {"early": 10, "late": 12, "late_over_early": 1.2, "fresh_video_meanwhile": 11, "late_over_fresh": 12 / 11}
    )
    assert result["host_bytes_per_object_and_frame"] == pytest.approx(300)
    assert result["device_bytes_per_object_and_frame"] is None
    assert result["most_pending"] == 3
    assert {len(values) for key, values in result["curve"].items() if key != "device_mb"} == {208}
    assert "300 bytes per object and frame" in bench_long.describe_result(result)


def test_the_report_and_the_plot_are_written(result: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = {"results": [result], "frames": 5000, "objects": 2, "device": "a machine"}
    bench_long._write(report, tmp_path / "results" / "long-0.1")
    assert json.loads((tmp_path / "results" / "long-0.1.json").read_text()) == report
    with Image.open(tmp_path / "results" / "long-0.1.png") as image:
        assert image.width > 1000
    assert len(list((tmp_path / "results").iterdir())) == 2


def options(*given: str) -> argparse.Namespace:
    parser = Parser()
    bench_long.add_arguments(parser)
    return parser.parse_args(list(given))


def test_sam2_gets_the_frames_that_fit() -> None:
    model = embedded_model("cpu")
    frame_gb = bench_long._frame_bytes(model) / 2**30
    names = {
        c.name: c.num_frames for c in bench_long._contestants(options("--sam2-memory", str(600.5 * frame_gb)), model)
    }
    assert names == {"memory tree": 10_000, "memory tree, every frame uncertain": 10_000, "SAM 2": 600}
    assert len(bench_long._contestants(options("--sam2-memory", "0"), model)) == 2


@pytest.mark.parametrize("given", [("--frames", "10"), ("--objects", "0"), ("--max-pending", "-1")])
def test_what_cannot_be_run_is_refused(given: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="at least 500"):
        bench_long.run(options(*given))
