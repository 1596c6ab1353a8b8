"""fit() and the classifier that it returns: paired, reproducible, chosen on the development set."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ampmix._support.components import find, spec
from ampmix._support.json_files import content_sha256
from ampmix._support.random_streams import numpy_stream, torch_seed
from ampmix.backbones import heads
from ampmix.backbones.base import CutModule
from ampmix.backbones.text_cnn import TextCNN
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier, logits_of
from ampmix.policies.amp import AMP
from ampmix.policies.base import Policy
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.text.encoded import Encoded, Vocabulary
from ampmix.text.reader import WordReader
from ampmix.training import fit as training
from ampmix.training import step as step_module
from ampmix.training import step as training_step
from ampmix.training import training_run
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.training_run import Diverged, Fit
from every_backbone import every_backbone as every_backbones
from every_backbone import made_from_a_folder
from every_policy import every_policy_and_site

BACKBONES = every_backbones()
WORDS = [backbone for backbone in BACKBONES if not made_from_a_folder(backbone)]
CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 2), feature_maps=4)
POLICIES = [cls() for cls in find("ampmix.policies").values()]
SITED = every_policy_and_site()


def pairs(policies: list[Policy], backbones: list[Any] = BACKBONES) -> Any:
    """Every backbone with every policy whose site it has."""
    found = [
        pytest.param(b, p, id=f"{b.name}-{spec(p)}")
        for b in backbones
        for p in policies
        if p.mixing_site in (None, *b.sites)
    ]
    return pytest.mark.parametrize(("backbone", "policy"), found, indirect=["backbone"])


SHORT = TrainConfig(steps=12, batch_size=7, lr=0.01, eval_every=3)

every_backbone = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.name, indirect=True)
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=spec)
every_pair = pairs(POLICIES)


def toy(n: int = 45, seed: int = 0, only_in_test: str = "") -> Split:
    """Three classes told apart by one word among fillers; the training part holds most of `n`."""
    rng = np.random.default_rng(seed)
    keys = ("apple", "train", "music")

    def part(count: int, extra: str = "") -> Examples:
        own = np.arange(count) % 3
        texts = []
        for label in own:
            words = [f"w{i}" for i in rng.integers(10, size=rng.integers(0, 6))]
            words.insert(int(rng.integers(len(words) + 1)), keys[label])
            texts.append(" ".join([*words, *extra.split()]))
        return Examples(tuple(texts), own)

    dataset = TextDataset(
        "toy",
        ("A", "B", "C"),
        train=part(n),
        dev=part(30, only_in_test),
        test=part(60, only_in_test),
    )
    return split_holdout(dataset, seed=0)


def weights_of(result: Fit) -> dict[str, Tensor]:
    return dict(result.classifier.model.state_dict())


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# --- reproducible, and paired across policies ---------------------------------------------------


@pytest.mark.slow
@every_pair
def test_the_same_call_gives_the_same_run_to_the_bit(backbone: Any, policy: Policy) -> None:
    one, other = (fit(backbone, policy, toy(), SHORT, seed=3) for _ in range(2))
    assert one.curve == other.curve
    assert np.array_equal(one.test_wrong, other.test_wrong)
    assert same_weights(weights_of(one), weights_of(other))
    changed = fit(backbone, policy, toy(), SHORT, seed=4)
    assert changed.curve != one.curve


@pytest.mark.slow
@every_pair
def test_the_state_of_global_generators_neither_matters_nor_moves(
    backbone: Any, policy: Policy
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        one = fit(backbone, policy, toy(), SHORT)
        torch.manual_seed(2)
        np.random.seed(2)
        random.seed(2)
        states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        other = fit(backbone, policy, toy(), SHORT)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1])
        assert random.getstate() == states[2]
    assert one.curve == other.curve
    assert same_weights(weights_of(one), weights_of(other))


class Watched:
    """What a run drew that policies must share: initial weights, batches, dropout."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, backbone: Any) -> None:
        self.initial: list[dict[str, Tensor]] = []
        self.ids: list[Tensor] = []
        self.dropout_states: list[Tensor] = []
        self.scales: list[Tensor] = []
        build, cut, scale = type(backbone).build, CutModule.cut, heads.dropout_scale

        def watched_build(config: Any, *args: Any) -> CutModule:
            model: CutModule = build(config, *args)
            self.initial.append({k: v.clone() for k, v in model.state_dict().items()})
            return model

        def watched_cut(model: CutModule, ids: Tensor, *args: Any, **options: Any) -> Any:
            if model.training:
                self.ids.append(ids)
                self.dropout_states.append(options["generator"].get_state())
            return cut(model, ids, *args, **options)

        def watched_scale(*args: Any) -> Tensor | None:
            drawn = scale(*args)
            if drawn is not None:
                self.scales.append(drawn)
            return drawn

        monkeypatch.setattr(type(backbone), "build", watched_build)
        monkeypatch.setattr(CutModule, "cut", watched_cut)
        monkeypatch.setattr(heads, "dropout_scale", watched_scale)


@pytest.mark.slow
@every_backbone
def test_policies_share_initial_weights_batches_and_dropout_masks(
    backbone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    drawing_once = [policy for policy in SITED if policy.dropout_draws == 1]
    for policy in (p for p in drawing_once if p.mixing_site in (None, *backbone.sites)):
        with monkeypatch.context() as patch:
            watched = Watched(patch, backbone)
            fit(backbone, policy, toy(), SHORT, seed=1)
            runs.append(watched)
    first = runs[0]
    assert len(first.ids) == SHORT.steps
    assert not torch.equal(first.dropout_states[0], first.dropout_states[-1]), "there is dropout"
    assert len(first.scales) == SHORT.steps
    for other in runs[1:]:
        assert same_weights(first.initial[0], other.initial[0])
        for name in ("ids", "dropout_states", "scales"):
            mine, theirs = getattr(first, name), getattr(other, name)
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True)), name


def test_no_policys_name_enters_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every policy asks for the same streams; one more is for what some policies learn."""
    asked: list[list[tuple[int, str]]] = []

    def watch(function: Callable[[int, str], Any]) -> Callable[[int, str], Any]:
        def watched(seed: int, purpose: str) -> Any:
            if purpose != "label policy":
                asked[-1].append((seed, purpose))
            return function(seed, purpose)

        return watched

    monkeypatch.setattr(training_step, "torch_seed", watch(torch_seed))
    monkeypatch.setattr(training_step, "numpy_stream", watch(numpy_stream))
    for policy in SITED:
        asked.append([])
        fit(CNN, policy, toy(), SHORT, seed=5)
    purposes = [purpose for _, purpose in asked[0]]
    assert len(set(purposes)) == len(purposes), "every purpose has a stream of its own"
    assert all(calls == asked[0] for calls in asked)
    names = set(find("ampmix.policies"))
    assert not any(name in purpose for name in names for purpose in purposes)


def test_streams_of_different_purposes_and_seeds_differ() -> None:
    drawn = {torch_seed(s, p) for s in range(50) for p in ("weights", "batches", "mixing")}
    assert len(drawn) == 150
    assert all(0 <= seed < 2**63 for seed in drawn)


def test_streams_are_the_same_in_every_process() -> None:
    """Values written down once: a stream that used Python's ``hash`` would differ here."""
    assert torch_seed(0, "weights") == 6465559029600296246
    assert torch_seed(3, "mixing") == 51355822907851994


@pytest.mark.slow
@every_backbone
@pytest.mark.parametrize("site", ["word", "sent"])
@pytest.mark.parametrize("options", [{"eps": 0.0}, {"eps": 1e-12}, {"eps": 0.0, "min_op": False}])
def test_amp_without_a_step_is_mixup_for_a_whole_run(
    backbone: Any, site: str, options: dict[str, Any]
) -> None:
    mixup = fit(backbone, Mixup(site=site), toy(), SHORT, seed=2)
    amp = fit(backbone, AMP(site=site, **options), toy(), SHORT, seed=2)
    assert amp.curve == mixup.curve
    assert np.array_equal(amp.test_wrong, mixup.test_wrong)
    assert same_weights(weights_of(amp), weights_of(mixup))
    moved = fit(backbone, AMP(site=site, eps=0.3), toy(), SHORT, seed=2)
    assert moved.curve != mixup.curve, "eps matters, so the comparison above shows something"


# --- the curve and the choice ------------------------------------------------------------------


def scripted(
    monkeypatch: pytest.MonkeyPatch, data: Split, readings: list[tuple[float, float]]
) -> Fit:
    """A run whose development readings are given, one a step."""
    script = iter(readings)
    monkeypatch.setattr(training_run, "_measure", lambda *_: next(script))
    config = TrainConfig(steps=len(readings), batch_size=7, lr=0.01, eval_every=1)
    return fit(CNN, NoMixup(), data, config)


@pytest.mark.parametrize(
    ("readings", "step"),
    [
        ([(0.5, 1.0), (0.2, 1.0), (0.3, 0.1)], 2),
        ([(0.2, 1.0), (0.2, 0.9), (0.2, 0.95)], 2),
        ([(0.2, 0.9), (0.2, 0.9), (0.3, 0.1)], 1),
        ([(0.4, 0.1), (0.3, 5.0), (0.3, 5.0)], 2),
        ([(0.3, 0.4), (0.2, 0.8), (0.1, 0.9)], 3),
    ],
)
def test_lower_error_then_lower_loss_then_the_earlier_step_is_chosen(
    monkeypatch: pytest.MonkeyPatch, readings: list[tuple[float, float]], step: int
) -> None:
    data = toy()
    result = scripted(monkeypatch, data, readings)
    assert result.best.step == step
    assert result.test_reads == (step,)
    assert [(r.dev_error, r.dev_loss) for r in result.curve] == readings
    stopped_there = scripted(monkeypatch, data, readings[:step])
    assert same_weights(weights_of(result), weights_of(stopped_there)), "weights of that step"


@every_policy
def test_the_best_reading_and_its_weights_follow_from_the_curve(policy: Policy) -> None:
    data = toy()
    result = fit(CNN, policy, data, TrainConfig(steps=20, batch_size=7, lr=0.03, eval_every=3))
    assert [r.step for r in result.curve] == [3, 6, 9, 12, 15, 18, 20], "and the last step"
    assert result.best == min(result.curve, key=lambda r: (r.dev_error, r.dev_loss, r.step))
    probabilities = result.classifier.predict_proba(data.dev.texts).astype(np.float64)
    wrong = probabilities.argmax(1) != data.dev.labels
    assert wrong.mean() == pytest.approx(result.best.dev_error, abs=1e-12)
    surprise = -np.log(probabilities[np.arange(len(wrong)), data.dev.labels]).mean()
    assert surprise == pytest.approx(result.best.dev_loss, rel=1e-5)
    predicted = result.classifier.predict(data.test.texts)
    truth = [data.classes[label] for label in data.test.labels]
    assert result.test_wrong.tolist() == [p != t for p, t in zip(predicted, truth, strict=True)]
    assert result.test_error == pytest.approx(result.test_wrong.mean())


def test_the_train_loss_of_a_reading_is_the_mean_since_the_one_before() -> None:
    fine = fit(CNN, Mixup(), toy(), replace(SHORT, eval_every=1))
    coarse = fit(CNN, Mixup(), toy(), replace(SHORT, eval_every=5))
    losses = [reading.train_loss for reading in fine.curve]
    for reading, since in zip(coarse.curve, (0, 5, 10), strict=True):
        expected = np.mean(losses[since : reading.step])
        assert reading.train_loss == pytest.approx(expected, rel=1e-6)


@every_policy
def test_the_test_set_is_read_once_and_after_choosing(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, order = toy(), []

    def watched(model: CutModule, part: Encoded, *args: Any, **options: Any) -> Tensor:
        order.append("test" if len(part) == len(data.test) else "dev")
        return logits_of(model, part, *args, **options)

    monkeypatch.setattr(training_run, "logits_of", watched)
    result = fit(CNN, policy, data, SHORT)
    assert order == ["dev"] * len(result.curve) + ["test"]
    assert result.test_reads == (result.best.step,)


def test_on_step_counts_every_step() -> None:
    seen: list[int] = []
    fit(CNN, NoMixup(), toy(), SHORT, on_step=seen.append)
    assert seen == list(range(1, SHORT.steps + 1))


def test_evaluation_neither_mixes_nor_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings between steps change nothing about the training."""
    often = fit(CNN, AMP(), toy(), replace(SHORT, eval_every=1))
    seldom = fit(CNN, AMP(), toy(), replace(SHORT, eval_every=12))
    assert often.curve[-1].dev_loss == seldom.curve[-1].dev_loss


# --- optimisation ------------------------------------------------------------------------------


@pytest.mark.slow
@pairs(SITED, WORDS)
def test_a_separable_problem_is_learnt(backbone: Any, policy: Policy) -> None:
    config = TrainConfig(steps=150, batch_size=16, lr=0.02, eval_every=50)
    result = fit(backbone, policy, toy(120), config)
    assert result.test_error < 0.05
    assert result.curve[0].train_loss > result.curve[-1].train_loss


def test_a_step_is_adam_on_the_mean_loss_with_weight_decay() -> None:
    """Without dropout or mixing: an unfused optimiser by hand gives the same weights."""
    backbone, data = replace(CNN, dropout=0.0), toy()
    config = TrainConfig(steps=5, batch_size=7, lr=0.01, weight_decay=0.1, eval_every=5)
    result = fit(backbone, NoMixup(), data, config, seed=6)
    vocabulary = Vocabulary.build(text.split() for text in data.train.texts)
    generator = torch.Generator().manual_seed(torch_seed(6, "weights"))
    model = backbone.build(WordReader("words", vocabulary), 3, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1, fused=False)
    order = numpy_stream(6, "batches").permutation(len(data.train))
    for step in range(5):
        chosen = order[7 * step : 7 * step + 7]
        lists = [data.train.texts[i].split() for i in chosen]
        encoded = Encoded.of_tokens(lists, data.train.labels[chosen], vocabulary)
        ids, mask, y = map(torch.from_numpy, encoded.batch(range(len(chosen))))
        optimizer.zero_grad()
        F.cross_entropy(model(ids, mask), y).backward()
        optimizer.step()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weights_of(result)[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_clip_limits_the_norm_of_the_whole_gradient(
    monkeypatch: pytest.MonkeyPatch, clip: float
) -> None:
    norms, plain_step = [], torch.optim.Adam.step

    def watched(optimizer: torch.optim.Adam, *args: Any, **options: Any) -> Any:
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(torch.stack([g.square().sum() for g in grads]).sum().sqrt().item())
        return plain_step(optimizer, *args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    fit(CNN, Mixup(), toy(), replace(SHORT, clip=clip))
    assert len(norms) == SHORT.steps
    if clip:
        assert norms == pytest.approx([clip] * SHORT.steps, rel=1e-3)
    else:
        assert min(norms) > 1e-2, "so the limit above does limit"


@every_policy
def test_gradients_do_not_accumulate_over_steps(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Adam's step replaced by nothing, a repeated batch has the same gradient every time.

    All that a policy draws is drawn again, and it is not asked whether it needs dropout.
    """
    seen, forward = [], training_step.TrainingStep.forward

    def drawn_again(step: Any, *args: Any) -> Any:
        step.mixing.manual_seed(0)
        return forward(step, *args)

    monkeypatch.setattr(training_step.TrainingStep, "forward", drawn_again)
    monkeypatch.setattr(type(policy), "needs_dropout", False)

    def watched(optimizer: torch.optim.Adam, *args: Any, **options: Any) -> None:
        seen.append([p.grad.clone() for g in optimizer.param_groups for p in g["params"]])

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    one = Examples(("apple",), np.array([0]))
    data = replace(toy(), train=one)
    fit(replace(CNN, dropout=0.0), policy, data, replace(SHORT, steps=3))
    for later in seen[1:]:
        for first, again in zip(seen[0], later, strict=True):
            torch.testing.assert_close(first, again)


@every_policy
def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(policy: Policy) -> None:
    with pytest.raises(Diverged, match=r"step [23].*lower the learning rate \(now 1e\+30\)"):
        fit(CNN, policy, toy(), replace(SHORT, lr=1e30))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_step_named_is_the_one_that_failed(monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    plain, calls = NoMixup._train, []

    def failing(policy: NoMixup, *args: Any) -> Any:
        calls.append(1)
        mixed = plain(policy, *args)
        return replace(mixed, loss=mixed.loss * bad) if len(calls) == 5 else mixed

    monkeypatch.setattr(NoMixup, "_train", failing)
    with pytest.raises(Diverged, match="at step 5"):
        fit(CNN, NoMixup(), toy(), SHORT)


def test_a_model_that_the_last_step_ruined_is_not_returned() -> None:
    """The loss before that step was fine, so only the development reading can tell."""
    with pytest.raises(Diverged, match="step 1"):
        fit(CNN, NoMixup(), toy(), replace(SHORT, steps=1, lr=1e30))


def test_an_unknown_site_and_a_negative_seed_are_refused() -> None:
    with pytest.raises(AmpmixError, match=r"word, sent"):
        fit(CNN, Mixup(site="layer.3"), toy(), SHORT)
    with pytest.raises(AmpmixError, match="seed is -1"):
        fit(CNN, NoMixup(), toy(), SHORT, seed=-1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("eval_every", -1),
        ("max_length", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("lr", math.inf),
        ("weight_decay", -1e-9),
        ("weight_decay", math.nan),
        ("clip", -1.0),
        ("clip", math.inf),
    ],
)
def test_settings_outside_their_range_are_refused_with_name_and_value(
    name: str, value: float
) -> None:
    with pytest.raises(AmpmixError, match=f"{name} is {value}"):
        TrainConfig(**{name: value})


# --- batches and vocabulary --------------------------------------------------------------------


@given(st.integers(1, 23), st.integers(1, 8), st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_every_epoch_holds_every_example_once(
    n: int, batch_size: int, epochs: int, seed: int
) -> None:
    encoded = Encoded.of_ids([[i + 2] for i in range(n)], list(range(n)))
    per_epoch = math.ceil(n / batch_size)
    config = TrainConfig(steps=epochs * per_epoch, batch_size=batch_size)
    batches = list(step_module.training_batches(encoded, config, seed))
    assert len(batches) == config.steps
    for epoch in range(epochs):
        labels = [
            batch.y.tolist() for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch]
        ]
        assert sorted(chain.from_iterable(labels)) == list(range(n))
        assert [len(y) for y in labels[:-1]] == [batch_size] * (per_epoch - 1)
    for ids, mask, y, *_ in batches:
        assert ids[:, 0].tolist() == [label + 2 for label in y.tolist()]
        assert mask.all()


def test_the_order_changes_from_epoch_to_epoch() -> None:
    encoded = Encoded.of_ids([[2]] * 30, list(range(30)))
    first, second = step_module.training_batches(encoded, TrainConfig(steps=2, batch_size=30), 0)
    assert first.y.tolist() != second.y.tolist() != list(range(30))


@pytest.mark.slow
@every_pair
def test_a_last_batch_of_one_trains(backbone: Any, policy: Policy) -> None:
    data = toy()
    n = len(data.train)
    size = next(size for size in range(2, n) if n % size == 1)
    result = fit(backbone, policy, data, replace(SHORT, batch_size=size, steps=n // size + 2))
    assert all(math.isfinite(reading.train_loss) for reading in result.curve)


def test_the_vocabulary_comes_from_the_training_part_alone() -> None:
    data = toy(only_in_test="unseen")
    vocabulary = fit(CNN, NoMixup(), data, SHORT).classifier.reader.vocabulary
    seen = {word for text in data.train.texts for word in text.split()}
    assert set(vocabulary.words) == seen
    assert "unseen" not in vocabulary.words


def test_texts_cut_to_max_length_are_counted_over_all_parts() -> None:
    data = toy()
    result = fit(CNN, NoMixup(), data, replace(SHORT, max_length=3))
    texts = (*data.train.texts, *data.dev.texts, *data.test.texts)
    assert result.truncated == sum(len(text.split()) > 3 for text in texts) > 0
    classifier = result.classifier
    cut, whole = classifier.predict_proba(["apple w1 w2", "apple w1 w2 train train"])
    assert np.array_equal(cut, whole), "prediction cuts as training did"


# --- the classifier ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> Classifier:
    config = TrainConfig(steps=100, batch_size=16, lr=0.02, eval_every=50)
    return fit(CNN, AMP(site="sent"), toy(120), config).classifier


TEXTS = ["apple", "w1 music w2", "w3 w4 w5 train w1", "nothing known", "", "music " * 30]


def test_the_classifier_predicts_labels(trained: Classifier) -> None:
    assert trained.predict(["w1 apple", "train", "w2 w3 music"]) == ["A", "B", "C"]
    probabilities = trained.predict_proba(TEXTS)
    assert probabilities.shape == (len(TEXTS), 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert trained.predict(TEXTS) == [trained.classes[i] for i in probabilities.argmax(1)]


def test_predictions_keep_the_order_of_the_texts_and_do_not_depend_on_company(
    trained: Classifier,
) -> None:
    together = trained.predict_proba(TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(trained.predict_proba([text])[0], row, rtol=1e-5, atol=1e-7)
    backwards = trained.predict_proba(TEXTS[::-1])
    np.testing.assert_allclose(backwards[::-1], together, rtol=1e-5, atol=1e-7)
    many = trained.predict_proba(TEXTS * 100)
    np.testing.assert_allclose(many, np.tile(together, (100, 1)), rtol=1e-5, atol=1e-7)


def test_no_text_gives_no_prediction(trained: Classifier) -> None:
    assert trained.predict_proba([]).shape == (0, 3)
    assert trained.predict([]) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_pair
def test_a_classifier_trained_on_a_gpu_predicts_and_saves(
    backbone: Any, policy: Policy, tmp_path: Path
) -> None:
    result = fit(backbone, policy, toy(), replace(SHORT, device="cuda"))
    probabilities = result.classifier.predict_proba(TEXTS)
    result.classifier.save(tmp_path / "model")
    on_cpu = Classifier.load(tmp_path / "model").predict_proba(TEXTS)
    np.testing.assert_allclose(on_cpu, probabilities, rtol=1e-3, atol=1e-5)


def test_predicting_uses_no_dropout_and_leaves_the_mode_of_the_model(trained: Classifier) -> None:
    for training_mode in (True, False):
        trained.model.train(training_mode)
        before = torch.get_rng_state()
        first, again = trained.predict_proba(TEXTS), trained.predict_proba(TEXTS)
        assert np.array_equal(first, again)
        assert trained.model.training == training_mode
        assert torch.equal(torch.get_rng_state(), before)


def test_a_saved_classifier_predicts_the_same_to_the_bit(
    trained: Classifier, tmp_path: Path
) -> None:
    trained.save(tmp_path / "a" / "model", about={"seed": 3})
    loaded = Classifier.load(tmp_path / "a" / "model")
    assert np.array_equal(loaded.predict_proba(TEXTS), trained.predict_proba(TEXTS))
    for name in ("backbone", "reader", "classes"):
        assert getattr(loaded, name) == getattr(trained, name)
    config = json.loads((tmp_path / "a" / "model" / "config.json").read_text())
    assert config["about"] == trained.about | {"seed": 3}
    loaded.save(tmp_path / "again")
    assert np.array_equal(
        Classifier.load(tmp_path / "again").predict_proba(TEXTS), trained.predict_proba(TEXTS)
    )


@pytest.mark.slow
def test_a_new_process_predicts_the_same_to_the_bit(trained: Classifier, tmp_path: Path) -> None:
    trained.save(tmp_path / "model")
    code = (
        "import json, sys, torch\n"
        "from ampmix.models.classifier import Classifier\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "folder, texts = sys.argv[1], json.loads(sys.argv[2])\n"
        "sys.stdout.write(Classifier.load(folder).predict_proba(texts).tobytes().hex())\n"
    )
    path = os.pathsep.join([str(Path(training.__file__).parents[2]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model"), json.dumps(TEXTS)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == trained.predict_proba(TEXTS).tobytes().hex()


def edit(folder: Path, **changes: Any) -> None:
    """Change entries of a saved configuration as if it had been saved so; None takes one out."""
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    kept = {key: value for key, value in config.items() if value is not None}
    kept["sha256"] = content_sha256({k: v for k, v in kept.items() if k != "sha256"})
    file.write_text(json.dumps(kept))


def edit_reader(folder: Path, **changes: Any) -> None:
    """Change entries of how the model reads texts."""
    reader = json.loads((folder / "config.json").read_text())["reader"]
    edit(folder, reader={**reader, **changes})


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "configuration cut off": lambda folder: (folder / "config.json").write_text('{"format": 1'),
    "configuration is a list": lambda folder: (folder / "config.json").write_text("[1]"),
    "configuration is not UTF-8": lambda folder: (folder / "config.json").write_bytes(b"\xff"),
    "weights cut off": lambda folder: os.truncate(folder / "model.safetensors", 100),
    "weights are empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "another format": lambda folder: edit(folder, format=2),
    "no format": lambda folder: edit(folder, format=None),
    "no vocabulary": lambda folder: edit(folder, reader={"tokenizer": "words", "max_length": 9}),
    "no backbone": lambda folder: edit(folder, backbone=None),
    "unknown backbone": lambda folder: edit(folder, backbone="cnm"),
    "unknown tokenizer": lambda folder: edit_reader(folder, tokenizer="spaces"),
    "weights of another size": lambda folder: edit(folder, classes=["A", "B"]),
    "weights of another shape": lambda folder: edit(folder, backbone="cnn"),
    "a word twice": lambda folder: edit_reader(folder, vocabulary=["w1"] * 13),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_is_no_model_is_refused(
    trained: Classifier, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "model"
    trained.save(folder)
    DAMAGES[damage](folder)
    with pytest.raises(AmpmixError):
        Classifier.load(folder)


def test_an_altered_configuration_is_said_and_another_layout_is_none(
    trained: Classifier, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    trained.save(folder, {"dev_error": 0.1, "note": "\u00e9"})
    file = folder / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config, sort_keys=True, indent=7))
    assert Classifier.load(folder).classes == trained.classes
    swapped = [config["classes"][i] for i in (1, 0, 2)]  # which nothing else would tell
    for changes in ({"classes": swapped}, {"about": {"dev_error": 0.0}}, {"extra": 1}):
        file.write_text(json.dumps({**config, **changes}))
        with pytest.raises(AmpmixError, match=r"config\.json was altered after it was saved"):
            Classifier.load(folder)
    file.write_text(json.dumps({k: v for k, v in config.items() if k != "sha256"}))
    assert Classifier.load(folder).classes == trained.classes, "as earlier models are"


def test_a_missing_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AmpmixError, match="nowhere"):
        Classifier.load(tmp_path / "nowhere")


def another(classifier: Classifier) -> Classifier:
    model = classifier.backbone.build(
        classifier.reader, len(classifier.classes), torch.Generator().manual_seed(9)
    )
    return replace(classifier, model=model)


def test_saving_replaces_an_earlier_model_and_leaves_nothing_else(
    trained: Classifier, tmp_path: Path
) -> None:
    trained.save(tmp_path / "model")
    another(trained).save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model").predict_proba(TEXTS)
    assert np.array_equal(loaded, another(trained).predict_proba(TEXTS))
    assert not np.array_equal(loaded, trained.predict_proba(TEXTS))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "where", ["writing weights", "writing the configuration", "moving", "exchanging"]
)
def test_a_save_that_fails_leaves_the_earlier_model(
    trained: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    trained.save(tmp_path / "model")
    rename, failed = Path.rename, []

    def full(*_: Any, **__: Any) -> None:
        failed.append(1)
        raise OSError("no space left on device")

    def rename_once(path: Path, target: Path) -> Path:
        """The new folder cannot be moved into place; whatever else is moved, can."""
        if Path(target) == tmp_path / "model" and not failed:
            full()
        return rename(path, target)

    with monkeypatch.context() as patch:
        if where == "writing weights":
            patch.setattr("safetensors.torch.save_file", full)
        elif where == "writing the configuration":
            patch.setattr(Path, "write_text", full)
        elif where == "exchanging":
            patch.setattr("ampmix._support.files._exchanged", full)
        else:
            patch.setattr(
                "ampmix._support.files._exchanged", lambda *_: False
            )  # as elsewhere than on Linux
            patch.setattr(Path, "rename", rename_once)
            patch.setattr(Path, "replace", rename_once)
        with pytest.raises(OSError, match="no space"):
            another(trained).save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(TEXTS), trained.predict_proba(TEXTS))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("beside", [(), ("config.json",), ("config.json", "model.safetensors")])
def test_saving_does_not_delete_files_of_others(
    trained: Classifier, tmp_path: Path, beside: tuple[str, ...]
) -> None:
    """Even where they lie beside a configuration: other libraries call theirs the same."""
    for name in ("thesis.txt", *beside):
        (tmp_path / name).write_text("years of work")
    with pytest.raises(AmpmixError, match=tmp_path.name):
        trained.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_saving_into_an_empty_folder_works(trained: Classifier, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    trained.save(tmp_path / "model")
    assert Classifier.load(tmp_path / "model").predict(["apple"]) == ["A"]
