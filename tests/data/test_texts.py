"""One reader of texts for every entry point: whatever holds texts is read, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ampmix import AmpmixError, Classifier, MixupTextClassifier, TextCNN
from ampmix.data.dataset import Examples
from ampmix.data.texts import texts_of
from ampmix.text.encoded import Vocabulary

TEXTS = ["good film", "bad film", "a film"]

pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
datasets = pytest.importorskip("datasets")

READ: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": lambda texts: (text for text in texts),
    "array": np.array,
    "object array": lambda texts: np.array(texts, dtype=object),
    "column array": lambda texts: np.array(texts, dtype=object)[:, None],
    "pandas series": lambda texts: pd.Series(texts, index=range(7, 7 + len(texts))),
    "pandas string series": lambda texts: pd.Series(texts, dtype="string"),
    "pandas category": lambda texts: pd.Series(texts, dtype="category"),
    "pandas frame": lambda texts: pd.DataFrame({"text": texts}),
    "polars series": pl.Series,
    "polars frame": lambda texts: pl.DataFrame({"text": texts}),
    "arrow array": pa.array,
    "arrow column": lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
    "arrow table": lambda texts: pa.table({"text": texts}),
    "datasets column": lambda texts: datasets.Dataset.from_dict({"text": texts})["text"],
    "datasets": lambda texts: datasets.Dataset.from_dict({"text": texts}),
    "dictionary's values": lambda texts: dict(enumerate(texts)).values(),
}

WRONG: dict[str, tuple[Any, str]] = {
    "text": ("good film", "is a single text"),
    "bytes": (b"good film", "is a single text"),
    "dictionary": ({"text": TEXTS}, "is a dict: give a list of texts, or one column"),
    "set": ({"a", "b"}, "is a set"),
    "number": (7, "is a int: give a list of texts"),
    "none": (None, "is a NoneType: give a list of texts"),
    "two columns": (pd.DataFrame({"id": [1], "text": ["a"]}), "is a table of 2 columns: give the"),
    "polars columns": (pl.DataFrame({"id": [1], "text": ["a"]}), "a table of 2 columns"),
    "arrow columns": (pa.table({"id": [1], "text": ["a"]}), "a table of 2 columns"),
    "datasets": (datasets.Dataset.from_dict({"i": [1], "text": ["a"]}), "a table of 2 columns"),
    "matrix": (np.ones((2, 3)), "has shape (2, 3)"),
    "missing": (["a", None], "[1] is missing (None)"),
    "nan": (pd.Series(["a", np.nan]), "[1] is missing (nan)"),
    "NA": (pd.Series(["a", pd.NA], dtype="string"), "[1] is missing (<NA>)"),
    "polars null": (pl.Series(["a", None]), "[1] is missing (None)"),
    "arrow null": (pa.array(["a", None]), "[1] is missing (None)"),
    "numbers": ([1, 2], "[0] is of type int, not a text"),
    "lists": ([["a", "b"]], "[0] is of type list, not a text"),
    "bytes inside": ([b"a"], "[0] is of type bytes, not a text"),
}


@pytest.fixture(scope="module")
def entries() -> dict[str, Callable[[Any], Any]]:
    """Every way from texts to probabilities."""
    model = MixupTextClassifier(
        "none", TextCNN(embedding_dim=4, feature_maps=2), steps=5, dev_size=0
    ).fit(TEXTS * 4, ["a", "b", "a"] * 4)
    one: Classifier = model.classifier_
    return {
        "Classifier.predict_proba": one.predict_proba,
        "Classifier.predict": one.predict,
        "MixupTextClassifier.predict_proba": model.predict_proba,
        "MixupTextClassifier.predict": model.predict,
    }


@pytest.mark.parametrize("kind", READ)
def test_texts_are_read_from(kind: str, entries: dict[str, Callable[[Any], Any]]) -> None:
    assert texts_of(READ[kind](TEXTS)) == TEXTS
    for entry in entries.values():
        assert np.array_equal(entry(READ[kind](TEXTS)), entry(TEXTS))


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_list_of_texts_is_one_sentence(
    kind: str, entries: dict[str, Callable[[Any], Any]]
) -> None:
    given, said = WRONG[kind]
    for entry in entries.values():
        with pytest.raises(AmpmixError) as raised:
            entry(given)
        assert said in str(raised.value)
        assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_empty_texts_are_warned_of(text: str, entries: dict[str, Callable[[Any], Any]]) -> None:
    for entry in entries.values():
        with pytest.warns(UserWarning, match="2 texts hold nothing that the model knows"):
            assert len(entry([text, "film", text])) == 3


def test_a_stream_of_letters_is_refused(entries: dict[str, Callable[[Any], Any]]) -> None:
    one = entries["Classifier.predict"].__self__  # type: ignore[attr-defined]
    with pytest.raises(AmpmixError, match="is a single text"):
        next(one.stream_proba("good film"))


def test_representations_are_short() -> None:
    words = tuple(f"word{i}" for i in range(20_000))
    backbone = TextCNN(embedding_dim=2, feature_maps=1)
    reader = backbone.reader(words, "words", 16)
    model = backbone.build(reader, 30, torch.Generator())
    classes = tuple(f"class {i} of some length" for i in range(3000))
    examples = Examples(words, np.zeros(len(words), int))
    shown = repr(Classifier(backbone, model, reader, classes))
    assert "cnn[embedding_dim=2,feature_maps=1]" in shown and "(2994 more)" in shown
    for one in (shown, repr(reader), repr(Vocabulary(words)), repr(examples)):
        assert len(one) <= 500
