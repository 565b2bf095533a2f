"""Runs the notebooks and stores what they show: `python tools/run_notebooks.py [NAME.ipynb ...]`, or `make notebooks`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from sam2long.files import replacing

FOLDER = Path(__file__).parents[1] / "notebooks"
TIMEOUT_S = 240  # of a cell


def run(notebook: nbformat.NotebookNode) -> None:
    """Execute all cells, in an empty folder; outputs and counts of the notebook are replaced."""
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran: another file each time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    for path in parser.parse_args().notebooks or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        start = time.monotonic()
        run(notebook)
        with replacing(path) as part:
            nbformat.write(notebook, part)
        size = path.stat().st_size / 1024
        print(f"{path.name}: {time.monotonic() - start:.0f} s, {size:.0f} KB", file=sys.stderr)


if __name__ == "__main__":
    main()
