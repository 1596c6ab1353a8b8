"""Equal texts and given groups stay in one part of every split, which stays balanced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampmix import AmpmixError, load_dataset
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.groups import (
    hashes_of,
    near_duplicates,
    normalised,
    seen_among,
    text_groups,
    trained_on,
)
from ampmix.data.splits import rare_notes, split_fold, split_holdout, split_train

AWKWARD = Path(__file__).parent / "awkward"


def loop_groups(texts: list[str], names: list[str] | None) -> list[set[int]]:
    """Connected components, found by joining until nothing changes."""
    groups = [{i} for i in range(len(texts))]

    def linked(a: int, b: int) -> bool:
        if normalised(texts[a]) == normalised(texts[b]):
            return True
        return names is not None and names[a] != "" and names[a] == names[b]

    changed = True
    while changed:
        changed = False
        for one in groups:
            for other in groups:
                if one is not other and any(linked(a, b) for a in one for b in other):
                    one |= other
                    groups.remove(other)
                    changed = True
                    break
            if changed:
                break
    return sorted(groups, key=min)


words = st.sampled_from(["a", "A", " a", "b", "c\u0301", "\u0107", "d", "e"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(words, st.sampled_from(["", "x", "y", "z"])), min_size=1, max_size=9))
def test_groups_are_the_components_that_a_loop_finds(rows: list[tuple[str, str]]) -> None:
    texts, names = [row[0] for row in rows], [row[1] for row in rows]
    for given_names in (None, names):
        found = text_groups(texts, given_names)
        numbers = np.arange(len(texts)) if found is None else found
        sets = [set(np.flatnonzero(numbers == n).tolist()) for n in np.unique(numbers)]
        assert sorted(sets, key=min) == loop_groups(texts, given_names)


def grouped(n: int, seed: int, classes: int = 3) -> TextDataset:
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, classes, n)
    groups = np.minimum(draws.geometric(0.02, n), n // 4)
    texts = tuple(f"text {i}" for i in range(n))
    own = text_groups(texts, [f"g{g}" for g in groups])
    names = tuple("abc"[:classes])
    return TextDataset("toy", names, Examples(texts, labels), groups=own)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("folds", [2, 5])
def test_no_group_is_in_two_parts_and_folds_are_balanced(seed: int, folds: int) -> None:
    data = grouped(400, seed)
    assert data.groups is not None
    tested: list[int] = []
    largest = np.bincount(data.groups).max()
    for fold in range(folds):
        split = split_fold(data, fold, folds, seed)
        parts = (split.train_indices, split.dev_indices, split.test_indices)
        own = [set(data.groups[part].tolist()) for part in parts]
        assert not own[0] & own[1] and not own[0] & own[2] and not own[1] & own[2]
        assert sum(map(len, parts)) == 400
        tested += split.test_indices.tolist()
        assert abs(len(split.test) - 400 / folds) <= largest + 3
        assert 0.04 * len(split.train) < len(split.dev) < 0.25 * len(split.train)
        assert split.hash == split_fold(data, fold, folds, seed).hash
    assert sorted(tested) == list(range(400))
    assert split_fold(data, 0, folds, 9).hash != split_fold(data, 0, folds, 8).hash


@pytest.mark.parametrize("fraction", [1.0, 0.3])
def test_development_texts_share_no_group_with_training_texts(fraction: float) -> None:
    data = grouped(300, 1)
    for seed in range(5):
        split = split_train(data, seed, fraction)
        assert data.groups is not None
        own = set(data.groups[split.train_indices].tolist())
        assert len(split.dev) and not own & set(data.groups[split.dev_indices].tolist())
        assert set(split.train.labels.tolist()) == {0, 1, 2}


def test_without_equal_texts_nothing_changes() -> None:
    data = TextDataset("toy", ("a", "b"), Examples(tuple(map(str, range(40))), [0, 1] * 20))
    assert text_groups(data.train.texts) is None
    alone = TextDataset("toy", ("a", "b"), data.train, groups=None)
    assert data.fingerprint == alone.fingerprint
    together = TextDataset("toy", ("a", "b"), data.train, groups=np.arange(40) // 2)
    assert data.fingerprint != together.fingerprint


@pytest.mark.slow
def test_copies_are_no_longer_learnt_by_heart(
    tmp_path: Path, serial: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--steps", "60", "--lr", "5e-3", "--backbone", "cnn[embedding_dim=16,feature_maps=8]"]
    command = [
        "compare",
        str(AWKWARD / "dups.csv"),
        "--seeds",
        "3",
        "--policies",
        "none,mixup",
        *small,
    ]
    assert main([*command, "--out", str(tmp_path / "runs")]) == 0
    err = capsys.readouterr().err
    assert "60 texts stand more than once (300 rows)" in err
    rows = json.loads((tmp_path / "runs/summary.json").read_text())["rows"]
    assert len(rows) == 3 and min(row["mean"] for row in rows) > 30


def test_groups_of_a_column_stay_together_in_every_command(
    tmp_path: Path, serial: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "grouped.csv"
    rows = [f"text number {i} of {i // 4},{'ab'[i // 4 % 2]},u{i // 4}" for i in range(80)]
    path.write_text("text,label,user\n" + "\n".join(rows) + "\n")
    data = load_dataset(path, group="user")
    assert data.groups is not None and data.groups.tolist() == [i // 4 for i in range(80)]
    small = ["--steps", "2", "--backbone", "cnn[embedding_dim=2,feature_maps=1]"]
    out = ["--out", str(tmp_path / "out")]
    assert main(["train", str(path), "--group", "user", *small, *out]) == 0
    assert "20 groups: texts of one group stay in one part" in capsys.readouterr().err
    runs = ["--seeds", "2", "--policies", "none,mixup", "--out", str(tmp_path / "runs")]
    assert main(["compare", str(path), "--group", "user", *small, *runs]) == 0
    assert main(["train", str(path), "--group", "users", *small, *out]) == 2
    assert "has no column 'users'" in capsys.readouterr().err
    with pytest.raises(AmpmixError, match="--group cannot be given with data set"):
        load_dataset("trec", group="user")


def test_too_few_groups_are_one_sentence() -> None:
    data = TextDataset(
        "toy",
        ("a", "b"),
        Examples(tuple("abcdef"), [0, 1] * 3),
        groups=np.array([0, 0, 0, 1, 1, 1]),
    )
    with pytest.raises(AmpmixError, match="has 2 groups of texts that stay together"):
        split_fold(data, 0, 5)
    whole = TextDataset(
        "toy", ("a", "b"), Examples(tuple("abcdef"), [0, 0, 0, 1, 1, 1]),
        groups=np.array([0, 0, 0, 1, 1, 1]),
    )  # fmt: skip
    with pytest.raises(AmpmixError, match="cannot give a development set: each of its groups"):
        split_train(whole, 0)


def test_near_duplicates_are_those_of_a_loop() -> None:
    draws = np.random.default_rng(0)
    base = [" ".join(f"w{i}" for i in draws.integers(0, 99, 9)) for _ in range(40)]
    texts = base + [f"{text} w7" for text in base[:6]] + base[:3]

    def grams(text: str) -> set[str]:
        return {text[i : i + 5] for i in range(len(text) - 4)}

    distinct = list(dict.fromkeys(texts))
    near = {
        i
        for i, one in enumerate(distinct)
        for j, other in enumerate(distinct)
        if i != j
        and len(grams(one) & grams(other)) >= 0.8 * (len(grams(one)) * len(grams(other))) ** 0.5
    }
    count, (first, second) = near_duplicates(texts)
    assert count == len(near) >= 12
    assert first != second and (first in second or second in first)
    assert near_duplicates(["a", "b"])[0] == near_duplicates([])[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["keep", "merge", "drop"])
def test_rare_classes_are_kept_merged_or_dropped(
    how: str, tmp_path: Path, serial: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rare.csv"
    rows = [f"text {i} of some words,{'ab'[i % 2]}" for i in range(40)]
    rows += [f"odd {i},rare" for i in range(3)] + ["even,single"]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    small = ["--steps", "2", "--backbone", "cnn[embedding_dim=2,feature_maps=1]"]
    command = ["compare", str(path), "--policies", "none,mixup", *small, "--rare", how]
    assert main([*command, "--out", str(tmp_path / "runs")]) == 0
    err = " ".join(capsys.readouterr().err.split())
    classes = load_dataset(path, rare=how).classes
    if how == "keep":
        assert "2 classes have fewer texts than the 5 folds: 'rare' (3), 'single' (1)" in err
        assert classes == ("a", "b", "rare", "single")
    elif how == "merge":
        assert "2 rare classes ('rare', 'single'; 4 texts) are one class 'other'" in err
        assert classes == ("a", "b", "other")
    else:
        assert "2 rare classes ('rare', 'single'; 4 texts) are left out" in err
        assert classes == ("a", "b")


def test_rare_is_checked_and_told_of_without_folds(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(20)))
    with pytest.raises(AmpmixError, match="unknown rare 'no'"):
        load_dataset(path, rare="no")
    data = load_dataset(path)
    assert rare_notes(data, 5) == [] and len(rare_notes(data, 11)) == 1
    tested = TextDataset("toy", data.classes, data.train, test=data.train)
    assert rare_notes(tested, 11) == []
    assert len(split_holdout(tested, 0).test) == 20


def test_a_class_of_one_text_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.csv"
    rows = [f"t{i} of {i % 7},{'ab'[i % 2]}" for i in range(20)]
    path.write_text("\n".join(["text,label", *rows, "Total,20"]) + "\n")
    small = ["--steps", "1", "--backbone", "cnn[embedding_dim=2,feature_maps=1]"]
    assert main(["train", str(path), *small, "--out", str(tmp_path / "model")]) == 0
    assert "1 class has one training text only: '20'; see that it" in capsys.readouterr().err


def test_hashes_find_what_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {i}" for i in range(500)]
    known = trained_on(texts[:300])
    assert seen_among(known, texts) == 300
    assert seen_among(known, [" TEXT  7 ", "new"]) == 1
    assert seen_among(None, texts) == seen_among({"texts": "?"}, texts) == 0
    assert len(set(hashes_of(texts).tolist())) == 500
    monkeypatch.setattr("ampmix.data.groups.REMEMBERED", 100)
    assert 200 < seen_among(trained_on(texts[:300]), texts) < 400
