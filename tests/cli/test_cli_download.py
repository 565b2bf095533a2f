"""`sam2long download` from a local server, and checkpoints by their Hugging Face id."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from PIL import Image
from support import GOLDEN, ROOT

from sam2long.cli import main
from sam2long.cli.download import url_of
from sam2long.model_choice import OFFICIAL_CONFIGS, ModelChoice

WEIGHTS = (GOLDEN / "model.pt").read_bytes()


class Server(ThreadingHTTPServer):
    content = WEIGHTS
    asked: list[tuple[str, str | None]]
    send = len(WEIGHTS)  # bytes, before the connection breaks


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        content = self.server.content
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.server.send])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        monkeypatch.setenv("SAM2LONG_CHECKPOINT_URL", f"http://127.0.0.1:{running.server_address[1]}")
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_a_download_arrives_whole_and_resumes(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["download", "sam2.1_hiera_tiny", "-o", str(tmp_path)]
    server.send = 1000
    assert main(command) == 1
    assert f"1000 of {len(WEIGHTS)} bytes came (run again to resume)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["sam2.1_hiera_tiny.pt.part"]
    server.send = len(WEIGHTS)
    assert main(command) == 0
    assert (tmp_path / "sam2.1_hiera_tiny.pt").read_bytes() == WEIGHTS
    assert server.asked == [("/092824/sam2.1_hiera_tiny.pt", None), ("/092824/sam2.1_hiera_tiny.pt", "bytes=1000-")]
    assert main(command) == 0
    assert "is already here" in capsys.readouterr().out
    assert len(server.asked) == 2
    (tmp_path / "sam2.1_hiera_tiny.pt").rename(tmp_path / "sam2.1_hiera_tiny.pt.part")  # killed before it was named
    assert main(command) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["sam2.1_hiera_tiny.pt"]


def test_what_is_no_checkpoint_is_not_kept(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.content = b"<!DOCTYPE html><html>log in</html>"
    assert main(["download", "sam2_hiera_small", "-o", str(tmp_path)]) == 1
    assert "it is a web page" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["download", "sam2_hiera_huge", "-o", str(tmp_path)]) == 2
    assert "unknown checkpoint 'sam2_hiera_huge'; known: sam2.1_hiera_tiny" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_addresses_are_those_of_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAM2LONG_CHECKPOINT_URL", raising=False)
    script = (ROOT / "checkpoints" / "download_ckpts.sh").read_text()
    functions = script[: script.index('for name in "$@"')]
    for name in OFFICIAL_CONFIGS:
        printed = subprocess.run(["bash", "-c", f"{functions}\nurl_of {name}"], capture_output=True, text=True)
        assert url_of(name) == printed.stdout.strip()
        assert url_of(name).startswith("https://dl.fbaipublicfiles.com/segment_anything_2/")


def test_a_checkpoint_by_its_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "video"
    video.mkdir()
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(video / "0.png")
    asked: list[dict[str, Any]] = []
    built: list[ModelChoice] = []

    def download(**kwargs: Any) -> str:
        asked.append(kwargs)
        return str(GOLDEN / "model.pt")

    def build(self: ModelChoice, **settings: Any) -> None:
        built.append(self)
        raise ValueError("built")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(ModelChoice, "build", build)
    command = ["track", str(video), "--point", "3,4", "-o", str(tmp_path / "out"), "--checkpoint"]
    assert main([*command, "facebook/sam2.1-hiera-large"]) == 2
    assert asked == [{"repo_id": "facebook/sam2.1-hiera-large", "filename": "sam2.1_hiera_large.pt"}]
    assert built[0].config == "configs/sam2.1/sam2.1_hiera_l.yaml"
    assert built[0].checkpoint == GOLDEN / "model.pt"
    capsys.readouterr()
    assert main([*command, "facebook/sam2.1-hiera-huge"]) == 2
    assert "unknown model id 'facebook/sam2.1-hiera-huge'; known: " in capsys.readouterr().err

    def offline(**kwargs: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    assert main([*command, "facebook/sam2.1-hiera-tiny"]) == 1
    assert "cannot fetch facebook/sam2.1-hiera-tiny: no network" in capsys.readouterr().err
