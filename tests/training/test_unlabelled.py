"""Training on texts without labels: batches, teachers, seeds, records and what is refused."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ampmix import AmpmixError, MixupTextClassifier, Plan, TextCNN, compare
from ampmix._support.components import POLICIES, find, spec
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.data.unlabelled import with_unlabelled
from ampmix.mixing import cross_entropy
from ampmix.studies.file import read
from ampmix.studies.plan import Run
from ampmix.studies.study import build
from ampmix.text.encoded import Encoded
from ampmix.training import fit as fit_module
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.processes import ALONE, Processes
from ampmix.training.replicas import fit_many
from ampmix.training.stack import unstackable
from ampmix.training.step import TrainingBatch, TrainingStep, stepper, training_batches
from small_studies import CNN as SMALL
from small_studies import contents, write_texts

ROWS = tuple(" ".join(f"w{(i * k) % 11}" for k in range(1, 3 + i % 6)) for i in range(1, 41))
DATA = TextDataset("toy", ("a", "b"), Examples(ROWS, [i % 2 for i in range(40)]))
OTHERS = tuple(" ".join(f"w{(i * k) % 11}" for k in range(2, 9)) + f" z{i}" for i in range(30))
WITH = with_unlabelled(DATA, OTHERS)
CONFIG = TrainConfig(steps=6, batch_size=8, lr=0.02, eval_every=3)
CNN = TextCNN(embedding_dim=6, feature_maps=3)
USING = ["vat", "vmt", "selftrain[rounds=1]", "mixtext"]
KINDS = [cls() for cls in find("ampmix.policies").values()]


def split_of(data: TextDataset = WITH, seed: int = 0) -> Any:
    return split_train(data, seed, dev_fraction=0.2)


def weights_of(fitted: Any) -> dict[str, Any]:
    return fitted.classifier.model.state_dict()  # type: ignore[no-any-return]


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(own, weights_of(other)[name]) for name, own in weights_of(one).items())


# --- batches -------------------------------------------------------------------------------------


def encoded(n: int, first: int = 2) -> Encoded:
    return Encoded.of_ids([[first + i] * (1 + i % 5) for i in range(n)], list(range(n)))


def test_labelled_batches_are_the_same_beside_others() -> None:
    train, others = encoded(23), encoded(50, 100)
    config = TrainConfig(steps=12, batch_size=5)
    guesses = torch.rand(50, 3)
    plain = list(training_batches(train, config, 3))
    beside = list(training_batches(train, config, 3, None, others, guesses))
    seen: list[int] = []
    for one, other in zip(plain, beside, strict=True):
        n = len(one.y)
        assert torch.equal(one.y, other.y)
        assert one.guesses is None and other.guesses is not None
        width = one.ids.shape[1]
        assert torch.equal(one.ids, other.ids[:n, :width])
        assert torch.equal(one.mask, other.mask[:n, :width])
        assert not other.mask[:n, width:].any()
        rows = other.ids[n:, 0] - 100
        assert torch.equal(other.guesses, guesses[rows])
        assert other.mask[n:].sum(1).tolist() == [1 + i % 5 for i in rows.tolist()]
        seen += rows.tolist()
    assert sorted(seen[:50]) == list(range(50)) != seen[:50]
    again = list(training_batches(train, config, 4, None, others))
    assert not torch.equal(again[0].ids[5:, 0], beside[0].ids[5:, 0])


def test_several_processes_share_out_both_kinds_of_texts() -> None:
    class One(Processes):
        count = 3

        def __init__(self, rank: int) -> None:
            self.rank = rank

    ids = torch.arange(11).unsqueeze(-1)
    batch = TrainingBatch(
        ids, ids > 0, torch.arange(5), torch.arange(5) / 5, torch.arange(6).unsqueeze(-1) / 6
    )
    own = [batch.of(One(rank), torch.device("cpu")) for rank in range(3)]
    assert sorted(torch.cat([one.y for one in own]).tolist()) == list(range(5))
    for one in own:
        n = len(one.y)
        assert torch.equal(one.ids[:n, 0], one.y)
        assert one.weights is not None and one.guesses is not None
        assert torch.equal(one.weights, one.y / 5)
        assert torch.equal(one.guesses[:, 0] * 6, one.ids[n:, 0] - 5.0)
    assert sum(len(one.ids) - len(one.y) for one in own) == 6
    none = TrainingBatch(ids[:2], ids[:2] > 0, torch.arange(2))
    assert [len(none.of(One(rank), torch.device("cpu")).ids) for rank in range(3)] == [1, 1, 1]


def test_two_processes_take_the_gradient_of_the_whole_batch() -> None:
    class Half(Processes):
        count = 2

        def __init__(self, rank: int) -> None:
            self.rank = rank

    policy = POLICIES.parse("selftrain")
    dry = replace(CNN, dropout=0.0)
    reader = dry.reader(ROWS, "words", 64)
    parts = reader.encode(ROWS, DATA.train.labels), reader.encode(OTHERS)
    guesses = torch.rand(len(OTHERS), 2, generator=torch.Generator().manual_seed(1)).softmax(-1)
    batch = next(training_batches(parts[0], CONFIG, 0, None, parts[1], guesses))
    gradients = []
    for processes in (ALONE, Half(0), Half(1)):
        model = dry.build(reader, 2, torch.Generator().manual_seed(0))
        step = TrainingStep(
            model, policy.prepare((), 2), cross_entropy, 0, torch.device("cpu"), processes.rank
        )
        optimizer = torch.optim.SGD(step.parameters(), lr=0.0)
        stepper(step, optimizer, CONFIG, processes)(batch)
        gradients.append([parameter.grad for parameter in step.parameters()])
    for whole, one, two in zip(*gradients, strict=True):
        assert whole is not None and one is not None and two is not None
        torch.testing.assert_close((one + two) / 2, whole, rtol=1e-5, atol=1e-7)


# --- what is bit-identical -----------------------------------------------------------------------


@pytest.mark.parametrize("policy", [p for p in KINDS if not p.takes_unlabelled], ids=spec)
def test_a_policy_that_does_not_learn_from_them_trains_as_without(policy: Any) -> None:
    one, other = (fit(CNN, policy, split_of(data), CONFIG) for data in (DATA, WITH))
    assert same(one, other)
    assert other.unlabelled == (0, "")


@pytest.mark.parametrize("text", USING)
def test_with_a_weight_of_0_it_trains_as_without(text: str) -> None:
    name = text.partition("[")[0]
    off = POLICIES.parse(f"{name}[unlabelled=0.0]")
    assert same(
        fit(CNN, off, split_of(), CONFIG), fit(CNN, POLICIES.parse(text), split_of(DATA), CONFIG)
    )


@pytest.mark.parametrize("text", USING)
def test_they_change_what_is_trained_and_the_result_says_so(text: str) -> None:
    policy = POLICIES.parse(text)
    one, other, again = (fit(CNN, policy, split_of(data), CONFIG) for data in (DATA, WITH, WITH))
    assert not same(one, other)
    assert same(other, again)
    assert other.unlabelled == (30, WITH.unlabelled.fingerprint)  # type: ignore[union-attr]
    assert one.unlabelled == (0, "")


def test_selftrain_without_them_is_none_and_mixtext_is_mixup() -> None:
    for text, plain in (("selftrain", "none"), ("mixtext", "mixup[lam=max,alpha=0.75]")):
        one, other = (fit(CNN, POLICIES.parse(p), split_of(DATA), CONFIG) for p in (text, plain))
        assert [r.train_loss for r in one.curve] == pytest.approx(
            [r.train_loss for r in other.curve], rel=1e-5
        )


@pytest.mark.parametrize("text", USING)
def test_weights_of_texts_reach_the_labelled_alone(text: str) -> None:
    policy, split = POLICIES.parse(text), split_of()
    plain = fit(CNN, policy, split, CONFIG)
    equal = fit(CNN, policy, split, CONFIG, weights=np.full(len(split.train), 3.0))
    other = fit(CNN, policy, split, CONFIG, weights=np.arange(1, len(split.train) + 1))
    assert same(plain, equal)
    assert not same(plain, other)
    assert all(np.isfinite(reading.train_loss) for reading in other.curve)


# --- teachers ------------------------------------------------------------------------------------


def test_each_round_learns_from_the_one_before_and_no_teacher_reads_the_test_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[Any, Any, Any]] = []
    original = fit_module._trained

    def watched(*given: Any) -> Any:
        fitted, run = original(*given)
        calls.append((given[2], given[7], fitted))
        return fitted, run

    monkeypatch.setattr(fit_module, "_trained", watched)
    held = Examples(("w1 w2 w3", "w4 w5"), [0, 1])
    data = with_unlabelled(TextDataset("toy", ("a", "b"), DATA.train, test=held), OTHERS)
    result = fit(CNN, POLICIES.parse("selftrain[rounds=2]"), split_of(data), CONFIG)
    assert [guesses is None for _, guesses, _ in calls] == [True, False, False]
    assert [len(split.test) for split, *_ in calls] == [0, 0, 2]
    for (_, _, teacher), (split, guesses, _) in itertools.pairwise(calls):
        expected = teacher.classifier.predict_proba(list(split.unlabelled))
        np.testing.assert_allclose(guesses, expected, rtol=1e-5)
    assert result.test_reads == (result.best.step,)
    plain = fit(CNN, POLICIES.parse("none"), split_of(data), CONFIG)
    assert same(plain, calls[0][2])


def test_steps_are_told_as_of_one_run_and_readings_of_the_last_model() -> None:
    steps: list[int] = []
    readings: list[int] = []
    policy = POLICIES.parse("selftrain[rounds=2]")
    fit(CNN, policy, split_of(), CONFIG, on_step=steps.append,
        on_reading=lambda reading: readings.append(reading.step))  # fmt: skip
    assert steps == sorted(steps)
    assert (steps[0], steps[-1], len(steps)) == (1, 6, 18)
    assert readings == [3, 6]


def test_a_teacher_no_better_than_the_most_frequent_class_is_told_of() -> None:
    rare = Examples(tuple(f"x{i}" for i in range(40)), [int(i % 5 == 0) for i in range(40)])
    data = with_unlabelled(TextDataset("toy", ("often", "seldom"), rare), ["y1", "y2"])
    policy = POLICIES.parse("selftrain[rounds=1]")
    (note,) = fit(CNN, policy, split_of(data), replace(CONFIG, lr=1e-6)).notes
    assert note.startswith("teacher 1 errs on ")
    assert "'often' for every text on 25.0%" in note
    clear = Examples(tuple("ab"[i % 2] for i in range(40)), [i % 2 for i in range(40)])
    told = with_unlabelled(TextDataset("toy", ("a", "b"), clear), ["a b", "b a"])
    config = replace(CONFIG, steps=60, lr=0.05)
    assert fit(CNN, policy, split_of(told), config).notes == ()


def test_the_weight_of_mixtext_rises_with_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[float] = []
    cls = find("ampmix.policies")["mixtext"]
    original = cls._train_unlabelled

    def watched(self: Any, *given: Any) -> Any:
        weights.append(self.unlabelled)
        return original(self, *given)

    monkeypatch.setattr(cls, "_train_unlabelled", watched)
    fit(CNN, POLICIES.parse("mixtext[ramp=0.5]"), split_of(), CONFIG)
    assert weights == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 1])


# --- seeds side by side --------------------------------------------------------------------------


@pytest.mark.parametrize("text", USING)
def test_seeds_in_one_call_are_those_of_single_runs(text: str) -> None:
    policy, splits = POLICIES.parse(text), [split_of(seed=seed) for seed in range(2)]
    for seed, one in enumerate(fit_many(CNN, policy, splits, CONFIG)):
        assert same(one, fit(CNN, policy, splits[seed], CONFIG, seed))


def test_it_is_said_why_they_train_one_by_one() -> None:
    vmt = POLICIES.parse("vmt")
    assert unstackable(CNN, vmt) == ""
    assert unstackable(CNN, vmt, unlabelled=True) == "policy vmt learns from unlabelled texts"
    assert unstackable(CNN, POLICIES.parse("amp"), unlabelled=True) == ""
    ramp = unstackable(CNN, POLICIES.parse("mixtext[ramp=0.5]"))
    assert ramp == "policy mixtext changes in the course of training"


# --- records -------------------------------------------------------------------------------------


def plan(**options: Any) -> Plan:
    policies = ["none", "vat", "selftrain[rounds=1]"]
    given = {"seeds": 2, "repeats": 1, "steps": 3, "batch_size": 8, "eval_every": 3}
    return Plan.of(DATA, policies, CNN, **{**given, **options})


def test_a_run_that_learns_from_them_is_another_and_names_them() -> None:
    without, some, fewer, rest = (
        plan(unlabelled=given, fraction=0.5) for given in (None, OTHERS, OTHERS[:9], "rest")
    )
    for policy in without.policy_names:
        ids = {one.run_id(Run(policy, 0)) for one in (without, some, fewer, rest)}
        assert len(ids) == (1 if policy == "none" else 4)
    specification = some.specification(Run("vat", 0))
    assert specification["unlabelled"] == WITH.unlabelled.fingerprint  # type: ignore[union-attr]
    assert rest.specification(Run("vat", 0))["unlabelled"] == "rest"
    assert some.most_replicas("vat") == 1 and some.most_replicas("none") == 2


def test_a_comparison_says_who_learnt_from_them(tmp_path: Path) -> None:
    summary = compare(plan(unlabelled=OTHERS), tmp_path / "out")
    records = {}
    for content in contents(tmp_path / "out").values():
        records[content["specification"]["policy"], content["specification"]["seed"]] = content
    for (policy, _), content in records.items():
        using = policy in ("vat", "selftrain[rounds=1]")
        assert content["result"].get("n_unlabelled") == (30 if using else None)
        assert ("unlabelled_hash" in content["result"]) is using
    said = str(summary)
    assert "vat, selftrain[rounds=1] also learnt from 30 texts without labels" in " ".join(
        said.split()
    )
    by_policy = {row["policy"]: row["unlabelled"] for row in summary.as_json()["rows"]}
    assert by_policy["vat"] == (30, 30) and by_policy["none"] is None
    again = compare(plan(unlabelled=OTHERS), tmp_path / "out")
    assert again.trained == 0


def test_runs_with_and_without_them_are_two_rows_of_one_group(tmp_path: Path) -> None:
    from ampmix.analysis.groups import groups_of, read_runs

    out = tmp_path / "out"
    for given in (None, OTHERS):
        compare(plan(unlabelled=given), out)
    (group,) = groups_of(read_runs([out]).records)
    own = WITH.unlabelled.fingerprint[:8]  # type: ignore[union-attr]
    assert {"none", "vat", f"vat (unlabelled {own})"} <= set(group.records)
    assert {len(runs) for runs in group.records.values()} == {2}


# --- on the command line, in studies and in scikit-learn -----------------------------------------


def pool(folder: Path) -> Path:
    path = folder / "pool.txt"
    path.write_text("\n".join(f"the film was a very dull day number {i}" for i in range(30)))
    return path


def test_train_reads_a_file_and_the_card_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films, out = write_texts(tmp_path), tmp_path / "model"
    command = ["train", str(films), "--backbone", SMALL, "--policy", "vat", "--steps", "2"]
    assert main([*command, "--unlabelled", str(pool(tmp_path)), "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "30 unlabelled" in shown.out
    assert "note: 30 unlabelled texts: vat learns from them" in shown.err
    card = (out / "README.md").read_text()
    assert "- texts without labels trained on: `30`" in card
    about = json.loads((out / "config.json").read_text())["about"]
    assert about["n_unlabelled"] == 30 and len(about["unlabelled_hash"]) == 64


def test_train_refuses_them_for_a_policy_that_would_not_read_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = write_texts(tmp_path)
    given = ["--backbone", SMALL, "--unlabelled", str(pool(tmp_path)), "--out", str(tmp_path / "m")]
    assert main(["train", str(films), "--policy", "mixup", *given]) == 2
    assert "policy mixup learns from labelled texts alone" in capsys.readouterr().err
    assert main(["compare", str(films), "--policies", "none,amp", *given]) == 2
    assert "policy none, amp learns from labelled texts alone" in capsys.readouterr().err
    assert main(["train", str(films), "--policy", "vat", "--unlabelled", "rest", *given[:2],
                 "--out", str(tmp_path / "m")]) == 2  # fmt: skip
    assert "give a --fraction below 1" in capsys.readouterr().err


def test_who_lacks_them_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = write_texts(tmp_path)
    command = ["train", str(films), "--backbone", SMALL, "--steps", "2"]
    assert main([*command, "--policy", "selftrain", "--out", str(tmp_path / "m")]) == 0
    assert (
        "policy selftrain learns from texts without labels, and there are none (--unlabelled"
        in (capsys.readouterr().err)
    )


STUDY = """
datasets = [{file = "films.csv", unlabelled = "pool.txt"}]
backbones = ["cnn[embedding_dim=8,feature_maps=4]"]
policies = ["none", "vmt"]
seeds = 2
[training]
steps = 4
"""


def test_a_study_names_their_file_beside_it(tmp_path: Path) -> None:
    write_texts(tmp_path)
    pool(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(STUDY)
    (found,) = build(read(path)).plans
    assert len(found.split(0).unlabelled) == 30
    path.write_text(STUDY.replace("pool.txt", "rest") + "[smoke]\n")
    with pytest.raises(AmpmixError, match="fraction below 1"):
        build(read(path))
    path.write_text(STUDY.replace("pool.txt", "rest").replace("seeds", "fractions = 0.5\nseeds"))
    (found,) = build(read(path)).plans
    assert found.split(0).unlabelled
    path.write_text(STUDY.replace('"none", "vmt"', '"none", "amp"'))
    with pytest.raises(AmpmixError, match="policy none, amp learns from labelled texts alone"):
        build(read(path))


def test_scikit_learn_takes_them_in_fit() -> None:
    settings: dict[str, Any] = {"steps": 3, "batch_size": 7, "lr": 0.05, "random_state": 1}
    found = []
    for others in (None, list(OTHERS), np.array(OTHERS)):
        model = MixupTextClassifier("vat", CNN, **settings)
        model.fit(ROWS, DATA.train.labels, unlabelled=others)
        found.append(model.predict_proba(ROWS))
    assert not np.array_equal(found[0], found[1])
    assert np.array_equal(found[1], found[2])
    with pytest.raises(AmpmixError, match="policy mixup learns from labelled texts alone"):
        MixupTextClassifier("mixup", CNN, **settings).fit(
            ROWS, DATA.train.labels, unlabelled=OTHERS
        )


# --- encoders ------------------------------------------------------------------------------------


def test_a_frozen_encoder_reads_each_text_once_for_all_runs(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ampmix.backbones import feature_cache
    from ampmix.backbones.encoder import Encoder
    from ampmix.backbones.encoder_module import EncoderModule

    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    encoder = Encoder(folders["bert"], freeze=True)
    read: list[int] = []
    own = EncoderModule.features

    def watched(self: Any, embedded: Any, *given: Any) -> Any:
        read.append(len(embedded))
        return own(self, embedded, *given)

    monkeypatch.setattr(EncoderModule, "features", watched)
    vat = POLICIES.parse("vat[site=sent]")
    first = fit(encoder, vat, split_of(), CONFIG)
    distinct = len(feature_cache.distinct_rows([
        first.classifier.reader.encode([*ROWS, *OTHERS])]))  # fmt: skip
    assert sum(read) == distinct
    again = fit(encoder, POLICIES.parse("selftrain[rounds=1]"), split_of(), CONFIG)
    assert sum(read) == distinct
    assert not same(first, again)
    monkeypatch.setattr(EncoderModule, "read_ahead", lambda *_: None)
    apart = fit(encoder, vat, split_of(), CONFIG)
    assert sum(read) > distinct
    assert [r.train_loss for r in apart.curve] == pytest.approx(
        [r.train_loss for r in first.curve], rel=1e-4
    )


def test_a_frozen_encoder_keeps_features_in_its_own_precision(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ampmix.backbones.encoder import Encoder
    from ampmix.backbones.encoder_module import EncoderModule

    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path))
    build = Encoder.build
    monkeypatch.setattr(Encoder, "build", lambda *given: build(*given).double())
    encoder, vat = Encoder(folders["bert"], freeze=True), POLICIES.parse("vat[site=sent]")
    ahead = fit(encoder, vat, split_of(), CONFIG)
    monkeypatch.setattr(EncoderModule, "read_ahead", lambda *_: None)
    apart = fit(encoder, vat, split_of(), CONFIG)
    assert [r.train_loss for r in ahead.curve] == pytest.approx(
        [r.train_loss for r in apart.curve], rel=1e-10
    )
