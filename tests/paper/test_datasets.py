"""The paper's data sets: Table 1, folds, label fractions, and a comparison on each of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ampmix.studies.compare as compare_module
from ampmix import datasets
from ampmix._support import components
from ampmix.analysis import data_statistics
from ampmix.analysis.data_statistics import Statistics, table1
from ampmix.analysis.paper import reference
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import TextDataset
from ampmix.data.splits import split_fold, split_holdout
from ampmix.datasets import load
from ampmix.errors import AmpmixError
from ampmix.policies.none import NoMixup
from ampmix.studies.plan import Plan
from ampmix.terminal.data_statistics import differences
from ampmix.text.tokenizers import kim, kim_sst
from every_policy import every_policy_and_site

pytestmark = pytest.mark.slow

# ------------------------------------------------------------------ Table 1


@pytest.fixture(scope="module")
def counted(trec_data: Path) -> dict[str, tuple[Statistics, Any]]:
    return table1()


def test_table_1_is_the_printed_one(counted: dict[str, tuple[Statistics, Any]]) -> None:
    """Vocabularies of TREC, SST-1 and MR to the word, SST-2 and SUBJ within 3, the rest equal."""
    printed = {row["dataset"]: row for row in reference()["table1"]}
    assert list(counted) == list(printed) == ["TREC", "SST-1", "SST-2", "SUBJ", "MR"]
    assert [ours.vocabulary for ours, _ in counted.values()] == [9592, 17836, 16188, 21322, 18765]
    for title, (ours, theirs) in counted.items():
        assert theirs == printed[title]
        allowed = 3 if title in ("SST-2", "SUBJ") else 0
        assert abs(ours.vocabulary - theirs["vocabulary"]) <= allowed
        assert round(ours.average_length) == theirs["average_length"]
        assert [ours.classes, ours.size, ours.test] == [
            theirs[column] for column in ("classes", "size", "test")
        ]


def test_other_cleaning_or_parts_give_other_vocabularies(trec_data: Path) -> None:
    """So that the agreement says something: each alternative misses Table 1."""
    sst, mr = load("sst1[phrases=false]"), load("mr")

    def count(texts: tuple[str, ...], tokenize: Any) -> int:
        return len({word for text in texts for word in tokenize(text)})

    everything = sst.train.texts + sst.dev.texts + sst.test.texts
    assert count(everything, kim_sst) == 17836
    assert count(everything, kim) == 17833
    assert count(sst.train.texts + sst.test.texts, kim_sst) == 17090
    assert (count(mr.train.texts, kim), count(mr.train.texts, kim_sst)) == (18765, 19449)


def test_the_command_shows_both_in_80_columns(
    counted: dict[str, tuple[Statistics, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(data_statistics, "table1", lambda: counted)
    assert main(["list", "datasets", "--statistics"]) == 0
    out = capsys.readouterr().out
    lines = out.split("\n\n")[0].splitlines()
    assert len(lines) == 11 and max(map(len, lines)) <= 80
    assert lines[5].split() == ["SST-2", "2", "18.5", "16,188", "9,613", "1,821"]
    assert lines[6].split() == ["printed", "2", "19", "16,185", "9,613", "1,821"]
    assert lines[9].split() == ["MR", "2", "20.4", "18,765", "10,662", "CV"]
    assert "Not as printed: SST-2 vocabulary (+3), SUBJ vocabulary (-1)." in out


def test_differences_in_kind_and_none() -> None:
    row = {"classes": 2, "average_length": 18.5, "vocabulary": 5, "size": 9, "test": "CV"}
    assert differences({"X": (row, row | {"average_length": 18})}) == "All is as printed."
    other = {"X": (row, row | {"test": 500, "average_length": 20})}
    assert differences(other) == "Not as printed: X average length (-2), X test (CV for 500)."


def test_list_takes_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "datasets" and "  sst1[phrases=true]" in lines and "  mr" in lines
    assert not any("amp[" in line for line in lines)
    assert main(["list", "--statistics"]) == 2
    assert "ampmix list datasets --statistics" in capsys.readouterr().err
    assert main(["list", "backbons"]) == 2
    assert "'policies', 'backbones', 'baselines', 'datasets'" in capsys.readouterr().err


def test_a_missing_file_stops_the_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trec_data: Path
) -> None:
    (tmp_path / "sent-conv").mkdir()
    (tmp_path / "sent-conv" / "TREC.train.all").write_text("0 altered\n")
    monkeypatch.setenv("AMPMIX_DATA", str(tmp_path))
    with pytest.raises(AmpmixError, match=r"TREC.train.all was altered"):
        data_statistics.table1()


# ------------------------------------------------------------------ MR and SUBJ


@pytest.fixture(scope="module", params=["mr", "subj"])
def folded(request: pytest.FixtureRequest, trec_data: Path) -> TextDataset:
    return load(request.param)


def test_every_line_is_a_text_with_its_label(folded: TextDataset, trec_data: Path) -> None:
    file = {"mr": "rt-polarity.all", "subj": "subj.all"}[folded.name]
    raw = (trec_data / "sent-conv" / file).read_bytes()
    assert b"\x85" in raw
    assert len(raw.decode("cp1252").splitlines()) == raw.count(b"\n") == len(folded.train)
    assert len(raw.decode("latin-1").splitlines()) > len(folded.train), "0x85 would end a line"
    lines = [f"{i} {text}".encode("cp1252") for text, i in zip(*parts(folded), strict=True)]
    assert b"\n".join(lines) + b"\n" == raw
    half = len(folded.train) // 2
    assert np.bincount(folded.train.labels).tolist() == [half, half]
    assert any("\u2026" in text for text in folded.train.texts)


def parts(dataset: TextDataset) -> tuple[tuple[str, ...], list[int]]:
    return dataset.train.texts, dataset.train.labels.tolist()


@pytest.mark.parametrize(
    ("name", "words", "label"),
    [
        ("mr", "simplistic , silly and tedious .", "negative"),
        ("mr", "the rock is destined to be the 21st century's new", "positive"),
        ("subj", "smart and alert , thirteen conversations", "subjective"),
        ("subj", "the movie begins in the past where a young boy named sam", "objective"),
    ],
)
def test_classes_are_named_rightly(trec_data: Path, name: str, words: str, label: str) -> None:
    dataset = load(name)
    found = next(i for i, text in enumerate(dataset.train.texts) if text.startswith(words))
    assert dataset.classes[dataset.train.labels[found]] == label


def test_ten_folds_test_every_text_once(folded: TextDataset) -> None:
    plan = Plan(folded, TextCNN(), (NoMixup(),), seeds=10)
    splits = [plan.split(fold) for fold in range(10)]
    tested = np.concatenate([split.test_indices for split in splits])
    assert sorted(tested.tolist()) == list(range(len(folded.train)))
    for fold, split in enumerate(splits):
        negative, positive = np.bincount(split.test.labels).tolist()
        assert abs(negative - positive) <= 1
        sizes = [len(split.train), len(split.dev), len(split.test)]
        assert sum(sizes) == len(folded.train)
        assert abs(sizes[1] - 0.1 * (sizes[0] + sizes[1])) <= 1
        everything = np.concatenate([split.train_indices, split.dev_indices, split.test_indices])
        assert len(np.unique(everything)) == len(folded.train)
        assert split.hash == split_fold(load(folded.name), fold, 10).hash, "folds are fixed"


@pytest.mark.parametrize("fold", [-1, 10, 99])
def test_a_fold_out_of_range_is_an_error(folded: TextDataset, fold: int) -> None:
    with pytest.raises(AmpmixError, match=f"fold is {fold}: with 10 folds it must be 0 to 9"):
        split_fold(folded, fold, 10)


# ------------------------------------------------------------------ Table 3


def test_label_fractions_are_those_of_table_3(trec_data: Path) -> None:
    printed = {(row["percent"], row["labels"]) for row in reference()["table3"]}
    trec = load("trec")
    for percent, labels in printed:
        split = split_holdout(trec, seed=0, fraction=percent / 100)
        assert len(split.train) + len(split.dev) == labels
    counts = {labels for _, labels in printed}
    assert counts == {160, 215, 270, 543, 815, 1089, 2179, 4359, 5452}


# ------------------------------------------------------------------ end to end

POLICIES = ",".join(components.spec(policy) for policy in every_policy_and_site())
TINY = ["--backbone", "cnn[embedding_dim=4,feature_maps=2]", "--steps", "2", "--batch-size", "8"]


@pytest.mark.parametrize(
    ("data", "seeds", "tested"),
    [
        ("trec", 1, 500),
        ("sst1", 1, 2210),
        ("sst2", 1, 1821),
        ("sst1[phrases=false]", 1, 2210),
        ("sst2[phrases=false]", 1, 1821),
        ("subj", 2, 5000),
        ("mr", 2, 5331),
    ],
)
def test_compare_runs_every_policy(
    trec_data: Path,
    serial: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    load_once: Any,
    data: str,
    seeds: int,
    tested: int,
) -> None:
    monkeypatch.setattr(datasets, "load", load_once)
    monkeypatch.chdir(tmp_path)
    command = ["compare", data, "--policies", POLICIES, "--seeds", str(seeds), "--out", "out"]
    assert main([*command, *TINY, "--fraction", "0.02"]) == 0
    content = json.loads(Path("out/summary.json").read_text())
    assert [row["policy"] for row in content["rows"]][1:] == re.split(r",(?![^\[]*\])", POLICIES)
    assert all(len(row["errors"]) == seeds and not row["failures"] for row in content["rows"])
    for path in Path("out/records").glob("*.json"):
        assert json.loads(path.read_text())["result"]["n_test"] == tested


@pytest.mark.parametrize(
    ("data", "given", "seeds"),
    [("mr", [], 10), ("subj", [], 10), ("mr", ["--seeds", "3"], 3), ("trec", [], 5)],
)
def test_cross_validation_has_ten_folds_unless_told(
    trec_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    data: str,
    given: list[str],
    seeds: int,
) -> None:
    plans: list[Any] = []

    def stop(plan: Any, *arguments: Any, **_: Any) -> Any:
        plans.append(plan)
        raise AmpmixError("enough seen")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_module, "compare", stop)
    assert main(["compare", data, *given]) == 2
    assert plans[0].plans[0].seeds == seeds


def test_every_known_data_set_says_what_the_paper_calls_it() -> None:
    found = components.find("ampmix.datasets")
    titles = {name: getattr(cls, "title", "") for name, cls in found.items()}
    assert titles == {
        "mr": "MR",
        "sst1": "SST-1",
        "sst2": "SST-2",
        "subj": "SUBJ",
        "trec": "TREC",
        "hf": "",
    }
