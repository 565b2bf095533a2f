"""A table of evaluations (`sam2long eval --json`) and of the paper's numbers, every cell marked as one or the other."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sam2long.cli.errors import UserError
from sam2long.files import replacing

if TYPE_CHECKING:
    from sam2long.evaluation.table import Cell

_EXAMPLE = """example:
  sam2long table --cell "SAM 2" "SA-V val" sam2.json --cell SAM2Long "SA-V val" tree.json --paper "SAM 2.1 Large"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "--cell", nargs=3, action="append", default=[], metavar=("ROW", "COLUMN", "FILE.json"),
        help="a measured cell, from an evaluation (with --compare a row for each prediction); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--paper", metavar="CHECKPOINT", action="append", default=[],
        help="also the paper's rows for a checkpoint, as in 'SAM 2.1 Large', in the columns of the cells",
    )  # fmt: skip
    parser.add_argument("--all-columns", action="store_true", help="of the paper's rows all columns")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table there too")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="a line per cell, at full precision")


def run(args: argparse.Namespace) -> int:
    from sam2long.evaluation.table import csv_lines, markdown_table

    measured = [cell for given in args.cell for cell in _measured(*given)]
    columns = None if args.all_columns or not measured else list(dict.fromkeys(cell.column for cell in measured))
    cells = [*_published(args.paper, columns), *measured]
    try:
        text = markdown_table(cells)
    except ValueError as error:
        raise UserError(f"{error}: give --cell ROW COLUMN FILE.json, or --paper CHECKPOINT") from error
    lines = io.StringIO()
    csv.writer(lines).writerows(csv_lines(cells))
    for path, content in ((args.markdown, text), (args.csv, lines.getvalue())):
        if path is not None:
            _write(path, content)
    print(text, end="")
    return 0


def _measured(row: str, column: str, file: str) -> list[Cell]:
    from sam2long.evaluation.table import measured_cells

    try:
        return measured_cells(row, column, json.loads(Path(file).read_text(encoding="utf-8-sig")), file)
    except FileNotFoundError:
        raise UserError(f"{file} is missing: `sam2long eval ... --json {file}` writes it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {error}") from error


def _published(checkpoints: list[str], columns: list[str] | None) -> list[Cell]:
    from sam2long.datasets.published import METHODS, PUBLISHED, SOURCE
    from sam2long.evaluation.table import PAPER, Cell

    cells = []
    for weights in checkpoints:
        if weights not in PUBLISHED:
            raise UserError(f"--paper {weights}: the paper has {', '.join(PUBLISHED)}")
        if unknown := [column for column in columns or () if column not in PUBLISHED[weights]]:
            raise UserError(
                f"--cell column {unknown[0]!r}: of {weights} the paper has {', '.join(PUBLISHED[weights])}; with "
                "--all-columns columns of your own may stand beside them"
            )
        for k, method in enumerate(METHODS):
            for column, values in PUBLISHED[weights].items():
                if columns is None or column in columns:
                    cells.append(Cell(f"{method} ({weights}, paper)", column, values[k], PAPER, SOURCE))
    return cells


def _write(path: Path, text: str) -> None:
    try:
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}", exit_status=1) from error
