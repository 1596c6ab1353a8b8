"""Known data sets, one file each; `load` also reads a user's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ampmix._support.components import DATASETS
from ampmix._support.origin import blaming
from ampmix.data.dataset import TextDataset
from ampmix.data.tables.labelled import read_table
from ampmix.errors import AmpmixError, unknown


def known(text: str | Path) -> Any:
    """The class of the data set that a name, with or without options, stands for; None if none."""
    return DATASETS.known(str(text))


def load(
    name_or_path: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    test: str | Path | None = None,
    dev: str | Path | None = None,
    encoding: str | None = None,
    group: str | None = None,
    rare: str | None = None,
) -> TextDataset:
    """The data set of that name, such as ``trec``, or the one in a user's file.

    `text`, `label` and `group` (columns), `test`, `dev` (files), `encoding` and `rare` go with a
    file, which is read by `ampmix.data.tables.labelled.read_table`.

    Raises AmpmixError if there is neither, if the options do not fit, or as the readers do.
    """
    given = str(name_or_path)
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
        return loaded
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix or len(path.parts) > 1 or path.exists():
        return read_table(
            path,
            text=text,
            label=label,
            test=test,
            dev=dev,
            encoding=encoding,
            group=group,
            rare=rare or "keep",
        )
    raise AmpmixError(
        f"{unknown('data set', given, DATASETS.names())}; nor is there a file of that name"
    )
