"""The documents: the site builds without a warning, links lead somewhere, papers are cited, containers fit."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support import ROOT

from sam2long import __version__
from sam2long.cli import _parser as parser_of

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench/README.md", ROOT / "spaces/README.md"]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def extras() -> set[str]:
    table = PYPROJECT.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    return set(re.findall(r"^([a-z]+) = \[", table, re.MULTILINE))


def named_extras(text: str) -> set[str]:
    return {name for names in re.findall(r"sam2long\[([a-z,]+)\]", text) for name in names.split(",")}


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: a broken link, a page that is not listed or a docstring that cannot be read is an error."""
    for package in ("mkdocs", "material", "mkdocstrings", "nbconvert"):
        pytest.importorskip(package, reason="extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "site/reference/predictor.html").read_text(encoding="utf-8")
    assert "Make an alternative the answer" in page  # of a class below the predictor's: members are inherited
    assert (tmp_path / "site/notebooks/getting_started.html").exists()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    missing = [link for link in LINK.findall(prose) if "://" not in link and not (path.parent / link).exists()]
    assert not missing


def test_papers_are_cited() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["title"], citation["version"]) == ("sam2long", __version__)
    cited = [each["value"] for reference in citation["references"] for each in reference["identifiers"]]
    assert cited == ["arXiv:2410.16268", "arXiv:2408.00714"]
    assert f'version = "{__version__}"' in PYPROJECT


def test_containers_ask_for_extras_that_there_are() -> None:
    requirements = (ROOT / "spaces/requirements.txt").read_text(encoding="utf-8")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert named_extras(requirements) == {"studio", "hub"}
    installed = set(re.findall(r'"/opt/sam2long\[([a-z,]+)\]"', dockerfile)[0].split(","))
    assert installed <= extras()
    assert {"studio", "video", "state"} <= installed


def space() -> ModuleType:
    spec = importlib.util.spec_from_file_location("space_app", ROOT / "spaces/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_space_starts_the_studio() -> None:
    front = yaml.safe_load((ROOT / "spaces/README.md").read_text(encoding="utf-8").split("---")[1])
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    arguments = space().arguments({})
    read = parser_of(arguments).parse_args(arguments)
    assert (read.host, read.port, read.no_browser) == ("0.0.0.0", 7860, True)
    assert front["models"] == [str(read.checkpoint)]
    own = space().arguments({"SAM2LONG_CHECKPOINT": "demo", "SAM2LONG_SESSIONS": "/data/sessions"})
    assert "--checkpoint" not in own
    assert own[own.index("--session") + 1] == "/data/sessions"


def test_installs_without_isolation_bring_the_setuptools_that_is_needed() -> None:
    """A new virtual environment of Python 3.11 has an older one, which does not know the licence's form."""
    (floor,) = re.findall(r'^requires = \["(setuptools[^"]+)"\]', PYPROJECT, re.MULTILINE)
    for name, times in (("Makefile", 1), ("docs/quickstart.md", 2), ("Dockerfile", 1)):
        text = (ROOT / name).read_text()
        assert text.count(floor) == len(re.findall(r"install\b[^\n]*\bsetuptools", text)) == times, name
