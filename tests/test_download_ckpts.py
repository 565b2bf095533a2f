"""checkpoints/download_ckpts.sh against a local server: nothing is fetched from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "checkpoints" / "download_ckpts.sh"
NAMES = [
    f"{version}_hiera_{size}" for version in ("sam2.1", "sam2") for size in ("tiny", "small", "base_plus", "large")
]
PATHS = {f"/{'092824' if name.startswith('sam2.1') else '072824'}/{name}.pt": name for name in NAMES}
TOOLS = ("bash", "dirname", "awk", "tr", "wc", "mv", "rm", "env")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the script needs bash")


def content(name: str) -> bytes:
    return name.encode() * 5000


@dataclass
class Server:
    """An HTTP server holding the eight files, and what it was asked."""

    missing: set[str] = field(default_factory=set)
    cut_after: int | None = None  # bytes sent per request before the connection breaks
    stall: bool = False  # keep the connection open after `cut_after` bytes
    requests: list[tuple[str, str, int]] = field(default_factory=list)  # method, file name, first byte
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            name = PATHS.get(self.path)
            if name is None or name in state.missing:
                self.send_error(404)
                return
            body = content(name)
            asked = self.headers.get("Range")
            first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            state.requests.append((self.command, name, first))
            if first >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body) - first))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            if with_body:
                end = None if state.cut_after is None else first + state.cut_after
                self.wfile.write(body[first:end])
                if state.stall:
                    self.wfile.flush()
                    release.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
    yield state
    release.set()
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(params=["curl", "wget"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH that holds only one of curl and wget."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("bin")
    for tool in (*TOOLS, request.param):
        found = shutil.which(tool)
        assert found is not None, tool
        (folder / tool).symlink_to(found)
    return folder


def environment(client: Path, server: Server, target: Path) -> dict[str, str]:
    return {
        "PATH": str(client),
        "HOME": str(target),
        "SAM2LONG_CHECKPOINT_URL": server.url,
        "SAM2LONG_CHECKPOINT_DIR": str(target),
        "no_proxy": "*",
    }


def download(client: Path, server: Server, target: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *names],
        env=environment(client, server, target),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_all_eight_official_files(client: Path, server: Server, tmp_path: Path) -> None:
    result = download(client, server, tmp_path)
    assert result.returncode == 0, result.stderr
    assert files_in(tmp_path) == {f"{name}.pt": len(content(name)) for name in NAMES}
    for name in NAMES:
        assert (tmp_path / f"{name}.pt").read_bytes() == content(name)


def test_one_file_and_a_second_run_fetches_nothing(client: Path, server: Server, tmp_path: Path) -> None:
    assert download(client, server, tmp_path, "sam2.1_hiera_tiny").returncode == 0
    assert list(files_in(tmp_path)) == ["sam2.1_hiera_tiny.pt"]
    server.requests.clear()
    again = download(client, server, tmp_path, "sam2.1_hiera_tiny")
    assert again.returncode == 0
    assert "already here" in again.stdout
    assert [method for method, _, _ in server.requests] == ["HEAD"]


def test_a_broken_download_resumes_where_it_stopped(client: Path, server: Server, tmp_path: Path) -> None:
    server.cut_after = 1000
    broken = download(client, server, tmp_path, "sam2_hiera_small")
    assert broken.returncode == 1
    assert "cannot download" in broken.stderr
    (part,) = files_in(tmp_path).items()
    assert part[0] == "sam2_hiera_small.pt.part"
    assert 1000 <= part[1] < len(content("sam2_hiera_small"))

    server.cut_after = None
    server.requests.clear()
    assert download(client, server, tmp_path, "sam2_hiera_small").returncode == 0
    assert ("GET", "sam2_hiera_small", part[1]) in server.requests
    assert files_in(tmp_path) == {"sam2_hiera_small.pt": len(content("sam2_hiera_small"))}
    assert (tmp_path / "sam2_hiera_small.pt").read_bytes() == content("sam2_hiera_small")


def test_ctrl_c_leaves_no_half_file_under_the_final_name(client: Path, server: Server, tmp_path: Path) -> None:
    server.cut_after, server.stall = 60_000, True
    process = subprocess.Popen(
        [str(SCRIPT), "sam2_hiera_large"],
        env=environment(client, server, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C, and whatever they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    part = tmp_path / "sam2_hiera_large.pt.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert part.stat().st_size > 0
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert list(files_in(tmp_path)) == [part.name]

    server.cut_after, server.stall = None, False
    assert download(client, server, tmp_path, "sam2_hiera_large").returncode == 0
    assert (tmp_path / "sam2_hiera_large.pt").read_bytes() == content("sam2_hiera_large")


def test_a_part_that_is_whole_is_only_renamed(client: Path, server: Server, tmp_path: Path) -> None:
    (tmp_path / "sam2_hiera_tiny.pt.part").write_bytes(content("sam2_hiera_tiny"))
    assert download(client, server, tmp_path, "sam2_hiera_tiny").returncode == 0
    assert list(files_in(tmp_path)) == ["sam2_hiera_tiny.pt"]
    assert all(method == "HEAD" for method, _, _ in server.requests)


def test_missing_on_the_server_leaves_nothing(client: Path, server: Server, tmp_path: Path) -> None:
    server.missing = {"sam2.1_hiera_large"}
    result = download(client, server, tmp_path, "sam2.1_hiera_large")
    assert result.returncode == 1
    assert "092824/sam2.1_hiera_large.pt" in result.stderr
    assert files_in(tmp_path) == {}


def test_a_truncated_file_from_elsewhere_is_reported(client: Path, server: Server, tmp_path: Path) -> None:
    (tmp_path / "sam2_hiera_tiny.pt").write_bytes(b"half")
    result = download(client, server, tmp_path, "sam2_hiera_tiny")
    assert result.returncode == 1
    assert "has 4 bytes" in result.stderr


def test_unknown_name_lists_the_known_ones_and_fetches_nothing(client: Path, server: Server, tmp_path: Path) -> None:
    result = download(client, server, tmp_path, "sam2.1_hiera_tiny", "sam2.1_hiera_huge")
    assert result.returncode == 2
    assert "sam2.1_hiera_huge" in result.stderr
    assert all(name in result.stderr for name in NAMES)
    assert server.requests == []
    assert files_in(tmp_path) == {}
