"""Jobs that end in the middle: nothing half written stays, and the next run finishes the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import plain_dataset, read_pngs
from support import GOLDEN, ROOT
from vos_jobs import TREE, golden_settings, vos_job

from sam2long.cli.job_progress import conclude
from sam2long.datasets import DatasetLayout
from sam2long.runner import output, run_job
from sam2long.runner.locks import locked
from sam2long.runner.processes import WorkersFailedError

VIDEOS = {"alpha": 4, "beta": 40, "gamma": 5}


def command(layout: DatasetLayout, out: Path, *options: str) -> list[str]:
    model = ["--config", str(GOLDEN / "model.yaml"), "--checkpoint", str(GOLDEN / "model.pt"), "--device", "cpu"]
    data = [
        "--base_video_dir",
        str(layout.frames),
        "--input_mask_dir",
        str(layout.masks),
        "--output_mask_dir",
        str(out),
    ]
    return [sys.executable, "-m", "sam2long", "vos", *data, *model, "--num_pathway", "1", *options]


def in_the_middle(process: subprocess.Popen[str]) -> None:
    """Wait until frames of the first video (the longest) have been written."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["frames_done"] > 0:
            return
    raise AssertionError("the job has ended")


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()]


def tracking_children(pid: int) -> list[int]:
    """The workers among a driver's children; the other one is Python's own resource tracker."""
    return [child for child in children(pid) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_driver_leaves_nothing_half_done_and_the_rest_is_finished(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data", {**VIDEOS, "beta": 300})
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command(layout, out, "--json-progress"), stdout=subprocess.PIPE, text=True, env=environment
    ) as job:
        in_the_middle(job)
        workers = tracking_children(job.pid)
        job.kill()
    assert job.returncode == -signal.SIGKILL
    for _ in range(1200):  # workers end with their driver
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert list((out / ".beta.part" / "beta").iterdir())  # it was at work
    assert not (out / "beta").exists()
    done = subprocess.run(command(layout, out, "--quiet"), env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {video: len(list((out / video).iterdir())) for video in VIDEOS} == {"alpha": 4, "beta": 300, "gamma": 5}
    assert sorted(path.name for path in out.iterdir()) == ["alpha", "beta", "gamma", "run.json"]
    record = json.loads((out / "run.json").read_text())
    assert record["videos"].keys() == VIDEOS.keys()
    assert ["ended" in run for run in record["runs"]] == [False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_worker_is_replaced_and_its_video_tracked_again(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data", {**VIDEOS, "beta": 300})
    out = tmp_path / "out"
    with subprocess.Popen(
        command(layout, out, "--json-progress"),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as job:
        in_the_middle(job)
        for pid in tracking_children(job.pid):
            os.kill(pid, signal.SIGKILL)
        assert job.stdout is not None
        events = [json.loads(line) for line in job.stdout]
    assert job.returncode == 0
    restarted = [event for event in events if event.get("outcome") == "restarted"]
    assert [event["name"] for event in restarted] == ["beta"]
    assert "signal 9" in restarted[0]["reason"]
    assert events[-1]["done"] == 3
    assert events[-2]["frames_done"] == events[-2]["frames_total"] == 309
    assert len(list((out / "beta").iterdir())) == 300


def test_finished_videos_are_not_tracked_again(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data")
    out = tmp_path / "out"
    assert run_job(vos_job(replace(layout, videos=("beta",)), out), workers=0).done == ["beta"]
    (out / "beta" / "00000.png").write_bytes(b"mine")
    again = run_job(vos_job(layout, out), workers=0)
    assert (again.done, again.skipped) == (["alpha"], ["beta"])
    assert (out / "beta" / "00000.png").read_bytes() == b"mine"
    videos = json.loads((out / "run.json").read_text())["videos"]
    assert {name: (of["frames"], of["objects"], of["run"]) for name, of in videos.items()} == {
        "alpha": (6, 2, 1),
        "beta": (5, 2, 0),
    }


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data")
    out = tmp_path / "out"
    about = {"memory_tree": {"num_pathways": 1}}
    run_job(vos_job(replace(layout, videos=("alpha",)), out, about=about), workers=0)
    with pytest.raises(ValueError, match=r"other settings \(memory_tree.num_pathways 1 there, 3 here\)"):
        run_job(vos_job(layout, out, TREE, about={"memory_tree": {"num_pathways": 3}}), workers=0)
    with pytest.raises(ValueError, match=r"\(precision fp32 there, bf16 here\)"):
        run_job(vos_job(layout, out, settings=golden_settings(precision="bf16"), about=about), workers=0)
    settings = golden_settings()
    ruled = replace(settings, model=replace(settings.model, policy="motion"))
    with pytest.raises(ValueError, match=r"\(policy None there, motion here\)"):
        run_job(vos_job(layout, out, settings=ruled, about=about), workers=0)
    assert not (out / "beta").exists()
    assert len(json.loads((out / "run.json").read_text())["runs"]) == 1


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data")
    with pytest.raises(ValueError, match=r"holds JPEGImages and no run\.json|holds Annotations and no run\.json"):
        run_job(vos_job(layout, tmp_path / "data"), workers=0)
    assert not (tmp_path / "data" / "run.json").exists()


def test_what_another_job_is_at_is_left_to_it(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data")
    out = tmp_path / "out"
    out.mkdir()
    with locked(out / ".alpha.lock") as held:
        assert held
        outcome = run_job(vos_job(layout, out), workers=0)
        assert (outcome.done, outcome.taken, outcome.failed) == (["beta"], ["alpha"], {})
    assert run_job(vos_job(layout, out), workers=0).done == ["alpha"]


def test_two_jobs_share_a_folder(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data", {f"v{k}": 4 for k in range(6)})
    out = tmp_path / "out"
    jobs = [
        subprocess.Popen(command(layout, out, "--quiet"), env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(2)
    ]
    assert [job.wait() for job in jobs] == [0, 0]
    run_job(vos_job(layout, tmp_path / "alone"), workers=0)
    expected, found = read_pngs(tmp_path / "alone"), read_pngs(out)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    record = json.loads((out / "run.json").read_text())
    assert sum(run["done"] for run in record["runs"]) == len(record["videos"]) == 6


def test_ranks_share_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    layout = plain_dataset(tmp_path / "data", {"a": 2, "b": 4, "c": 3})
    out = tmp_path / "out"
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        outcome = run_job(vos_job(layout, out), workers=0)
        assert conclude(outcome, "out", silent=False) == 0
        assert f"share {rank} of 2" in capsys.readouterr().out
        done.append(outcome.done)
    assert done == [["b", "a"], ["c"]]  # the longest first, in turns
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(ValueError, match="RANK=2 is out of range"):
        run_job(vos_job(layout, out), workers=0)
    monkeypatch.delenv("RANK")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "3")
    assert run_job(vos_job(layout, tmp_path / "slurm"), workers=0).done == ["c"]


def test_a_full_disk_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = plain_dataset(tmp_path / "data")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sam2long.runner.tasks.write_png", full)
    with pytest.raises(WorkersFailedError, match="No space left on device"):
        run_job(vos_job(layout, tmp_path / "out"), workers=0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]
    monkeypatch.undo()
    assert len(run_job(vos_job(layout, tmp_path / "out"), workers=0).done) == 2


def test_results_are_put_in_their_place_when_they_are_whole(tmp_path: Path) -> None:
    layout = plain_dataset(tmp_path / "data")
    task = vos_job(layout, tmp_path).tasks[0]

    def publish_and_fail() -> None:
        with output.publishing(task) as folder:
            assert folder is not None
            (folder / "alpha").mkdir()
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        publish_and_fail()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def heed_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and these tests may run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_ends_its_workers_and_says_so(tmp_path: Path, how: signal.Signals) -> None:
    layout = plain_dataset(tmp_path / "data", {"alpha": 4, "beta": 300})
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command(layout, out, "--json-progress"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=heed_ctrl_c,
    ) as job:
        in_the_middle(job)
        workers = tracking_children(job.pid)
        job.send_signal(how)
        _, error = job.communicate()
    assert (job.returncode, error) == (130, "sam2long: interrupted\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    run = json.loads((out / "run.json").read_text())["runs"][0]
    assert (run["done"], "ended" in run) == (0, True)
    assert [path.name for path in out.iterdir()] == ["run.json"]  # nothing hidden is left
