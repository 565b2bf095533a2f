"""`sam2long studio` as a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support import ROOT

from sam2long.cli import main
from sam2long.cli.demo import CLIP


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["studio", "--no-browser", *arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    return line


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "sam2long[studio]" in refused(capsys)


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--port 70000" in refused(capsys, "--port", "70000")
    pytest.importorskip("gradio", reason="needs Gradio: pip install gradio")
    missing = tmp_path / "missing.mp4"
    assert str(missing) in refused(capsys, str(missing), "--session", str(tmp_path / "kept"))
    (tmp_path / "text.mp4").write_text("no video")
    assert "text.mp4" in refused(capsys, str(tmp_path / "text.mp4"), "--session", str(tmp_path / "kept"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted(how: signal.Signals, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="needs Gradio: pip install gradio")
    command = [sys.executable, "-m", "sam2long", "studio", str(CLIP), "--no-browser", "--session", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().split()[-1]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"sam2long studio" in answer.read()
        assert "kept in" in child.stdout.readline()
        child.stdout.readline()
        child.send_signal(how)
        assert child.wait(60) == 0
    assert list(tmp_path.glob("demo-*/studio.json"))
