"""`ampmix compare` from end to end: what it writes, and that it repeats without training again."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import forked
from ampmix import datasets, statistics
from ampmix._support import components
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_fold, split_holdout
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier
from ampmix.policies import mixup as mixup_module
from ampmix.policies.amp import AMP
from ampmix.policies.base import Mixed
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.records.store import BASELINE, RecordStore, RunRecord
from ampmix.studies import baseline
from ampmix.studies.compare import Summary
from ampmix.studies.compare import compare as refitted
from ampmix.studies.plan import Plan, Run
from ampmix.training.config import TrainConfig

SEEDS, STEPS = 3, 20
SMALL = "cnn[embedding_dim=8,feature_maps=4]"
POLICIES = "none,mixup,amp[eps=0],amp[eps=0.5,site=sent]"
SPECS = ["none", "mixup", "amp[eps=0.0]", "amp[eps=0.5,site=sent]"]
TRAINING = [
    "--no-refit",
    "--backbone",
    SMALL,
    "--steps",
    str(STEPS),
    "--eval-every",
    "5",
    "--lr",
    "0.01",
]

COMMON = ["the", "film", "book", "play", "was", "is", "a", "very", "so", "day"]
TELLING = {
    "good": ["great", "fine", "lovely"],
    "bad": ["awful", "dull", "poor"],
    "ask": ["how", "why", "when"],
}


def compare(*given: Any, **more: Any) -> Summary:
    """The comparison that keeps a fold's model; tests/studies/test_ladder.py has the other."""
    return refitted(*given, keep_fold=True, **more)


def texts(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts of three classes that can be told apart, but not always."""
    draw, made = random.Random(seed), []
    for i in range(rows):
        label = list(TELLING)[i % 3]
        kind = label if draw.random() < 0.7 else draw.choice(list(TELLING))
        words = [*draw.choices(COMMON, k=5), draw.choice(TELLING[kind])]
        draw.shuffle(words)
        made.append((" ".join(words) + f" {i}", label))
    return made


def write_csv(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f"{t},{y}\n" for t, y in rows))
    return path


def ampmix(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ampmix", *arguments]
    return forked.run(command, capture_output=True, text=True, timeout=120, **options)


def records_in(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    return {(r["specification"]["policy"], r["specification"]["seed"]): r for r in found}


def digests(out: Path) -> dict[tuple[str, int], str]:
    return {run: record["digest"] for run, record in records_in(out).items()}


def summary_in(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return content


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}


def table_of(output: str) -> str:
    return output[output.index("policy ") : output.index("Written to")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "films.csv", texts(72))


class Finished:
    """A comparison by the command line, and what it left."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.out, self.folder = data, folder / "out", folder
        environment = os.environ | {"A_SECRET_OF_MINE": "hunter2hunter2"}
        self.done = ampmix(*self.command(), cwd=folder, env=environment)
        assert self.done.returncode == 0, self.done.stderr
        self.records = records_in(self.out)
        self.summary = summary_in(self.out)

    def command(self, policies: str = POLICIES, out: str = "out", workers: int = 2) -> list[str]:
        where = ["--out", out, "--workers", str(workers), "--seeds", str(SEEDS)]
        return ["compare", str(self.data), "--policies", policies, *TRAINING, *where]

    def row(self, policy: str) -> dict[str, Any]:
        return next(row for row in self.summary["rows"] if row["policy"] == policy)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(data, tmp_path_factory.mktemp("finished"))


# ------------------------------------------------------------------ what it writes


def test_the_summary_names_what_was_compared(finished: Finished) -> None:
    content = finished.summary
    assert content["dataset"] == "films"
    assert content["backbone"] == SMALL
    assert content["design"] == "cross-validation"
    assert content["seeds"] == SEEDS
    assert content["baseline"] == "none"
    assert content["classes"] == ["ask", "bad", "good"]


def test_the_baseline_comes_first_then_the_policies_in_their_order(finished: Finished) -> None:
    assert [row["policy"] for row in finished.summary["rows"]] == [baseline.NAME, *SPECS]


def test_there_is_one_record_a_run_named_by_its_specification(finished: Finished) -> None:
    names = [baseline.NAME, *SPECS]
    assert set(finished.records) == {(name, seed) for name in names for seed in range(SEEDS)}
    store = RecordStore(finished.out / "records")
    for content in finished.records.values():
        record = store.get(content["specification"])
        assert record is not None
        assert store.path(record.id).exists()
    assert len(list((finished.out / "records").iterdir())) == len(finished.records)


def test_a_record_holds_what_it_must(finished: Finished) -> None:
    fingerprint = datasets.load(str(finished.data)).fingerprint
    for (policy, seed), content in finished.records.items():
        specification, result = content["specification"], content["result"]
        assert specification["data_hash"] == fingerprint
        assert specification["seed"] == seed
        assert len(result["split_hash"]) == 64
        assert set(result["test_wrong"]) <= {"0", "1"}
        assert len(result["test_wrong"]) == result["n_test"] == 24
        assert result["n_train"] + result["n_dev"] + result["n_test"] == 72
        assert result["test_error"] == result["test_wrong"].count("1") / 24
        assert len(result["test_reads"]) == 1
        versions = content["provenance"]["versions"]
        assert {"python", "ampmix", "torch", "numpy"} <= set(versions)
        assert torch.__version__.split("+")[0] == versions["torch"].split("+")[0]
        assert {"git", "finished", "seconds"} <= set(content["provenance"])
        if policy == baseline.NAME:
            continue
        assert specification["backbone"] == SMALL
        assert specification["training"]["steps"] == STEPS
        assert specification["training"]["lr"] == 0.01
        curve = result["curve"]
        assert [reading["step"] for reading in curve] == [5, 10, 15, 20]
        best = min(curve, key=lambda reading: (reading["dev_error"], reading["dev_loss"]))
        assert result["best_step"] == best["step"]
        assert result["dev_error"] == best["dev_error"]
        assert result["test_reads"] == [best["step"]]


def test_a_record_tells_nothing_of_the_machines_owner(finished: Finished) -> None:
    for path in (finished.out / "records").iterdir():
        text = path.read_text()
        for private in (
            "hunter2hunter2",
            "A_SECRET_OF_MINE",
            str(finished.folder),
            str(Path.home()),
        ):
            assert private not in text
        assert str(finished.data.parent) not in text
        assert os.uname().nodename not in text


def test_all_policies_of_a_seed_share_the_split_and_seeds_do_not(finished: Finished) -> None:
    by_seed = [
        {record["result"]["split_hash"] for (_, s), record in finished.records.items() if s == seed}
        for seed in range(SEEDS)
    ]
    assert [len(hashes) for hashes in by_seed] == [1] * SEEDS
    assert len(set.union(*by_seed)) == SEEDS


def test_errors_means_and_differences_follow_from_the_records(finished: Finished) -> None:
    def errors(policy: str) -> np.ndarray:
        wrongs = [finished.records[policy, s]["result"]["test_wrong"] for s in range(SEEDS)]
        return np.array([100 * wrong.count("1") / len(wrong) for wrong in wrongs])

    for row in finished.summary["rows"]:
        own, baseline = errors(row["policy"]), errors("none")
        assert row["errors"] == pytest.approx(own.tolist())
        assert row["seeds"] == list(range(SEEDS))
        assert row["mean"] == pytest.approx(own.mean())
        assert row["std"] == pytest.approx(np.sqrt(((own - own.mean()) ** 2).sum() / (SEEDS - 1)))
        if row["policy"] == "none":
            assert row["difference"] is row["interval"] is row["p"] is None
            assert row["verdict"] == "baseline"
            continue
        difference = own - baseline
        assert row["difference"] == pytest.approx(difference.mean())
        if np.ptp(difference) == 0:
            continue
        # Nadeau and Bengio: 48 texts to learn from and 24 to test on; t of 2 degrees of freedom,
        # for all three policies at once, and for the baseline, which is none, alone
        error = np.sqrt((1 / SEEDS + 24 / 48) * difference.var(ddof=1))
        at_once = 1 if row["policy"] == BASELINE else 3
        reach = stats.t(2).isf(0.025 / at_once) * error
        mean = difference.mean()
        possible = np.clip([mean - reach, mean + reach], -100, 100)
        assert row["interval"] == pytest.approx(possible)


def test_p_values_are_holms_over_the_policies(finished: Finished) -> None:
    def raw(policy: str) -> float:
        differences = np.array(finished.row(policy)["errors"]) - finished.row("none")["errors"]
        p = statistics.corrected_resampled_t(differences / 100, 48, 24).p
        assert p is not None
        return p

    largest, policies = 0.0, sorted(SPECS[1:], key=raw)
    for rank, policy in enumerate(policies):
        largest = max(largest, min(1.0, (len(policies) - rank) * raw(policy)))
        assert finished.row(policy)["p"] == pytest.approx(largest, rel=1e-9), policy
    assert finished.row(baseline.NAME)["p"] == pytest.approx(raw(baseline.NAME))


def test_every_text_is_tested_once(finished: Finished) -> None:
    dataset = datasets.load(str(finished.data))
    plan = Plan(dataset, TextCNN(), (NoMixup(),), SEEDS)
    tested = np.concatenate([plan.split(seed).test_indices for seed in range(SEEDS)])
    assert sorted(tested.tolist()) == list(range(72))
    for seed in range(SEEDS):
        recorded = finished.records["none", seed]["result"]["split_hash"]
        assert recorded == plan.split(seed).hash


def test_the_chosen_model_has_the_lowest_development_error(finished: Finished) -> None:
    dev = {}
    for policy in SPECS:
        dev[policy] = [finished.records[policy, s]["result"]["dev_error"] for s in range(SEEDS)]
        assert finished.row(policy)["dev_error"] == pytest.approx(100 * np.mean(dev[policy]))
    chosen = min(SPECS, key=lambda policy: np.mean(dev[policy]))
    results = [finished.records[chosen, s]["result"] for s in range(SEEDS)]
    seed = min(range(SEEDS), key=lambda s: (results[s]["dev_error"], results[s]["dev_loss"], s))
    kept = finished.summary["model"]
    assert (kept["folder"], kept["policy"], kept["seed"]) == ("model", chosen, seed)
    assert f"{chosen}, seed {seed}" in finished.done.stdout


def test_the_chosen_model_errs_where_its_record_says(finished: Finished) -> None:
    classifier = Classifier.load(finished.out / finished.summary["model"]["folder"])
    seed = finished.summary["model"]["seed"]
    recorded = finished.records[finished.summary["model"]["policy"], seed]["result"]["test_wrong"]
    split = split_fold(datasets.load(str(finished.data)), seed, SEEDS)
    truth = [split.classes[label] for label in split.test.labels]
    predicted = classifier.predict(split.test.texts)
    wrong = "".join("01"[p != t] for p, t in zip(predicted, truth, strict=True))
    assert wrong == recorded
    assert 0 < recorded.count("1") < len(recorded)  # else any model might do
    probabilities = classifier.predict_proba(split.test.texts)
    assert probabilities.sum(1) == pytest.approx(np.ones(24), abs=1e-5)


def test_all_files_of_the_model_can_be_read_by_the_same_people(finished: Finished) -> None:
    modes = {
        path.name: oct(path.stat().st_mode & 0o777) for path in (finished.out / "model").iterdir()
    }
    assert len(modes) == 3
    assert len(set(modes.values())) == 1, modes


def test_amp_at_eps_zero_is_mixup_to_the_bit(finished: Finished) -> None:
    for seed in range(SEEDS):
        amp = dict(finished.records["amp[eps=0.0]", seed]["result"])
        mixup = finished.records["mixup", seed]["result"]
        moved = amp.pop("perturbation")  # Mixup moves nothing, and records nothing
        assert sum(moved["lam"]["counts"][1:]) == 0
        assert amp == mixup
        assert mixup["curve"] != finished.records["none", seed]["result"]["curve"]
        assert mixup["curve"] != finished.records["amp[eps=0.5,site=sent]", seed]["result"]["curve"]


def test_what_is_printed(finished: Finished) -> None:
    lines = finished.done.stdout.splitlines()
    assert max(map(len, table_of(finished.done.stdout).split("\n\n")[0].splitlines())) <= 80
    assert "72 training texts, 3 classes" in " ".join(lines)
    assert "3-fold cross-validation" in " ".join(finished.done.stdout.split())
    head = table_of(finished.done.stdout).split("\n\n")[0]
    for spec in SPECS:
        assert spec in head
    assert "Traceback" not in finished.done.stderr


# ------------------------------------------------------------------ that it repeats


def test_the_same_command_trains_nothing_and_prints_the_same_table(finished: Finished) -> None:
    records, summary = state(finished.out / "records"), (finished.out / "summary.json").read_bytes()
    again = ampmix(*finished.command(), cwd=finished.folder)
    assert again.returncode == 0
    assert "nothing to train" in again.stdout
    assert "nothing to train" not in finished.done.stdout
    assert table_of(again.stdout) == table_of(finished.done.stdout)
    assert state(finished.out / "records") == records
    assert (finished.out / "summary.json").read_bytes() == summary


def test_another_folder_and_one_worker_give_the_same_records_to_the_bit(finished: Finished) -> None:
    command = finished.command("none,amp[eps=0.5,site=sent]", "elsewhere", workers=1)
    done = ampmix(*command, cwd=finished.folder)
    assert done.returncode == 0, done.stderr
    expected = {
        run: digest
        for run, digest in digests(finished.out).items()
        if run[0] in (baseline.NAME, "none", "amp[eps=0.5,site=sent]")
    }
    assert digests(finished.folder / "elsewhere") == expected


# ------------------------------------------------------------------ in one process, quickly


TINY = TextCNN(embedding_dim=8, feature_maps=4)
QUICK = TrainConfig(steps=4, eval_every=2, lr=0.01)


def dataset(rows: int = 36, test: int = 0, **more: Any) -> TextDataset:
    def examples(n: int, seed: int) -> Examples:
        made = texts(n, seed)
        return Examples(tuple(t for t, _ in made), [list(TELLING).index(y) for _, y in made])

    held = examples(test, 1) if test else None
    return TextDataset("toy", tuple(TELLING), examples(rows, 0), test=held, **more)


def plan(*policies: Any, seeds: int = 2, config: TrainConfig = QUICK, **more: Any) -> Plan:
    more = {"dataset": dataset(), "backbone": TINY} | more
    return Plan(policies=policies or (NoMixup(), Mixup()), seeds=seeds, config=config, **more)


def by_name(summary: Summary) -> dict[str, Any]:
    return {row.policy: row for row in summary.rows}


def test_adding_a_policy_trains_that_policy_alone(tmp_path: Path, serial: list[Run]) -> None:
    first = compare(plan(), tmp_path)
    before = state(tmp_path / "records")
    assert first.trained == len(serial) == 6
    serial.clear()
    second = compare(plan(NoMixup(), Mixup(), AMP(site="sent")), tmp_path)
    assert serial == [Run("amp[site=sent]", 0), Run("amp[site=sent]", 1)]
    assert second.trained == 2
    assert by_name(second)["none"] == by_name(first)["none"]
    after = state(tmp_path / "records")
    assert {name: after[name] for name in before} == before


def test_another_backbone_or_setting_does_not_train_the_baseline_again(
    tmp_path: Path, serial: list[Run]
) -> None:
    compare(plan(NoMixup()), tmp_path)
    serial.clear()
    compare(plan(NoMixup(), backbone=TextCNN(embedding_dim=6, feature_maps=4)), tmp_path)
    compare(plan(NoMixup(), config=TrainConfig(steps=3, eval_every=2)), tmp_path)
    assert {run.policy for run in serial} == {"none"}
    assert len(serial) == 4


def test_another_text_trains_everything_again(tmp_path: Path, serial: list[Run]) -> None:
    compare(plan(), tmp_path)
    serial.clear()
    compare(plan(dataset=dataset(37)), tmp_path)
    assert len(serial) == 6


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format": 1}'])
def test_a_damaged_record_is_trained_again_set_aside_and_told_once(
    tmp_path: Path, serial: list[Run], damage: bytes
) -> None:
    one = plan()
    compare(one, tmp_path)
    path = tmp_path / "records" / f"{one.run_id(Run('mixup', 1))}.json"
    whole = json.loads(path.read_text())
    path.write_bytes(damage)
    serial.clear()
    summary = compare(one, tmp_path)
    assert serial == [Run("mixup", 1)]
    assert json.loads(path.read_text())["digest"] == whole["digest"]
    assert [where.name for where, _ in summary.unreadable] == [path.name]
    assert damage in [other.read_bytes() for other in path.parent.iterdir()]


def test_removed_weights_are_trained_again_and_the_records_stay(
    tmp_path: Path, serial: list[Run]
) -> None:
    first = compare(plan(), tmp_path)
    assert first.folder is not None
    weights = (first.folder / "model.safetensors").read_bytes()
    before = state(tmp_path / "records")
    shutil.rmtree(tmp_path / "models")
    shutil.rmtree(tmp_path / "model")
    serial.clear()
    second = compare(plan(), tmp_path)
    assert serial == [Run(str(first.chosen), int(first.chosen_seed or 0))]
    assert second.folder is not None
    assert (second.folder / "model.safetensors").read_bytes() == weights
    assert state(tmp_path / "records") == before


def test_fewer_seeds_choose_among_those(tmp_path: Path, serial: list[Run]) -> None:
    held = dataset(test=12)
    compare(plan(dataset=held, seeds=4), tmp_path)
    fewer = compare(plan(dataset=held, seeds=1), tmp_path)
    assert fewer.trained == 0
    assert fewer.chosen_seed == 0
    assert fewer.folder is not None
    about = json.loads((fewer.folder / "config.json").read_text())["about"]
    assert (about["policy"], about["seed"]) == (fewer.chosen, 0)
    assert {row.decision for row in fewer.rows} == {"baseline", "not decided"}


def test_with_a_test_set_seeds_and_texts_are_crossed(tmp_path: Path, serial: list[Run]) -> None:
    held = dataset(rows=60, test=30)
    summary = compare(plan(NoMixup(), Mixup(), AMP(eps=0.3), dataset=held, seeds=3), tmp_path)
    assert summary.as_json()["design"] == "test set"
    records = records_in(tmp_path)

    def wrong(policy: str) -> np.ndarray:
        strings = [records[policy, seed]["result"]["test_wrong"] for seed in range(3)]
        return np.array([[c == "1" for c in string] for string in strings])

    assert wrong("none").shape == (3, 30)
    for name in ("mixup", "amp[eps=0.3]", baseline.NAME):
        level = 0.95 if name == baseline.NAME else 1 - 0.05 / 2  # both policies at once
        expected = statistics.crossed_difference(wrong(name), wrong("none"), level)
        row = by_name(summary)[name]
        assert row.difference == pytest.approx(100 * expected.difference)
        if expected.interval is not None:
            assert row.interval == pytest.approx([100 * bound for bound in expected.interval])
    splits = {records["mixup", seed]["result"]["split_hash"] for seed in range(3)}
    assert len(splits) == 3  # each seed draws a development set of its own


def test_one_test_text_ends_in_a_table_or_a_sentence(tmp_path: Path, serial: list[Run]) -> None:
    """Not in a ValueError after everything has been trained."""
    try:
        summary = compare(plan(dataset=dataset(test=1), seeds=2), tmp_path)
    except AmpmixError:
        assert serial == []
    else:
        assert by_name(summary)["mixup"].decision in ("not decided", "no difference shown")


def test_nothing_is_read_from_the_test_set_to_choose(tmp_path: Path, serial: list[Run]) -> None:
    """With other labels in the test set alone, the same steps and model are chosen."""
    held = dataset(rows=60, test=30)
    assert held.test is not None
    turned = Examples(held.test.texts, (held.test.labels + 1) % 3)
    one = compare(plan(dataset=held), tmp_path / "one")
    other_data = TextDataset("toy", held.classes, held.train, test=turned)
    other = compare(plan(dataset=other_data), tmp_path / "other")
    assert (one.chosen, one.chosen_seed) == (other.chosen, other.chosen_seed)
    assert one.folder is not None
    assert other.folder is not None
    weights = [(s.folder / "model.safetensors").read_bytes() for s in (one, other) if s.folder]
    assert weights[0] == weights[1]
    a, b = records_in(tmp_path / "one"), records_in(tmp_path / "other")
    for run in a:
        if run[0] != baseline.NAME:
            assert a[run]["result"]["curve"] == b[run]["result"]["curve"]
            assert a[run]["result"]["test_wrong"] != b[run]["result"]["test_wrong"]


# ------------------------------------------------------------------ what goes wrong in a run


def test_a_loss_that_is_no_number_stops_that_run_alone(
    tmp_path: Path,
    data: Path,
    serial: list[Run],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train, steps = Mixup._train, []

    def broken(self: Mixup, *arguments: Any) -> Mixed:
        steps.append(1)
        made = train(self, *arguments)
        factor = float("nan") if len(steps) == 3 else 1.0
        return Mixed(made.loss * factor, made.lam, made.lam_adv, made.mask, made.perm)

    monkeypatch.setattr(mixup_module.Mixup, "_train", broken)
    command = ["compare", str(data), "--policies", "none,mixup", "--seeds", "2", *TRAINING]
    code = main([*command, "--out", str(tmp_path / "out")])
    captured = capsys.readouterr()
    assert code == 0
    assert "Traceback" not in captured.err
    said = " ".join(captured.out.split())
    assert "mixup: 1 of 2 runs failed (seed 0): the training loss is nan at step 3" in said

    records = records_in(tmp_path / "out")
    assert len(records) == 6
    bad = records["mixup", 0]["result"]
    assert bad["status"] == "failed"
    assert "step 3" in bad["error"]
    assert "test_wrong" not in bad
    assert records["mixup", 1]["result"]["status"] == "done"
    row = summary_in(tmp_path / "out")["rows"][2]
    assert row["policy"] == "mixup"
    assert row["seeds"] == [1]
    assert list(row["failures"]) == ["0"]

    serial.clear()
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert serial == []  # a run that failed would fail again


def test_all_runs_may_fail(
    tmp_path: Path, data: Path, serial: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", str(data), "--policies", "none,mixup", "--seeds", "2", *TRAINING]
    assert main([*command, "--lr", "1e30", "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    said = " ".join(captured.out.split())
    assert "none: 2 of 2 runs failed (seeds 0, 1): the training loss is nan at step 2" in said
    assert "mixup: not decided" in said
    assert summary_in(tmp_path / "out")["model"] is None
    assert not (tmp_path / "out" / "model").exists()
    assert "model/" not in said  # it says what it wrote, and that it did not


def test_no_model_of_an_earlier_comparison_is_left_as_if_it_were_this_ones(
    tmp_path: Path, serial: list[Run]
) -> None:
    assert compare(plan(), tmp_path).folder is not None
    summary = compare(plan(config=TrainConfig(steps=4, eval_every=2, lr=1e30)), tmp_path)
    assert summary.folder is None
    assert not (tmp_path / "model").exists()


def test_weights_that_break_in_the_last_step_are_a_failed_run(
    tmp_path: Path, serial: list[Run]
) -> None:
    """The last training loss is still finite, the development loss is not: JSON cannot hold it."""
    config = TrainConfig(steps=1, eval_every=1, lr=1e30)
    summary = compare(plan(config=config), tmp_path)
    row = by_name(summary)["none"]
    assert set(row.failures) == {0, 1}
    assert "step 1" in row.failures[0]


def test_the_baseline_may_fail(
    tmp_path: Path, serial: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = NoMixup._train

    def broken(self: NoMixup, *arguments: Any) -> Mixed:
        made = train(self, *arguments)
        return Mixed(made.loss * float("inf"), made.lam, made.lam_adv, made.mask, made.perm)

    monkeypatch.setattr(NoMixup, "_train", broken)
    summary = compare(plan(), tmp_path)
    rows = by_name(summary)
    assert rows["none"].mean is None
    assert rows["mixup"].decision == "not decided"
    assert rows["mixup"].mean is not None
    assert summary.chosen == "mixup"


# ------------------------------------------------------------------ the paper's number


def test_the_papers_number_stands_beside_its_own_setting_alone(
    tmp_path: Path, serial: list[Run]
) -> None:
    trec = dataset(title="TREC")
    config = TrainConfig(steps=1, eval_every=1)
    policies = (NoMixup(), AMP(eps=0.5), AMP(site="sent"))
    rows = by_name(
        compare(plan(*policies, dataset=trec, backbone=TextCNN(), config=config), tmp_path)
    )
    assert rows["none"].paper == {"error": 8.8, "std": 0.86}
    assert rows["amp[site=sent]"].paper == {"error": 8.1, "std": 0.71}
    assert rows["amp[eps=0.5]"].paper is None
    assert rows[baseline.NAME].paper is None


def test_another_backbone_or_part_of_the_labels_is_not_in_the_paper(
    tmp_path: Path, serial: list[Run]
) -> None:
    trec = dataset(title="TREC")
    smaller = compare(plan(NoMixup(), dataset=trec), tmp_path)
    assert by_name(smaller)["none"].paper is None
    part = plan(NoMixup(), dataset=trec, backbone=TextCNN(), fraction=0.5)
    assert by_name(compare(part, tmp_path))["none"].paper is None


# ------------------------------------------------------------------ plans


def test_runs_go_seed_by_seed_from_the_baseline_on() -> None:
    names = [baseline.NAME, "none", "amp[eps=0.1]"]
    made = plan(NoMixup(), AMP(eps=0.1), seeds=3).runs()
    assert made == [Run(name, seed) for seed in range(3) for name in names]


def test_the_baselines_specification_knows_no_backbone_and_no_training() -> None:
    one = plan(seeds=2)
    other = plan(seeds=2, backbone=TextCNN(), config=TrainConfig(steps=7))
    run = Run(baseline.NAME, 1)
    assert one.specification(run) == other.specification(run)
    assert one.run_id(Run("none", 1)) != other.run_id(Run("none", 1))


@pytest.mark.parametrize(
    "other",
    [
        {"seeds": 3},
        {"fraction": 0.5},
        {"config": TrainConfig(steps=4, eval_every=2, lr=0.02)},
        {"config": TrainConfig(steps=4, eval_every=2, lr=0.01, clip=1.0)},
        {"backbone": TextCNN(embedding_dim=9, feature_maps=4)},
        {"dataset": dataset(37)},
    ],
    ids=str,
)
def test_whatever_changes_a_result_changes_the_runs_name(other: dict[str, Any]) -> None:
    run = Run("none", 0)
    assert plan(**other).run_id(run) != plan().run_id(run)


def test_with_a_test_set_more_seeds_keep_the_runs_there_are() -> None:
    held = dataset(test=9)
    run = Run("none", 0)
    assert plan(dataset=held, seeds=2).run_id(run) == plan(dataset=held, seeds=5).run_id(run)


def test_a_specification_can_be_written_and_read_back() -> None:
    for run in plan().runs():
        specification = plan().specification(run)
        assert json.loads(json.dumps(specification)) == specification


@pytest.mark.parametrize(
    ("policies", "baseline"),
    [
        ((Mixup(), NoMixup(), AMP()), "none"),
        ((Mixup(alpha=0.5), AMP()), "mixup[alpha=0.5]"),
        ((AMP(), Mixup()), "amp"),
    ],
    ids=str,
)
def test_the_baseline_is_none_or_the_first(policies: tuple[Any, ...], baseline: str) -> None:
    assert plan(*policies).baseline == baseline


def test_splits_depend_on_seed_and_fraction_not_on_policies() -> None:
    one, other = plan(NoMixup()), plan(AMP(), Mixup())
    assert one.split(0).hash == other.split(0).hash != one.split(1).hash
    held = dataset(test=9)
    assert plan(dataset=held).split(3).hash == split_holdout(held, 3).hash
    kept = plan(dataset=held, fraction=0.5).split(0)
    assert len(kept.train) + len(kept.dev) == 18


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": -3}, "seeds is -3"),
        ({"seeds": 1}, "at least 2 seeds"),
        ({"seeds": 20_000}, "has .* texts: cross-validation with 20000 folds"),
        ({"fraction": 0.0}, "fraction is 0"),
        ({"fraction": 2.0}, "fraction is 2"),
        ({"fraction": float("nan")}, "fraction is nan"),
        ({"policies": (NoMixup(), Mixup(site="wrod"))}, "did you mean word"),
    ],
    ids=str,
)
def test_what_cannot_run_is_refused_before_it_runs(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"dataset": dataset(), "backbone": TINY, "policies": (NoMixup(),)}
    settings |= {"seeds": 2} | change
    with pytest.raises(AmpmixError, match=message):
        Plan(**settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"redraw": True}, "redraw is for a test set: cross-validation"),
        ({"redraw": True, "dataset": dataset(test=9)}, "redraw needs a fraction below 1"),
    ],
)
def test_training_sets_are_redrawn_where_they_can_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AmpmixError, match=message):
        plan(**given)


def test_redrawn_runs_are_runs_of_their_own(
    tmp_path: Path,
) -> None:
    held = dataset(test=30)
    one = Plan.of(held, [NoMixup(), Mixup()], TINY, seeds=4, redraw=True, steps=4, lr=0.01)
    assert (one.fraction, one.redraw) == (0.5, True)
    kept = Plan.of(held, [NoMixup()], TINY, seeds=4, redraw=True, fraction=0.3)
    assert (kept.fraction, kept.redraw) == (0.3, True)
    plain = Plan.of(held, [NoMixup(), Mixup()], TINY, seeds=4, fraction=0.5, steps=4, lr=0.01)
    assert one.split(2).hash == plain.split(2).hash != one.split(3).hash
    run = Run("mixup", 1)
    assert one.run_id(run) != plain.run_id(run)
    assert one.run_id(Run(baseline.NAME, 1)) == plain.run_id(Run(baseline.NAME, 1))
    told = refitted(one, tmp_path / "redrawn", workers=1)
    other = refitted(plain, tmp_path / "plain", workers=1)
    a, b = (next(r for r in s.as_json()["rows"] if r["policy"] == "mixup") for s in (told, other))
    assert a["difference"] == b["difference"]  # the same runs
    assert "(training sets drawn anew)" in " ".join(str(told).split())


def test_the_command_redraws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films, test = tmp_path / "films.csv", tmp_path / "test.csv"
    rows = [f"{part.texts[i]},{part.labels[i]}" for part in (dataset(36).train,) for i in range(36)]
    films.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    test.write_text("\n".join(["text,label", *rows[::3]]), encoding="utf-8")
    command = ["compare", str(films), *TRAINING[1:], "--seeds", "2", "--steps", "4"]
    command += ["--policies", "none", "--out", str(tmp_path / "out"), "--redraw"]
    assert main([*command, "--test", str(test)]) == 0
    assert "0.5 of the labels kept by each seed anew" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert (summary["redraw"], summary["fraction"]) == (True, 0.5)
    about = Classifier.load(tmp_path / "out/model").about
    assert (about["n_train"], about["fraction"]) == (36, 1.0), "the model learns from all texts"
    assert main(command) == 2
    assert "redraw is for a test set" in capsys.readouterr().err


def test_a_run_gives_the_same_record_as_a_training_by_hand(tmp_path: Path) -> None:
    one = plan(AMP(eps=0.3))
    record = one.execute(Run("amp[eps=0.3]", 1), tmp_path)
    assert isinstance(record, RunRecord)
    again = one.execute(Run("amp[eps=0.3]", 1), tmp_path)
    assert again.digest == record.digest
    assert record.specification == one.specification(Run("amp[eps=0.3]", 1))
    assert (tmp_path / record.id / "model.safetensors").exists()
    spec = components.spec(Classifier.load(tmp_path / record.id).backbone)
    assert spec == components.spec(TINY)


def test_every_fold_is_checked_before_training_not_the_first_alone() -> None:
    """2, 3 and 5 texts in 2 folds: with 0.7 of the labels fold 0 has a development set, 1 none."""
    labels = [0] * 2 + [1] * 3 + [2] * 5
    small = TextDataset("small", tuple("abc"), Examples(tuple(map(str, labels)), labels))
    split_fold(small, 0, 2, fraction=0.7)
    with pytest.raises(AmpmixError, match="too small to split"):
        split_fold(small, 1, 2, fraction=0.7)
    with pytest.raises(AmpmixError, match="too small to split"):
        Plan(small, TINY, (NoMixup(),), 2, fraction=0.7)
