"""Hugging Face data sets, made on this machine and read through the library's own loaders."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from ampmix._support.components import parse, spec
from ampmix.data.dataset import TextDataset
from ampmix.datasets import load
from ampmix.errors import AmpmixError

hub = pytest.importorskip("datasets", reason="the extra ampmix[hub] is not installed")

TEXTS = ["a good film", "a bad film", "good acting", "no good at all", "fine", "dreadful"]
LABELS = [1, 0, 1, 0, 1, 0]


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's cache is thrown away after the test; no network is asked for."""
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub.config, "HF_HUB_OFFLINE", True)


def part(texts: list[str], labels: list[Any], names: list[str] | None = None) -> Any:
    kind = hub.ClassLabel(names=names) if names else hub.Value("string")
    features = hub.Features(
        {"sentence": hub.Value("string"), "label": kind, "idx": hub.Value("int32")}
    )
    content = {"sentence": texts, "label": labels, "idx": list(range(len(texts)))}
    return hub.Dataset.from_dict(content, features=features)


def save(folder: Path, **parts: Any) -> str:
    hub.DatasetDict(parts).save_to_disk(str(folder))
    return f"hf[path={folder}]"


def rows(examples: Any, dataset: TextDataset) -> list[tuple[str, str]]:
    names = [dataset.classes[i] for i in examples.labels]
    return list(zip(examples.texts, names, strict=True))


def test_saved_parts_with_class_labels(tmp_path: Path) -> None:
    names = ["negative", "positive"]
    given = {
        "train": part(TEXTS, LABELS, names),
        "validation": part(["so fine"], [1], names),
        "test": part(["so bad", "a bad film"], [0, 0], names),
    }
    dataset = load(save(tmp_path / "films", **given))
    assert (dataset.name, dataset.classes, dataset.title) == ("films", ("negative", "positive"), "")
    assert rows(dataset.train, dataset) == [
        (t, names[i]) for t, i in zip(TEXTS, LABELS, strict=True)
    ]
    assert rows(dataset.dev, dataset) == [("so fine", "positive")]
    assert rows(dataset.test, dataset) == [("so bad", "negative"), ("a bad film", "negative")]
    assert dataset.notes[0].startswith("1 of 2 texts for testing also stands")


def test_parts_can_be_chosen_and_left_out(tmp_path: Path) -> None:
    names = ["negative", "positive"]
    path = tmp_path / "glue-like"
    hidden = part(["who knows", "not me"], [-1, -1], names)
    whole = save(
        path, train=part(TEXTS, LABELS, names), validation=part(["so"], [1], names), test=hidden
    )
    with pytest.raises(AmpmixError, match="part 'test' of .* has no labels: give test=none, or an"):
        load(whole)
    dataset = load(f"hf[path={path},test=validation,dev=none]")
    assert dataset.dev is None and dataset.test.texts == ("so",)
    dataset = load(f"hf[path={path},test=none]")
    assert dataset.test is None and dataset.dev.texts == ("so",)
    with pytest.raises(AmpmixError, match="no part 'dev': it has 'train', 'validation', 'test'"):
        load(f"hf[path={path},dev=dev]")
    with pytest.raises(AmpmixError, match="no part 'training': it has 'train'"):
        load(f"hf[path={path},train=training,test=none]")
    with pytest.raises(AmpmixError, match="no part 'none'"):
        load(f"hf[path={path},train=none,test=none]")


def test_a_folder_of_csv_files_through_the_librarys_reader(tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    lines = [
        f"{text},{'yes' if label else 'no'}" for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    (folder / "train.csv").write_text("\n".join(["text,verdict", *lines]) + "\n")
    (folder / "test.csv").write_text("text,verdict\nnew words,yes\n")
    dataset = load(f"hf[path={folder}]")
    assert dataset.classes == ("no", "yes")
    assert rows(dataset.train, dataset)[:2] == [("a good film", "yes"), ("a bad film", "no")]
    assert dataset.test.texts == ("new words",) and dataset.dev is None
    file = load(folder / "train.csv", test=folder / "test.csv")
    assert file.fingerprint == dataset.fingerprint, "the same as by our own reader"


def test_a_single_part_is_trained_on(tmp_path: Path) -> None:
    part(TEXTS, ["b", "a"] * 3).save_to_disk(str(tmp_path / "one"))
    dataset = load(f"hf[path={tmp_path / 'one'},text=sentence,label=label]")
    assert dataset.test is None and len(dataset.train) == 6


def test_columns_that_are_not_clear(tmp_path: Path) -> None:
    content = {"a": TEXTS, "b": TEXTS[::-1], "c": LABELS}
    one = hub.Dataset.from_dict(content)
    hub.DatasetDict(train=one).save_to_disk(str(tmp_path / "odd"))
    path = tmp_path / "odd"
    with pytest.raises(AmpmixError, match="'a', 'b', 'c'.*give text=COLUMN and label=COLUMN"):
        load(f"hf[path={path}]")
    with pytest.raises(AmpmixError, match="odd/train' has no column 'd'"):
        load(f"hf[path={path},text=d,label=c]")
    dataset = load(f"hf[path={path},text=b,label=c]")
    assert dataset.train.texts == tuple(TEXTS[::-1])
    assert dataset.classes == ("0", "1"), "numbers are classes as in a file"


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(AmpmixError, match=r"pip install 'ampmix\[hub\]'"):
        load("hf[path=ag_news]")


def test_what_cannot_be_loaded_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AmpmixError, match=r"needs a name of the hub or a folder: hf\[path=ag_news"):
        load("hf")
    with pytest.raises(AmpmixError, match=f"cannot load data set '{tmp_path}/nowhere'"):
        load(f"hf[path={tmp_path / 'nowhere'}]")

    def unreachable(*arguments: Any) -> Any:
        raise ConnectionError("Couldn't reach 'ag_news' on the Hub")

    monkeypatch.setattr(hub, "load_dataset", unreachable)
    with pytest.raises(AmpmixError, match="cannot reach .* 'ag_news': .*save_to_disk.* HF_HOME"):
        load("hf[path=ag_news]")


def test_spec_strings() -> None:
    text = "hf[path=SetFit/20_newsgroups,label=label_text]"
    assert spec(parse(text, "ampmix.datasets", "data set")) == text
