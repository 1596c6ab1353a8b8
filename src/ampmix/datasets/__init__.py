"""Known data sets, one file each; `load` also reads a user's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ampmix._support.components import DATASETS
from ampmix._support.origin import blaming
from ampmix.data.dataset import TextDataset
from ampmix.data.tables.frames import is_table
from ampmix.data.tables.labelled import read_table
from ampmix.data.unlabelled import with_unlabelled
from ampmix.errors import AmpmixError, unknown


def known(text: str | Path) -> Any:
    """The class of the data set that a name, with or without options, stands for; None if none."""
    return DATASETS.known(str(text))


def load(
    name_or_path: str | Path | Any,
    *,
    text: str | None = None,
    label: str | None = None,
    test: str | Path | Any | None = None,
    dev: str | Path | Any | None = None,
    encoding: str | None = None,
    group: str | None = None,
    rare: str | None = None,
    unlabelled: str | Path | Any | None = None,
) -> TextDataset:
    """The data set of that name, such as ``trec``, or the one in a user's file or table.

    A table is a DataFrame of pandas or Polars, an Arrow table, or a part of the library `datasets`.
    `text`, `label` and `group` (columns), `test`, `dev` (files or tables), `encoding` and `rare` go
    with a file or table, which is read by :func:`ampmix.data.tables.labelled.read_table`.
    `unlabelled` is a file of texts without labels, or ``rest``
    (:func:`ampmix.data.unlabelled.with_unlabelled`), of any data set.

    Raises AmpmixError if there is neither, if the options do not fit, or as the readers do.

    >>> import polars
    >>> load(polars.DataFrame({"text": ["good", "bad"] * 4, "label": [1, 0] * 4})).classes
    ('0', '1')
    """
    given = name_or_path if isinstance(name_or_path, str) else ""
    options = {
        "text": text,
        "label": label,
        "test": test,
        "dev": dev,
        "encoding": encoding,
        "group": group,
        "rare": rare,
    }
    if isinstance(name_or_path, str) and (cls := known(name_or_path)) is not None:
        name = cls.name
        if used := [f"--{option}" for option, value in options.items() if value is not None]:
            raise AmpmixError(
                f"{' and '.join(used)} cannot be given with data set {name}: "
                "such options go with a file of your own"
            )
        dataset = DATASETS.parse(given, trusted=True)
        with blaming(dataset, DATASETS):
            loaded = dataset.load()
        if not isinstance(loaded, TextDataset):
            raise AmpmixError(
                f"data set {name} loads a {type(loaded).__name__}: its load must return a "
                "TextDataset"
            )
        return with_unlabelled(loaded, unlabelled)
    table = is_table(name_or_path)
    if not table and not isinstance(name_or_path, (str, Path)):
        raise AmpmixError(
            f"the data are a {type(name_or_path).__name__}: give a name, a file or a table"
        )
    path = Path("table" if table else name_or_path)
    if (
        table
        or isinstance(name_or_path, Path)
        or path.suffix
        or len(path.parts) > 1
        or path.exists()
    ):
        own = read_table(
            name_or_path if table else path,
            text=text,
            label=label,
            test=test,
            dev=dev,
            encoding=encoding,
            group=group,
            rare=rare or "keep",
        )
        return with_unlabelled(own, unlabelled, encoding)
    raise AmpmixError(
        f"{unknown('data set', given, DATASETS.names())}; nor is there a file of that name"
    )
