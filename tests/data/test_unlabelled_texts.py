"""Texts without labels: how they are read, and which of them a split may train on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from ampmix import AmpmixError, load_dataset
from ampmix.data import unlabelled as module
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.groups import text_groups
from ampmix.data.splits import split_all, split_fold, split_holdout, split_train
from ampmix.data.unlabelled import REST, keys_of, with_unlabelled

KINDS = {"a": "parcel lost late", "b": "invoice wrong double"}
TEXTS = tuple(f"my {KINDS['ab'[i % 2]].split()[i % 3]} number {i}" for i in range(60))
DATA = TextDataset("toy", ("a", "b"), Examples(TEXTS, [i % 2 for i in range(60)]))
OTHERS = [f"my parcel number {i} is wrong" for i in range(100, 120)]


def with_test_set(n: int = 5) -> TextDataset:
    """The same with a test set of its own."""
    part = Examples(tuple(f"my invoice number {i}" for i in range(500, 500 + n)), [0] * n)
    return TextDataset("toy", ("a", "b"), DATA.train, test=part)


def test_a_list_of_texts_is_taken_as_it_is_but_for_equal_ones_and_blanks() -> None:
    given = [*OTHERS, "  ", OTHERS[0].upper(), OTHERS[1].replace(" ", "   ")]
    found = with_unlabelled(DATA, given)
    assert found.unlabelled is not None
    assert found.unlabelled.texts == tuple(OTHERS)
    assert any("2 unlabelled texts are left out" in note for note in found.notes)
    assert with_unlabelled(DATA, None) is DATA


def test_the_labelled_data_are_the_same_with_and_without_them() -> None:
    found = with_unlabelled(DATA, OTHERS)
    assert found.fingerprint == DATA.fingerprint
    one, other = (split_fold(data, 1, 4) for data in (found, DATA))
    assert one.hash == other.hash
    assert one.train.texts == other.train.texts
    assert other.unlabelled == ()


def test_their_hash_depends_on_the_texts_alone() -> None:
    hashes = [
        with_unlabelled(data, texts).unlabelled.fingerprint  # type: ignore[union-attr]
        for data in (DATA, with_test_set())
        for texts in (OTHERS, OTHERS[:-1])
    ]
    assert hashes[0] == hashes[2] != hashes[1] == hashes[3]
    assert with_unlabelled(DATA, REST).unlabelled.fingerprint == "rest"  # type: ignore[union-attr]


# --- files ---------------------------------------------------------------------------------------


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"pool{suffix}"
    rows = [{"text": text, "label": "a"} for text in OTHERS]
    if suffix == ".txt":
        path.write_text("\n".join(OTHERS))
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif suffix == ".parquet":
        polars.DataFrame(rows).write_parquet(path)
    else:
        polars.DataFrame(rows).write_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".parquet"])
def test_a_file_of_any_format_is_read_and_its_labels_are_not(tmp_path: Path, suffix: str) -> None:
    found = with_unlabelled(DATA, str(written(tmp_path, suffix)))
    assert found.unlabelled is not None
    assert found.unlabelled.texts == tuple(OTHERS)
    ignored = [note for note in found.notes if "are not read" in note]
    assert len(ignored) == (suffix != ".txt")
    assert all(f"the labels of pool{suffix}, in 'label', are not" in note for note in ignored)


def test_the_column_of_the_labelled_texts_is_taken_or_told_of(tmp_path: Path) -> None:
    own, pool, other = (tmp_path / name for name in ("own.csv", "pool.csv", "other.csv"))
    rows = {"body": TEXTS, "kind": ["ab"[i % 2] for i in range(60)], "note": ["x y z"] * 60}
    polars.DataFrame(rows).write_csv(own)
    polars.DataFrame({"note": ["x y z"] * 20, "body": OTHERS, "kind": ["a"] * 20}).write_csv(pool)
    polars.DataFrame({"id": range(20), "text": OTHERS}).write_csv(other)
    for path, told in ((pool, "in 'kind', are not read"), (other, "'body', which other.csv lacks")):
        found = load_dataset(str(own), text="body", label="kind", unlabelled=str(path))
        assert found.unlabelled is not None
        assert found.unlabelled.texts == tuple(OTHERS)
        assert any(told in note for note in found.notes), found.notes


def test_a_known_data_set_takes_them_too(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match="cannot read the unlabelled texts .*no_such"):
        load_dataset("examples/support-tickets.csv", unlabelled=str(tmp_path / "no_such.txt"))


@pytest.mark.parametrize("content", ["", "\n\n", "text\n", "text\n  \n"])
def test_a_file_without_a_text_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pool.csv"
    path.write_text(content)
    with pytest.raises(AmpmixError, match=r"pool\.csv"):
        with_unlabelled(DATA, path)
    with pytest.raises(AmpmixError, match="is a folder: give one file"):
        with_unlabelled(DATA, tmp_path)
    with pytest.raises(AmpmixError, match="holds no text"):
        with_unlabelled(DATA, [])


def test_of_more_than_there_is_room_for_a_sample_is_drawn_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pool.txt"
    path.write_text("\n".join(f"my text number {i}" for i in range(3000)))
    monkeypatch.setattr(module, "MOST", 300)
    found = with_unlabelled(DATA, path)
    assert found.unlabelled is not None
    numbers = [int(text.split()[-1]) for text in found.unlabelled.texts]
    assert len(numbers) == 300
    assert numbers == sorted(numbers)
    assert 1500 - 6 * 50 < np.mean(numbers) < 1500 + 6 * 50  # deviation of the mean: 50
    thirds = np.histogram(numbers, 3, (0, 3000))[0]
    assert (abs(thirds - 100) < 6 * 8).all()
    assert any("pool.txt holds 3,000 texts: 300 of them" in note for note in found.notes)
    assert with_unlabelled(DATA, path).unlabelled.texts == found.unlabelled.texts  # type: ignore[union-attr]


def test_room_is_counted_in_characters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 5000)
    found, count = module._sample(f"{i:04} " + "word " * 19 for i in range(400))
    assert count == 400
    assert 4800 <= sum(map(len, found)) <= 5000
    found, count = module._sample(["a" * 9000, "b" * 9000])
    assert (len(found), count) == (1, 2)


def test_no_more_is_held_of_a_large_file_than_the_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rows of Parquet too, which are otherwise kept until they are written again."""
    monkeypatch.setattr(module, "MOST", 50)
    path = tmp_path / "pool.parquet"
    polars.DataFrame({"text": [f"text {i}" for i in range(2000)]}).write_parquet(path)
    streams: list[Any] = []
    original = module.ParquetStream

    def watched(*given: Any, **options: Any) -> Any:
        streams.append(original(*given, **options))
        return streams[-1]

    monkeypatch.setattr(module, "ParquetStream", watched)
    found = with_unlabelled(DATA, path)
    assert found.unlabelled is not None
    assert len(found.unlabelled.texts) == 50
    assert not streams[0]._read


def test_texts_of_other_words_are_told_of() -> None:
    german = [f"wo bleibt denn eigentlich mein neues Paket Nummer {i}" for i in range(20)]
    assert any(
        "of the words of the unlabelled texts" in n for n in with_unlabelled(DATA, german).notes
    )
    assert not with_unlabelled(DATA, OTHERS).notes
    varied = TextDataset(
        "odd",
        ("a", "b"),
        Examples(tuple(f"w{i} x{i} y{i}" for i in range(40)), [i % 2 for i in range(40)]),
    )
    assert not with_unlabelled(varied, OTHERS).notes, "no text knows the words of another"


# --- never from development or testing -----------------------------------------------------------


def test_texts_of_the_held_out_parts_are_left_out_and_told_of() -> None:
    data = with_test_set()
    assert data.test is not None
    respelt = [text.upper().replace(" ", "  ") for text in data.test.texts]
    found = with_unlabelled(data, [*OTHERS, *respelt, *TEXTS])
    assert any("65 unlabelled texts stand in the labelled data too" in n for n in found.notes)
    split = split_holdout(found, 3)
    held = {
        *keys_of(split.dev.texts, "words").tolist(),
        *keys_of(split.test.texts, "words").tolist(),
    }
    own = keys_of(split.unlabelled, "words").tolist()
    assert not held & {*own}
    assert {*OTHERS} <= {*split.unlabelled}
    assert len(own) == 20 + 60 - len(split.dev)


def test_every_fold_leaves_its_own_texts_out() -> None:
    found = with_unlabelled(DATA, [*OTHERS, *TEXTS])
    for fold in range(4):
        split = split_fold(found, fold, 4)
        assert not {*split.test.texts, *split.dev.texts} & {*split.unlabelled}
        assert {*split.train.texts} <= {*split.unlabelled}


def test_if_none_is_left_it_is_refused() -> None:
    data = with_test_set()
    assert data.test is not None
    with pytest.raises(AmpmixError, match="each of the 5 unlabelled texts of 'toy' equals one"):
        split_holdout(with_unlabelled(data, data.test.texts), 0)


# --- the rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [split_train, split_holdout, split_fold, split_all])
def test_the_rest_are_the_training_texts_whose_labels_are_not_kept(split: Any) -> None:
    data = with_unlabelled(with_test_set() if split is split_holdout else DATA, REST)
    given = {split_fold: (1, 4), split_all: ()}.get(split, (3,))
    made = split(data, *given, fraction=0.3)
    assert made.unlabelled
    kept = {*made.train.texts, *made.dev.texts}
    apart = {*made.test.texts} if split is split_fold else set()
    assert {*made.unlabelled} == {*TEXTS} - kept - apart


def test_with_all_labels_kept_there_is_no_rest() -> None:
    with pytest.raises(AmpmixError, match=r"all labels of 'toy' are kept.*--fraction below 1"):
        split_train(with_unlabelled(DATA, REST), 0)


def test_no_text_of_a_group_that_develops_is_among_the_rest() -> None:
    names = [f"g{i // 4}" for i in range(60)]
    grouped = TextDataset("toy", ("a", "b"), DATA.train, groups=text_groups(TEXTS, names))
    data, place = with_unlabelled(grouped, REST), {text: i for i, text in enumerate(TEXTS)}
    for seed in range(5):
        split = split_train(data, seed, fraction=0.5)
        groups = {names[place[text]] for text in split.dev.texts}
        assert split.unlabelled
        assert not groups & {names[place[text]] for text in split.unlabelled}


def test_a_data_set_with_them_goes_to_workers() -> None:
    found = pickle.loads(pickle.dumps(with_unlabelled(DATA, OTHERS)))
    assert split_train(found, 0).unlabelled == tuple(OTHERS)
