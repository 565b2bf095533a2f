"""A table of results, every cell marked as published or as measured here, with what it was measured from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam2long.evaluation.report import table

PAPER, MEASURED = "paper", "measured here"
# Benchmarks whose tools give their global numbers in percent; the others' are fractions.
IN_PERCENT = ("vos", "sav", "mosev2", "lasot")


@dataclass(frozen=True)
class Cell:
    """One number of the table, in percent.

    Attributes:
        row, column: where it stands.
        source: `PAPER` or `MEASURED`.
        note: where it comes from: a publication, or evaluator, files and settings.
    """

    row: str
    column: str
    value: float
    source: str
    note: str


def measured_cells(row: str, column: str, result: Mapping[str, Any], file: str) -> list[Cell]:
    """The cell of an evaluation; of one with `--compare` a cell for each prediction, in rows `ROW (NAME)`.

    Raises:
        ValueError: it is no evaluation.
    """
    others = result.get("compared", {}) if isinstance(result, Mapping) else {}
    if not others:
        return [measured_cell(row, column, result, file)]
    try:
        predictions = {result["comparison"]["base"]: result, **others}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is no evaluation of `sam2long eval --json` ({error!r})") from error
    return [measured_cell(f"{row} ({name})", column, of, file) for name, of in predictions.items()]


def measured_cell(row: str, column: str, result: Mapping[str, Any], file: str) -> Cell:
    """The headline of an evaluation (`sam2long eval --json`), with the evaluator and the predictions it scored.

    Raises:
        ValueError: it is no evaluation.
    """
    try:
        headline = result["headline"]
        value = float(result["global"][headline["key"]])
        videos = len(result["per_video"])
        note = f"{headline['key']} of {videos} videos by {result['tool']}; {result['pred']}; {file}"
        scale = 1 if result["benchmark"] in IN_PERCENT else 100
        return Cell(row, column, scale * value, MEASURED, note)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is no evaluation of `sam2long eval --json` ({error!r})") from error


def markdown_table(cells: Sequence[Cell]) -> str:
    """Rows and columns in the order of the cells, every number with its mark, and notes below.

    Raises:
        ValueError: two cells stand in one place, or there is none.
    """
    if not cells:
        raise ValueError("a table needs a cell")
    places: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        if (cell.row, cell.column) in places:
            raise ValueError(f"two cells stand in row {cell.row!r}, column {cell.column!r}")
        places[cell.row, cell.column] = cell
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*places, strict=True))
    notes = list(dict.fromkeys(cell.note for cell in cells))

    def shown(row: str, column: str) -> str:
        cell = places.get((row, column))
        if cell is None:
            return ""
        value = "n/a" if math.isnan(cell.value) else f"{cell.value:.1f}"
        return f"{value} ({cell.source}) [{notes.index(cell.note) + 1}]"

    lines = [[row, *(shown(row, column) for column in columns)] for row in rows]
    below = "\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1))
    return f"{table(['', *columns], lines)}\n\n{below}\n"


def csv_lines(cells: Sequence[Cell]) -> list[list[str]]:
    """A line per cell, at full precision, under a header."""
    header = ["row", "column", "value", "source", "note"]
    return [header, *([cell.row, cell.column, repr(cell.value), cell.source, cell.note] for cell in cells)]
