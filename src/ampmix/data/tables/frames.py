"""Tables in memory, of pandas, Polars, Arrow or `datasets`, read as a file of the same content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ampmix.data.tables.csv_rows import fault_of_names
from ampmix.data.tables.parquet import parquet_values
from ampmix.data.tables.table import FileTable

NAME = "table"  # what messages call it


def is_table(given: Any) -> bool:
    """Return True for a table in memory.

    >>> import polars
    >>> is_table(polars.DataFrame({"text": ["a film"]})), is_table("films.csv")
    (True, False)
    """
    return any(hasattr(type(given), one) for one in ("columns", "column_names", "schema"))


def table_of(given: Any) -> FileTable:
    """Return a table in memory as what a file holds; a missing value of any kind is None.

    Raises:
        AmpmixError: for two columns of one name.
    """
    path = Path(NAME)
    if hasattr(given, "features"):  # of the library datasets
        names = list(given.column_names)
        values = lambda column: labelled_values(given, column)  # noqa: E731
    elif hasattr(given, "iloc"):
        names = [str(name) for name in given.columns]
        values = lambda column: _of_pandas(given.iloc[:, names.index(column)])  # noqa: E731
    else:
        frame = _as_polars(given)
        names = list(frame.columns)
        values = lambda column: parquet_values(path, frame, column)  # noqa: E731
    table = FileTable(path, names, values, option="{}=COLUMN")
    if problem := fault_of_names(names):
        raise table.error(problem)
    return table


def _as_polars(given: Any) -> Any:
    """A frame of Polars, from a lazy one or from Arrow."""
    import polars

    if isinstance(given, polars.LazyFrame):
        return given.collect()
    return given if isinstance(given, polars.DataFrame) else polars.from_arrow(given)


def _of_pandas(series: Any) -> list[Any]:
    """The values as Python's own; float32 as other formats have it, 0.1 and not 0.10000000149."""
    values = series.astype(object).where(series.notna(), None).tolist()
    if str(series.dtype).lower() == "float32":
        return [None if one is None else float(str(np.float32(one))) for one in values]
    return [one.tolist() if isinstance(one, (np.generic, np.ndarray)) else one for one in values]


def labelled_values(part: Any, column: str) -> list[Any]:
    """The values, and the names of classes where they are numbered."""
    values = list(part[column])
    names = getattr(part.features[column], "names", None)
    if names is None:
        return values
    return [None if value in (None, -1) else names[value] for value in values]
