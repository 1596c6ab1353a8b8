"""A whole Parquet file as a table, or what is wrong with it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix.data.tables.parquet_probe import survived
from ampmix.data.tables.table import FileTable, fault, shown

if TYPE_CHECKING:
    import polars

UNPACKED_TIMES, UNPACKED_AT_LEAST = 200, 2**26  # bytes or rows, to the file's bytes
DAMAGED = "is not a Parquet file or is damaged: write it anew"


def read_parquet(path: Path, raw: bytes) -> FileTable:
    """The table in a Parquet file with the bytes `raw`."""
    import polars

    check_parquet(path, _most_unpacked(len(raw)))
    with parquet_explained(path):
        # by its path: early versions of polars scan nothing else
        scanned = polars.scan_parquet(path, glob=False, hive_partitioning=False)
        height = scanned.select(polars.len()).collect().item()
        _check_unpacked(path, height, len(raw))
        frame = polars.read_parquet(io.BytesIO(raw))
        if any(len(frame[name]) != frame.height for name in frame.columns):
            raise ValueError("early versions of polars give damaged columns a length of their own")
        for name in frame.columns:
            if frame[name].dtype == polars.String:
                _check_unpacked(path, int(frame[name].str.len_bytes().sum()), len(raw))
    return FileTable(path, frame.columns, lambda column: parquet_values(path, frame, column))


def _check_unpacked(path: Path, size: int, packed: int) -> None:
    """A few bytes can spell any number of equal texts; those of people hardly shrink to a tenth."""
    if size > _most_unpacked(packed):
        raise fault(
            path,
            f"unpacks to more than {UNPACKED_TIMES} times its size: it is no table of texts, or "
            "one text over and over",
        )


def _most_unpacked(packed: int) -> int:
    return max(UNPACKED_AT_LEAST, UNPACKED_TIMES * packed)


def check_parquet(path: Path, most: int = 0) -> None:
    """Raise AmpmixError for a Parquet file that kills who reads it (:func:`survived`)."""
    if not survived(path, most):
        raise fault(
            path,
            "ends the process that reads it: it is damaged (write it anew), or needs more memory "
            "than there is",
        )


@contextlib.contextmanager
def parquet_explained(path: Path, problem: str = DAMAGED) -> Iterator[None]:
    """Raise one sentence for what polars raises of a Parquet file, panics included."""
    from polars.exceptions import PanicException, PolarsError

    try:
        yield
    except (PolarsError, PanicException, OSError, OverflowError, ValueError):
        raise fault(path, problem) from None


def parquet_values(path: Path, frame: polars.DataFrame, column: str) -> list[Any]:
    """A column as Python values, which a date of the year 300,000 has not."""
    import numpy as np
    import polars

    beyond = f"has values in {shown(column)} that Python cannot hold: write them as text"
    with parquet_explained(path, beyond):
        values = frame[column].to_list()
    if frame[column].dtype == polars.Float32:  # 0.1 is to be '0.1', as in any other format
        return [None if one is None else float(str(np.float32(one))) for one in values]
    return values
