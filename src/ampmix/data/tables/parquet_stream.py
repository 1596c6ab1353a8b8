"""Rows of a Parquet file, slice by slice, to be written again with columns added."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ampmix._support.files import as_of_the_system, drafting, to_disk
from ampmix.data.tables.columns import ENOUGH, text_columns
from ampmix.data.tables.parquet import check_parquet, parquet_explained, parquet_values
from ampmix.data.tables.stream_parts import FileRow
from ampmix.data.tables.table import as_text, fault, joined, shown
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    import polars

FIRST, LARGEST = 256, 2**14  # rows of the first slice, and of any
BYTES = 2**24  # of a slice in memory, about


class ParquetStream:
    """A Parquet file being read; what was read is kept until it is written again, if it will be.

    Args:
        path: the file.
        text: the column with the texts, guessed from common names unless given; several with
            commas between are joined.
        written: keep what was read, for :meth:`writing`.

    Raises:
        AmpmixError: if it is no such file, or has no such column.
    """

    def __init__(self, path: Path, text: str | None = None, written: bool = True) -> None:
        import polars

        self._path, self._written = path, written
        check_parquet(path)
        with parquet_explained(path):
            # brackets in a file's name are no pattern, and folders named x=1 no columns
            self._file = polars.scan_parquet(path, glob=False, hive_partitioning=False)
            self._schema = self._file.collect_schema()
        self.columns = tuple(self._schema.names())
        self._texts, self.notes = text_columns(path, self.columns, text, self._some)
        self._read: deque[polars.DataFrame] = deque()

    def _some(self, column: str) -> list[Any]:
        """Some values of a column of texts."""
        import polars

        if self._schema[column] != polars.String:
            return []
        with parquet_explained(self._path):
            found: list[Any] = self._file.select(column).head(ENOUGH).collect()[column].to_list()
            return found

    @property
    def rows(self) -> Iterator[FileRow]:
        """The rows, read as they are asked for; raises AmpmixError, with the row, for bad ones."""
        numbers = itertools.count(1)
        for frame in self._frames():
            if self._written:
                self._read.append(frame)
            columns = [parquet_values(self._path, frame, column) for column in self._texts]
            for values, number in zip(zip(*columns, strict=True), numbers, strict=False):
                parts = [
                    self._part(value, column, number)
                    for value, column in zip(values, self._texts, strict=True)
                ]
                yield FileRow(number, parts[0] if len(parts) == 1 else joined(parts), None)

    def _part(self, value: Any, column: str, number: int) -> str:
        try:
            return as_text(value)
        except TypeError as error:
            raise fault(
                self._path,
                f"holds a {error} in {shown(column)} of row {number}: it must hold text",
            ) from None

    def _frames(self) -> Iterator[polars.DataFrame]:
        """Slices of about BYTES each."""
        at, rows = 0, FIRST
        while True:
            with parquet_explained(self._path):
                frame = self._file.slice(at, rows).collect()
            if frame.is_empty():
                return
            yield from self._halved(frame)
            at += frame.height
            rows = min(LARGEST, max(1, BYTES * frame.height // max(1, int(frame.estimated_size()))))

    def _halved(self, frame: polars.DataFrame) -> Iterator[polars.DataFrame]:
        """The rows in parts whose texts fit in memory: equal ones take no room until then."""
        import polars

        size = sum(
            int(frame[one].str.len_bytes().sum())
            for one in self._texts
            if frame[one].dtype == polars.String
        )
        if size <= 4 * BYTES or frame.height == 1:
            yield frame
        else:
            half = frame.height // 2
            yield from self._halved(frame.head(half))
            yield from self._halved(frame.slice(half))

    @contextmanager
    def writing(self, path: Path, names: Sequence[str]) -> Iterator[ParquetWriter]:
        """Write the rows that are read, with columns of those names, to a file.

        It appears when it is whole. Until then its parts lie in a hidden folder beside it.
        """
        from polars.exceptions import PolarsError

        beside = path.absolute().parent
        try:
            with as_of_the_system(PolarsError), drafting(beside) as folder:
                writer = ParquetWriter(folder, self._read, names)
                yield writer
                finished = writer.finish(self._schema)
                to_disk(finished)
                finished.replace(path)
        except FileNotFoundError:
            raise AmpmixError(
                f"cannot write {str(path)!r}: there is no folder {path.parent}"
            ) from None


class ParquetWriter:
    """Writes frames in parts as soon as their added columns are known, then makes them one file.

    Polars cannot add to a Parquet file.
    """

    def __init__(self, folder: Path, read: deque[polars.DataFrame], names: Sequence[str]) -> None:
        import polars

        self._folder, self._read = folder, read
        types = {name: polars.Float32() for name in names} | {names[0]: polars.String()}
        self._added = polars.DataFrame(schema=types)
        self._parts: list[Path] = []
        self._height = 1  # of the highest part

    def add(self, labels: Sequence[str | None], probabilities: npt.NDArray[np.float32]) -> None:
        """Write predictions of the next rows; the probabilities are ``[n, columns]``.

        A label of None has null for its probabilities.
        """
        import polars

        label = polars.Series(labels, dtype=polars.String)
        columns = [label, *map(polars.Series, probabilities.T)]
        if None in labels:
            columns[1:] = [
                one.zip_with(label.is_not_null(), one.clear(len(one))) for one in columns[1:]
            ]
        new = polars.DataFrame(dict(zip(self._added.columns, columns, strict=True)))
        self._added = self._added.vstack(new)
        while self._read and self._read[0].height <= self._added.height:
            frame = self._read.popleft()
            self._write(frame.hstack(self._added.head(frame.height)))
            self._added = self._added.slice(frame.height)

    def finish(self, schema: polars.Schema) -> Path:
        """All that was written, as one file; `schema` is that of the rows read."""
        import polars

        if not self._parts:
            self._write(polars.DataFrame(schema={**schema, **self._added.schema}))
        whole = self._folder / "whole.parquet"
        parts = polars.scan_parquet(self._parts, glob=False, hive_partitioning=False)
        parts.sink_parquet(whole, row_group_size=self._height)
        return whole

    def _write(self, frame: polars.DataFrame) -> None:
        self._parts.append(self._folder / f"{len(self._parts)}.parquet")
        frame.write_parquet(self._parts[-1], compression="lz4")
        self._height = max(self._height, frame.height)
