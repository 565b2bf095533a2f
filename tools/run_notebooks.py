"""Runs the notebooks and stores what they show: `make notebooks`, or `python tools/run_notebooks.py NAME.ipynb ...`."""

from __future__ import annotations

import argparse
import resource
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


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    for path in parser.parse_args().notebooks or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        start, cpu = time.monotonic(), _cpu_s()
        run(notebook)
        with replacing(path) as part:
            nbformat.write(notebook, part)
        size = path.stat().st_size / 1024
        took = f"{time.monotonic() - start:.0f} s ({_cpu_s() - cpu:.0f} of processor time)"
        print(f"{path.name}: {took}, {size:.0f} KB", file=sys.stderr)


if __name__ == "__main__":
    main()
