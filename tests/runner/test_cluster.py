"""A job on a Ray cluster of this machine's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dataset_trees import plain_dataset, read_pngs
from support import GOLDEN, ROOT
from vos_jobs import vos_job

from sam2long.cli import main
from sam2long.runner import run_job

VIDEOS = {"alpha": 4, "beta": 300, "gamma": 5}
MODEL = ["--config", str(GOLDEN / "model.yaml"), "--checkpoint", str(GOLDEN / "model.pt"), "--device", "cpu"]


def test_without_ray_the_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    plain_dataset(tmp_path)
    command = ["vos", "--dataset", "custom", str(tmp_path), "-o", str(tmp_path / "out"), *MODEL]
    assert main([*command, "--ray"]) == 2
    assert "pip install 'sam2long[cluster]'" in capsys.readouterr().err
    assert main([*command, "--ray-address", "auto"]) == 2
    assert "belong to --ray" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the lock of a process")
def test_a_killed_worker_is_replaced_and_results_are_those_of_one_machine(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    layout = plain_dataset(tmp_path / "data", VIDEOS)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sam2long", "vos", "--dataset", "custom", str(tmp_path / "data"), "-o", str(out)]
    options = [*MODEL, "--num_pathway", "1", "--ray", "--workers", "2", "--json-progress"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment) as job:
        while job.poll() is None and len(list(out.glob(".beta.part/beta/*"))) < 3:
            time.sleep(0.1)
        os.kill(int((out / ".beta.lock").read_text()), signal.SIGKILL)
        assert job.stdout is not None
        events = [json.loads(line) for line in job.stdout]
    assert job.returncode == 0
    assert [event["name"] for event in events if event.get("outcome") == "restarted"] == ["beta"]
    assert (events[-1]["event"], events[-1]["done"]) == ("end", 3)
    run_job(vos_job(layout, tmp_path / "alone"), workers=0)
    expected, found = read_pngs(tmp_path / "alone"), read_pngs(out)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
