"""Labels: one spelling whatever the format."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ampmix.data.tables.labelled import read_table
from ampmix.data.tables.labels import as_spelled, canonical


def labelled(*labels: str) -> str:
    rows = [f"text {i} of {n},{y}" for i in range(4) for n, y in enumerate(labels)]
    return "\n".join(["text,label", *rows])


def test_a_label_has_one_spelling_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(labelled("0.0", "1.0", "0.1"))
    texts = [f"text {i}" for i in range(12)]
    numbers = [0.0, 1.0, 0.1] * 4
    lines = [json.dumps({"text": x, "label": y}) for x, y in zip(texts, numbers, strict=True)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    for name, kind in (("a", pl.Float64), ("b", pl.Float32)):
        frame = pl.DataFrame({"text": texts, "label": pl.Series(numbers, dtype=kind)})
        frame.write_parquet(tmp_path / f"{name}.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet", "b.parquet"):
        assert read_table(tmp_path / name).classes == ("0", "0.1", "1"), name


@pytest.mark.parametrize(
    ("given", "one"),
    [
        ("-0.0", "0"),
        ("01.0", "01"),
        ("1.50", "1.50"),
        ("True", "true"),
        ("tRue", "tRue"),
        ("\u200bx\ufeff", "x"),
        ("", ""),
        (".0", ".0"),
    ],
)
def test_spellings(given: str, one: str) -> None:
    assert canonical(given) == one
    assert canonical(one) == one


def test_classes_of_an_older_model_are_still_met() -> None:
    assert as_spelled(["1", "true", "é", "new"], ["1.0", "True", "e\u0301"]) == [
        "1.0",
        "True",
        "e\u0301",
        "new",
    ]
