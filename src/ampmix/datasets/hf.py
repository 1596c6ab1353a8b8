"""Hugging Face data sets: those of the hub, and folders that its `datasets` library reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ampmix.data.dataset import TextDataset
from ampmix.data.tables.frames import labelled_values
from ampmix.data.tables.labelled import of_tables
from ampmix.data.tables.table import FileTable, listed
from ampmix.errors import AmpmixError

NONE = "none"


@dataclass(frozen=True)
class HuggingFace:
    """A data set of the Hugging Face hub by name, or of a folder: ``hf[path=ag_news]``.

    `path` and `config` are what ``datasets.load_dataset`` calls path and name, `path` also a folder
    that ``save_to_disk`` wrote; `text` and `label` the columns, guessed as in a file of one's own;
    `train`, `dev` and `test` the parts. A part that is at its default and not there is done
    without, and so is one that is ``none``. Class labels become their names. Needs the extra
    ``ampmix[hub]``. Code that comes with a data set is not run.

    >>> HuggingFace(path="glue", config="sst2", test="validation", dev="none")
    HuggingFace(path='glue', config='sst2', text='', label='', train='train', dev='none',
                test='validation')
    """

    name: ClassVar[str] = "hf"
    rank: ClassVar[int] = 1

    path: str = ""
    config: str = ""
    text: str = ""
    label: str = ""
    train: str = "train"
    dev: str = "validation"
    test: str = "test"

    def load(self) -> TextDataset:
        """Read the parts, downloading them the first time into the library's own cache.

        Raises AmpmixError without a name or the library, if the data set, a part or a column is not
        there, or if a part has no labels, as the test parts of GLUE.
        """
        if not self.path:
            raise AmpmixError("data set hf needs a name of the hub or a folder: hf[path=ag_news]")
        parts = _parts(self.path, self.config)
        train, dev, test = (self._table(parts, role) for role in ("train", "dev", "test"))
        if train is None:
            raise AmpmixError(f"data set {self.path!r} has no part {self.train!r}: {_has(parts)}")
        name = "-".join(filter(None, (Path(self.path).name, self.config)))
        return of_tables(name, train, dev, test, text=self.text or None, label=self.label or None)

    def _table(self, parts: Mapping[str, Any], role: str) -> FileTable | None:
        part = getattr(self, role)
        if part not in parts:
            if part in (NONE, getattr(type(self), role)):
                return None
            raise AmpmixError(f"data set {self.path!r} has no part {part!r}: {_has(parts)}")

        def values(column: str) -> list[Any]:
            found = labelled_values(parts[part], column)
            numbered = getattr(parts[part].features[column], "names", None) is not None
            if numbered and set(found) <= {None}:
                raise AmpmixError(
                    f"part {part!r} of data set {self.path!r} has no labels: give {role}=none, or "
                    f"another part ({_has(parts)})"
                )
            return found

        path = Path(self.path, part)
        return FileTable(path, list(parts[part].column_names), values, option="{}=COLUMN")


def _has(parts: Mapping[str, Any]) -> str:
    return f"it has {listed(list(parts))}"


def _parts(path: str, config: str) -> Mapping[str, Any]:
    """The parts by name, as the library gives them."""
    try:
        import datasets
    except ImportError as error:
        raise AmpmixError(
            "data set hf needs the library datasets: pip install 'ampmix[hub]'"
        ) from error
    saved = any(Path(path, mark).is_file() for mark in ("dataset_dict.json", "state.json"))
    try:
        if saved:
            loaded = datasets.load_from_disk(path)
        else:
            # before its version 4 the library ran a data set's own code unless told not to
            old = int(datasets.__version__.split(".")[0]) < 4
            options = {"trust_remote_code": False} if old else {}
            loaded = datasets.load_dataset(path, config or None, **options)
    except ConnectionError as error:
        raise AmpmixError(
            f"cannot reach the Hugging Face hub for data set {path!r}: without a network, give a "
            "folder that save_to_disk wrote elsewhere, or set HF_HOME to a cache that holds it"
        ) from error
    except Exception as error:  # the library raises a score of kinds, and those of its readers
        reason = " ".join(str(error).split())
        raise AmpmixError(
            f"cannot load data set {path!r} with the library datasets: {reason or error!r}"
        ) from error
    return loaded if isinstance(loaded, dict) else {"train": loaded}
