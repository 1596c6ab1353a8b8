"""Tables in memory are read as a file of the same content is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ampmix import AmpmixError, Plan, load_dataset

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

COLUMNS: dict[str, list[Any]] = {
    "text": [
        "a late box",
        None,
        "a bill",
        "late, again",
        "  ",
        "pay me",
        "lost",
        "price",
        "Pay  me",
    ],
    "label": [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, None, 0.0],
    "user": ["u", "v", "v", "w", None, "x", "u", "y", "z"],
}
FORMS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "pandas, an index": lambda one: pd.DataFrame(one, index=range(7, 16)),
    "pandas, categories": lambda one: pd.DataFrame(one).astype({"label": "category"}),
    "pandas, its own types": lambda one: pd.DataFrame(one).convert_dtypes(),
    "pandas, float32": lambda one: pd.DataFrame(one).astype({"label": "float32"}),
    "polars": pl.DataFrame,
    "polars, float32": lambda one: pl.DataFrame(one).cast({"label": pl.Float32}),
    "polars, lazy": pl.LazyFrame,
    "Arrow": pa.table,
    "Arrow, a batch": pa.RecordBatch.from_pydict,
}


def content(data: Any) -> Any:
    groups = None if data.groups is None else data.groups.tolist()
    notes = [note.replace("table.csv", "table") for note in data.notes]
    return data.train.texts, data.train.labels.tolist(), data.classes, groups, data.columns, notes


@pytest.mark.slow
@pytest.mark.parametrize("group", [None, "user"])
@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_what_its_file_is(form: str, group: str | None, tmp_path: Path) -> None:
    pl.DataFrame(COLUMNS).write_parquet(tmp_path / "table.parquet")
    whole = load_dataset(tmp_path / "table.parquet", group=group)
    found = load_dataset(FORMS[form](COLUMNS), group=group)
    names = [note.replace("table.parquet", "table") for note in whole.notes]
    assert content(found) == (*content(whole)[:-1], names)
    assert found.fingerprint == whole.fingerprint and found.classes == ("0", "1")
    assert any("2 rows without text and 1 row without label" in note for note in found.notes)


def test_datasets_of_hugging_face_name_their_classes() -> None:
    hf = pytest.importorskip("datasets")
    features = hf.Features(
        {"text": hf.Value("string"), "label": hf.ClassLabel(names=["no", "yes"])}
    )
    rows = {"text": [f"text {i}" for i in range(8)], "label": [0, 1, -1, 1, 0, 1, 0, None]}
    found = load_dataset(hf.Dataset.from_dict(rows, features=features))
    assert found.classes == ("no", "yes") and len(found.train) == 6


def test_columns_and_parts_are_those_of_files() -> None:
    frame = pd.DataFrame(
        {"title": [f"a {i}" for i in range(12)], "body": ["e f"] * 12, "kind": [True, False] * 6}
    )
    found = load_dataset(
        frame, text="title,body", label="kind", test=pl.DataFrame(frame.to_dict("list"))
    )
    assert found.columns == ("title,body", "kind") and found.classes == ("false", "true")
    assert found.test is not None and found.test.texts[1] == "a 1 e f"
    plan = Plan.of(frame, "none,mixup", text="title", label="kind", steps=1, seeds=2)
    assert plan.dataset.columns == ("title", "kind") and plan.dataset.name == "table"


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            pd.DataFrame({"text": ["a"], "note": ["b"], "x": [1]}),
            "give text=COLUMN and label=COLUMN",
        ),
        (
            pd.DataFrame([["a", "b", "c"]], columns=["text", "text", "label"]),
            "two columns named 'text'",
        ),
        (pl.DataFrame({"text": ["a"], "label": [["b", "c"]]}), "several labels a text"),
        (pd.DataFrame({"text": ["a"], "label": [np.array(["b", "c"])]}), "several labels a text"),
        (pd.DataFrame({"text": ["a"], "label": [None]}), "nothing is left"),
        (pd.DataFrame(), "has no columns"),
        (7, "are a int: give a name"),
        (["a", "b"], "are a list: give a name"),
    ],
)
def test_what_cannot_be_read_is_said(frame: Any, said: str) -> None:
    with pytest.raises(AmpmixError, match=said):
        load_dataset(frame)
