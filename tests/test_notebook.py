"""The notebooks are stored with what they show, and run from top to bottom as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# These two go through most of what all use; the others run with the slow tests.
AT_ONCE = {"getting_started", "streams"}
MAX_BYTES = 600 * 1024

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook: Any) -> list[str]:
    found = [output.get("data", {}).get("image/png") for output in outputs(notebook)]
    return [picture for picture in found if picture]


def texts(notebook: Any) -> str:
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} > AT_ONCE
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_with_what_it_shows(path: Path) -> None:
    """All cells ran, in order, without errors or warnings, and no folder of the machine they ran on is told."""
    assert path.stat().st_size <= MAX_BYTES
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, 1 + len(code)))
    assert not [
        output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert len(pictures(notebook)) >= 2
    assert all(len(picture) > 5000 for picture in pictures(notebook))
    assert not re.search(r"/(home|root|work|tmp|usr)/", texts(notebook))


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.stem in AT_ONCE else pytest.mark.slow, id=path.stem) for path in NOTEBOOKS],
)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    """It shows as many pictures as are stored, and says as much."""
    notebook = nbformat.read(path, as_version=4)
    stored_pictures, stored_lines = len(pictures(notebook)), texts(notebook).count("\n")
    client = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert len(pictures(notebook)) == stored_pictures
    assert all(len(picture) > 5000 for picture in pictures(notebook))
    assert texts(notebook).count("\n") == stored_lines
