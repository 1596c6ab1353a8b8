"""The first sheet of an Excel workbook, by openpyxl (extra ``excel``), within limits."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ampmix.data.tables.csv_rows import MOST_COLUMNS
from ampmix.data.tables.table import as_text, fault, shown
from ampmix.data.tables.unpacked import AT_LEAST, TIMES
from ampmix.errors import AmpmixError

SUFFIXES = (".xlsx", ".xlsm")
MOST_ROWS = 2**20  # of a sheet; a few bytes can claim a row far below
MOST_CELLS = 2**26


def read_sheet(path: Path, raw: bytes) -> tuple[list[list[str]], list[str]]:
    """Rows of the first sheet as text, without empty ones, and notes.

    Raises:
        AmpmixError: without openpyxl, or if it is no workbook.
    """
    try:
        import openpyxl
    except ImportError:
        raise fault(
            path, "is an Excel workbook: pip install 'ampmix[excel]', or save it as .csv"
        ) from None
    try:
        _check_size(path, raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on styles that it does not know
            book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
            names, sheet = book.sheetnames, book.worksheets[0]
            sheet.reset_dimensions()  # some programs write wrong ones
            rows = list(_rows(path, sheet.iter_rows(values_only=True)))
    except AmpmixError:
        raise
    except Exception as error:  # the library raises a dozen kinds of what it finds in a file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise fault(
            path, f"is no Excel workbook or is damaged ({shown(reason)}): save it as .csv"
        ) from None
    if not rows:
        raise fault(path, "is empty")
    if len(names) == 1:
        return rows, []
    return rows, [
        f"of the {len(names)} sheets of {path.name} the first, {shown(names[0])}, is read"
    ]


def _check_size(path: Path, raw: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        size = sum(one.file_size for one in archive.infolist())
    if size > max(AT_LEAST, TIMES * len(raw)):
        raise fault(path, f"unpacks to more than {TIMES} times its size: it is no table of texts")


def _rows(path: Path, rows: Iterator[tuple[Any, ...]]) -> Iterator[list[str]]:
    """The rows that hold something, as wide as they are filled."""
    cells = 0
    for number, row in enumerate(rows, start=1):
        cells += len(row)
        if number > MOST_ROWS or cells > MOST_CELLS or len(row) > MOST_COLUMNS:
            raise fault(
                path,
                f"has more than {MOST_ROWS:,} rows, {MOST_COLUMNS:,} columns or {MOST_CELLS:,} "
                "cells: save the part that holds the texts as .csv",
            )
        texts = [as_text(cell) for cell in row]
        while texts and not texts[-1]:
            texts.pop()
        if texts:
            yield texts
