"""Records as a table: one row a run, for polars."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix._support.extras import needed
from ampmix.errors import AmpmixError
from ampmix.records.pack import is_pack, unpack
from ampmix.records.store import RunRecord, read_record

if TYPE_CHECKING:
    import polars


def load_records(path: str | Path) -> polars.DataFrame:
    """The run records of a folder as a polars DataFrame, one row a run.

    Columns: ``run`` (the record's id); what determined the run, as in its specification
    (``dataset``, ``policy``, ``seed``, ``training.lr``, ...); what came out, as in its result
    (``status``, ``test_error``, ``test_wrong``, ``curve``, ...); and ``provenance.seconds`` and the
    like. What a run has nothing to say of is null. Failed runs are rows too, with ``status``
    ``failed`` and their ``error``. Rows are sorted by data set, backbone, policy and seed.

    Files that are truncated, altered or of another format are left aside with a warning that names
    them.

    Args:
        path: the output folder of ``ampmix compare`` or ``ampmix study``, its ``records`` folder,
            or the URL of either that fsspec knows, such as ``s3://bucket/table2`` (extra
            ``remote``).

    Raises:
        AmpmixError: if there is no such folder, or the extra is missing.

    >>> import ampmix
    >>> runs = ampmix.load_records("ampmix-runs/demo")            # doctest: +SKIP
    >>> runs.group_by("policy").agg(pl.mean("test_error"))        # doctest: +SKIP
    """
    import polars as pl

    found, bad = [], []
    for name, content in _remote(path) if "://" in str(path) else _local(Path(path)):
        for record in _records(name, content):
            if isinstance(record, ValueError):
                bad.append(f"{name}: {record}")
            else:
                found.append(_row(record))
    if bad:
        warnings.warn(f"records left aside: {'; '.join(sorted(bad))}", stacklevel=2)
    if not found:
        return pl.DataFrame(schema={"run": pl.String})
    frame = _frame(found)
    order = [
        name
        for name in ("dataset", "fraction", "backbone", "policy", "seed")
        if name in frame and not frame[name].dtype.is_nested()
    ]
    return frame.sort(*order, "run")


def _records(name: str, content: bytes) -> Iterator[RunRecord | ValueError]:
    """The records of a file, or why it has none."""
    if is_pack(name):
        yield from unpack(content)
        return
    try:
        yield read_record(content, name.removesuffix(".json"))
    except ValueError as error:
        yield error


def _frame(rows: list[dict[str, Any]]) -> polars.DataFrame:
    """Rows as a table; values of a column that have no common type as they are in JSON."""
    import polars as pl

    refusals = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError,
                pl.exceptions.PanicException)  # fmt: skip
    with contextlib.suppress(*refusals):
        return pl.from_dicts(rows, infer_schema_length=None)
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pl.from_dicts([{name: v} for v in values], infer_schema_length=None)
        except refusals:
            told = [None if value is None else _told(value) for value in values]
            columns[name] = pl.DataFrame({name: pl.Series(told, dtype=pl.String)})
    return pl.concat(columns.values(), how="horizontal")


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _row(record: RunRecord) -> dict[str, Any]:
    result = record.result.as_json()
    for blob in ("test_classes", "test_labels", "test_probabilities"):
        result.pop(blob, None)  # of no use in a cell: record.result.probabilities() has them
    provenance = {f"provenance.{key}": value for key, value in _flat(record.provenance)}
    return {"run": record.id, **dict(_flat(record.specification)), **dict(_flat(result))} | (
        provenance
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _local(folder: Path) -> Iterator[tuple[str, bytes]]:
    folder = folder / "records" if (folder / "records").is_dir() else folder
    if not folder.is_dir():
        raise AmpmixError(f"there are no records in {folder}: give a folder that ampmix wrote")
    for file in sorted(folder.iterdir()):
        if _holds_records(file.name):
            yield file.name, file.read_bytes()


def _holds_records(name: str) -> bool:
    return is_pack(name) or (name.endswith(".json") and not name.startswith("."))


def _remote(url: Any) -> Iterator[tuple[str, bytes]]:
    try:
        system, root = needed("fsspec", "remote").core.url_to_fs(str(url))
    except (ImportError, ValueError) as error:
        raise AmpmixError(f"cannot read {url}: {error}") from error
    folder = f"{root.rstrip('/')}/records"
    folder = folder if system.isdir(folder) else root
    if not system.isdir(folder):
        raise AmpmixError(f"there are no records in {url}: give a folder that ampmix wrote")
    files = {path.rsplit("/", 1)[-1]: path for path in system.ls(folder, detail=False)}
    wanted = {name: path for name, path in sorted(files.items()) if _holds_records(name)}
    contents = system.cat(list(wanted.values())) if wanted else {}
    for name, path in wanted.items():
        yield name, contents[path]
