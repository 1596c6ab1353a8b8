"""Repeated cross-validation from end to end: folds, records, looks, and what options change."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ampmix
from ampmix.analysis.groups import groups_of, read_runs
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_fold
from ampmix.errors import AmpmixError
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.records.store import RecordStore
from ampmix.studies.ladder import Ladder
from ampmix.studies.plan import Plan
from ampmix.training.config import TrainConfig

SMALL = ampmix.TextCNN(embedding_dim=8, feature_maps=4)
CONFIG = TrainConfig(steps=4, eval_every=2, batch_size=8, lr=0.01)
WORDS = {"good": ["fine", "great"], "bad": ["poor", "dull"]}


def dataset(rows: int = 40, test: bool = False) -> TextDataset:
    draw, texts, labels = random.Random(0), [], []
    for i in range(rows):
        label = list(WORDS)[i % 2]
        texts.append(f"the film was {draw.choice(WORDS[label])} {i}")
        labels.append(i % 2)
    part = Examples(tuple(texts), np.array(labels))
    return TextDataset("films", ("good", "bad"), part, test=part if test else None)


def plan(repeats: int = 2, policies: Any = None, folds: int = 3) -> Plan:
    listed = policies or (NoMixup(), Mixup())
    return Plan(dataset(), SMALL, listed, folds, 1.0, CONFIG, repeats)


def compare(plan: Any, out: Path, **more: Any) -> Any:
    return ampmix.compare(plan, out, keep_fold=True, **more)


def test_run_s_is_fold_s_mod_k_of_repeat_s_over_k() -> None:
    whole = plan()
    for seed in range(6):
        expected = split_fold(whole.dataset, seed % 3, 3, seed // 3)
        assert whole.split(seed).hash == expected.hash
    for repeat in range(2):
        tested = [whole.split(3 * repeat + f).test_indices for f in range(3)]
        assert sorted(np.concatenate(tested).tolist()) == list(range(40))
    apart = [frozenset(whole.split(s).test_indices.tolist()) for s in range(6)]
    assert len(set(apart)) == 6, "each repeat has folds of its own"
    assert whole.design == "2 repeats of 3 folds"


def test_the_runs_of_one_cross_validation_are_the_first_repeat_of_several(
    tmp_path: Path, serial: list[Any]
) -> None:
    first = compare(plan(1), tmp_path)
    before = {p.name: p.read_bytes() for p in (tmp_path / "records").iterdir()}
    done = len(serial)
    second = compare(plan(2), tmp_path)
    assert len(serial) == 2 * done
    for name, content in before.items():
        assert (tmp_path / "records" / name).read_bytes() == content
    of = {row.policy: row for row in second.rows}
    assert of["mixup"].compared_by in ("repeated-cv", "")
    assert {row.policy: row for row in first.rows}["mixup"].compared_by != "repeated-cv"
    told = json.loads((tmp_path / "summary.json").read_text())
    assert (told["seeds"], told["repeats"], told["looks"]) == (3, 2, [1, 2])
    (group,) = groups_of(read_runs([tmp_path]).records)
    assert all(len(runs) == 6 for runs in group.records.values())


def test_records_say_which_texts_a_fold_tested(tmp_path: Path, serial: list[Any]) -> None:
    whole = plan(2, (NoMixup(),))
    compare(whole, tmp_path)
    store = RecordStore(tmp_path / "records")
    for run in whole.runs():
        record = store.get(whole.specification(run))
        assert record is not None and record.test_indices is not None
        assert record.test_indices.tolist() == whole.split(run.seed).test_indices.tolist()
        assert record.test_groups is None


def test_policies_tried_before_in_the_folder_count(tmp_path: Path, serial: list[Any]) -> None:
    many = plan(2, (NoMixup(), Mixup(), Mixup(alpha=0.5), ampmix.AMP(eps=0.3)))
    whole = {row.policy: row for row in compare(many, tmp_path).rows}
    fewer = compare(replace(many, policies=many.policies[:2]), tmp_path)
    alone = {row.policy: row for row in fewer.rows}["mixup"]
    assert (alone.p, alone.interval) == (whole["mixup"].p, whole["mixup"].interval)
    assert set(fewer.tried_before) == {"mixup[alpha=0.5]", "amp[eps=0.3]"}
    assert "2 others in the folder" in str(fewer)


def test_it_goes_on_until_decided_and_stops_there(tmp_path: Path, serial: list[Any]) -> None:
    steps = Ladder((plan(4, folds=2),), margin=60.0, until_decided=True)
    summary = compare(steps, tmp_path)
    assert {row.decision for row in summary.rows if row.policy == "mixup"} == {"the same"}
    assert summary.plan.repeats == 2, "the first look decides"
    assert summary.trained == len(serial) == 2 * 2 * 3
    open_end = compare(replace(steps, margin=0.0), tmp_path)
    decided = {row.policy: row.decision for row in open_end.rows}["mixup"]
    assert open_end.plan.repeats == 4 or decided.endswith("error")
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["most"] == 4 and told["looks"] == list(range(2, open_end.plan.repeats + 1))


def test_models_are_compared_by_the_repeats_of_the_first_look(
    tmp_path: Path, serial: list[Any]
) -> None:
    other = ampmix.TextCNN(embedding_dim=4, feature_maps=4)
    steps = Ladder.of(
        dataset(), "none,mixup", SMALL, [other], folds=2, repeats=4, until_decided=True,
        margin=60.0, steps=4, batch_size=8,
    )  # fmt: skip
    assert {one.repeats for one in steps.rungs} == {2}
    assert {one.repeats for one in steps.shares} <= {1}
    assert {one.repeats for one in steps.plans} == {4}
    summary = compare(steps, tmp_path)
    assert summary.plan.repeats == 2
    assert {len(row.errors) for row in summary.ladder if row.errors} == {4}


def test_a_time_that_is_up_ends_it(tmp_path: Path, serial: list[Any]) -> None:
    steps = Ladder((plan(5, folds=2),), margin=0.0, until_decided=True, seconds=1e-9)
    assert compare(steps, tmp_path).plan.repeats == 2


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["macro-f1", "log-loss", "calibration"])
def test_the_metric_is_what_is_compared(metric: str, tmp_path: Path, serial: list[Any]) -> None:
    whole = replace(plan(2), config=replace(CONFIG, steps=12, lr=0.05))
    error = {row.policy: row for row in compare(whole, tmp_path).rows}["mixup"]
    summary = compare(Ladder((whole,), metric=metric), tmp_path)
    other = {row.policy: row for row in summary.rows}["mixup"]
    assert other.difference != error.difference
    loss = {"macro-f1": "macro-F1 loss", "log-loss": "log loss"}.get(metric, "calibration error")
    assert loss in str(summary)


@pytest.mark.parametrize(
    ("given", "design"),
    [
        ({}, (5, 3)),
        ({"folds": 4}, (4, 3)),
        ({"repeats": 2}, (5, 2)),
        ({"folds": 3, "repeats": 1}, (3, 1)),
        ({"seeds": 4}, (4, 1)),
        ({"seeds": 4, "repeats": 2}, (4, 2)),
        ({"until_decided": True}, (5, 10)),
        ({"until_decided": True, "repeats": 4}, (5, 4)),
    ],
)
def test_folds_and_repeats_have_their_defaults(given: Any, design: tuple[int, int]) -> None:
    made = Ladder.of(dataset(), "none", SMALL, steps=2, **given).plans[0]
    assert (made.seeds, made.repeats) == design


def test_with_a_test_set_there_are_seeds(tmp_path: Path) -> None:
    made = Ladder.of(dataset(test=True), "none", SMALL, steps=2).plans[0]
    assert (made.seeds, made.repeats) == (5, 1)
    going_on = Ladder.of(dataset(test=True), "none", SMALL, steps=2, until_decided=True).plans[0]
    assert (going_on.seeds, going_on.with_runs(2).seeds) == (10, 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--folds", "1"], "folds is 1"),
        (["--repeats", "0"], "repeats is 0"),
        (["--folds", "3", "--seeds", "4"], "folds is 3 and seeds is 4"),
        (["--margin", "-1"], "margin is -1"),
        (["--margin", "nan"], "margin is nan"),
        (["--metric", "f1"], "unknown metric 'f1'"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "films.csv"
    rows = [f"the film {i},{'good' if i % 2 else 'bad'}" for i in range(30)]
    file.write_text("text,label\n" + "\n".join(rows) + "\n")
    assert (
        main(["compare", str(file), "--backbone", "cnn", "--out", str(tmp_path / "o"), *given]) == 2
    )
    assert said in capsys.readouterr().err


def test_repeats_and_folds_go_with_no_test_set() -> None:
    for name in ("folds", "repeats"):
        with pytest.raises(AmpmixError, match=f"{name} is 3: data set 'films' has a test set"):
            Ladder.of(dataset(test=True), "none", SMALL, **{name: 3})
    with pytest.raises(AmpmixError, match="has no folds to repeat"):
        Plan(dataset(test=True), SMALL, (NoMixup(),), 3, 1.0, CONFIG, 2)
