"""Class weights and label smoothing: against a loop, PyTorch's and scikit-learn's, and in fit()."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from ampmix._support.components import find, spec
from ampmix._support.random_streams import torch_seed
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.errors import AmpmixError
from ampmix.mixing import cross_entropy
from ampmix.policies.amp import AMP
from ampmix.policies.base import Policy
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.policies.nonlinear import NonlinearMixup
from ampmix.studies.plan import Plan
from ampmix.training import training_run
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.losses import balanced_weights, training_loss
from ampmix.training.training_run import Fit

CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 2), feature_maps=4)
RARE = {"steps": 12, "batch_size": 7, "lr": 0.01, "eval_every": 3}
SETTINGS = [
    {"class_weights": "balanced"},
    {"label_smoothing": 0.2},
    {"class_weights": "balanced", "label_smoothing": 0.2},
]
every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int = 30, classes: int = 4) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(n, classes, generator=rng(), dtype=torch.float64)
    return logits, torch.randint(classes, (n,), generator=rng(1))


def looped(logits: list[float], y: int, weights: list[float], smoothing: float) -> float:
    """One example's loss with Python's numbers: every class's share of the label, weighed."""
    total = sum(math.exp(z) for z in logits)
    value = 0.0
    for c, z in enumerate(logits):
        share = smoothing / len(logits) + (1 - smoothing) * (c == y)
        value -= share * weights[c] * math.log(math.exp(z) / total)
    return value


# --- the functions -----------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.0]])
def test_cross_entropy_equals_the_loop_and_pytorchs(
    weights: list[float] | None, smoothing: float
) -> None:
    logits, y = drawn()
    given_weights = None if weights is None else torch.tensor(weights)
    found = cross_entropy(logits, y, weights=given_weights, smoothing=smoothing)
    own = [1.0] * 4 if weights is None else weights
    pairs = zip(logits.tolist(), y.tolist(), strict=True)
    expected = [looped(row, label, own, smoothing) for row, label in pairs]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    theirs = torch.nn.CrossEntropyLoss(
        torch.tensor(own, dtype=torch.float64), label_smoothing=smoothing, reduction="none"
    )
    torch.testing.assert_close(found, theirs(logits, y))
    stacked = cross_entropy(
        logits.view(2, 15, 4), y.view(2, 15), weights=given_weights, smoothing=smoothing
    )
    assert torch.equal(stacked, found.view(2, 15)), "leading axes change nothing"
    half = cross_entropy(logits.bfloat16(), y, weights=given_weights, smoothing=smoothing)
    assert half.dtype == torch.float32


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_balanced_weights_are_scikit_learns_and_weigh_nothing_without_examples(
    labels: list[int], more: int
) -> None:
    y, classes = np.array(labels), 6 + more
    found = balanced_weights(y, classes)
    present = np.unique(y)
    assert found.shape == (classes,) and np.isfinite(found).all()
    np.testing.assert_allclose(
        found[present], compute_class_weight("balanced", classes=present, y=y)
    )
    assert found.sum() == pytest.approx(found[present].sum()), "the others weigh 0"
    assert found[y].mean() == pytest.approx(1.0)
    totals = [found[c] * (y == c).sum() for c in present]
    np.testing.assert_allclose(totals, totals[0])


def test_without_either_the_loss_is_plain_cross_entropy_itself() -> None:
    assert training_loss(np.array([0, 1, 1]), 2) is cross_entropy


# --- through the policies ----------------------------------------------------------------------


@every_setting
@pytest.mark.parametrize("policy", [NoMixup(), Mixup(), AMP(eps=0.3)], ids=spec)
def test_policies_interpolate_losses_with_each_examples_own_weight(
    policy: Policy, setting: dict[str, Any]
) -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    smoothing = setting.get("label_smoothing", 0.0)
    loss = training_loss(labels, 3, setting.get("class_weights", "none"), smoothing)
    weights = [7 / 12, 7 / 6, 7 / 3] if "class_weights" in setting else [1.0] * 3
    f, g = torch.nn.Linear(4, 3).double(), torch.randn(7, 4, generator=rng(2)).double()
    y = torch.from_numpy(labels)
    mixed = policy(f, g, y, loss=loss, generator=rng(3))
    losses = mixed.loss.tolist()

    def at(i: int, lam: float) -> float:
        j = int(mixed.perm[i])
        logits = f(lam * g[i] + (1 - lam) * g[j]).tolist()
        own = float(mixed.lam[i])
        parts = [looped(logits, int(y[k]), weights, smoothing) for k in (i, j)]
        return own * parts[0] + (1 - own) * parts[1]

    for i in range(7):
        expected = max(at(i, float(mixed.lam[i])), at(i, float(mixed.lam_adv[i])))
        assert losses[i] == pytest.approx(expected, rel=1e-5)


# --- in fit() ----------------------------------------------------------------------------------


def toy(seed: int = 0) -> Split:
    """Three classes, one common and one rare, told apart by a word among fillers."""
    draws = np.random.default_rng(seed)

    def part(counts: tuple[int, ...]) -> Examples:
        own = np.repeat(np.arange(3), counts)
        texts = []
        for label in own:
            words = [f"w{i}" for i in draws.integers(10, size=4)]
            words[draws.integers(4)] = ("apple", "train", "music")[label]
            texts.append(" ".join(words))
        return Examples(tuple(texts), own)

    dataset = TextDataset(
        "toy", ("A", "B", "C"), part((30, 9, 3)), dev=part((2, 20, 20)), test=part((9, 9, 9))
    )
    return split_holdout(dataset, seed=0)


def weights_of(result: Fit) -> dict[str, Tensor]:
    return dict(result.classifier.model.state_dict())


@every_setting
def test_a_step_minimises_the_mean_of_pytorchs_loss(setting: dict[str, Any]) -> None:
    """By hand, with weights from the training part alone: the development part's are reversed."""
    data, backbone = toy(), replace(CNN, dropout=0.0)
    config = TrainConfig(steps=1, batch_size=42, lr=0.01, weight_decay=0.0, **setting)
    result = fit(backbone, NoMixup(), data, config, seed=6)
    reader = backbone.reader(data.train.texts, data.tokenizer, 512)
    model = backbone.build(reader, 3, rng(torch_seed(6, "weights")))
    weight = None
    if "class_weights" in setting:
        weight = torch.tensor([42 / (3 * n) for n in (30, 9, 3)])
    loss = torch.nn.CrossEntropyLoss(
        weight, label_smoothing=setting.get("label_smoothing", 0.0), reduction="none"
    )
    encoded = reader.encode(data.train.texts, data.train.labels)
    ids, mask, y = map(torch.from_numpy, encoded.batch(range(42)))
    value = loss(model(ids, mask), y).mean()
    assert result.curve[0].train_loss == pytest.approx(value.item(), rel=1e-5)
    value.backward()  # type: ignore[no-untyped-call]
    torch.optim.Adam(model.parameters(), lr=0.01).step()
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(weights_of(result)[name], expected, rtol=1e-4, atol=2e-5)


@every_setting
@pytest.mark.parametrize("site", ["word", "sent"])
def test_amp_without_a_step_is_mixup_for_a_whole_run(setting: dict[str, Any], site: str) -> None:
    config = TrainConfig(**RARE, **setting)
    mixup, amp, moved = (
        fit(CNN, policy, toy(), config, seed=2)
        for policy in (Mixup(site=site), AMP(site=site, eps=0.0), AMP(site=site, eps=0.3))
    )
    assert amp.curve == mixup.curve != moved.curve
    own, other = weights_of(mixup), weights_of(amp)
    assert all(torch.equal(own[name], other[name]) for name in own)
    plain = fit(CNN, Mixup(site=site), toy(), TrainConfig(**RARE), seed=2)
    assert plain.curve != mixup.curve, "so the setting reaches the loss"


@every_setting
def test_development_readings_are_plain(setting: dict[str, Any]) -> None:
    data = toy()
    result = fit(CNN, NoMixup(), data, TrainConfig(**RARE, **setting))
    probabilities = result.classifier.predict_proba(data.dev.texts).astype(np.float64)
    surprise = -np.log(probabilities[np.arange(len(data.dev)), data.dev.labels]).mean()
    assert surprise == pytest.approx(result.best.dev_loss, rel=1e-5)
    wrong = probabilities.argmax(1) != data.dev.labels
    assert wrong.mean() == pytest.approx(result.best.dev_error)


def test_balanced_weights_help_the_rare_class() -> None:
    """At the same number of steps it is predicted more often."""
    data = toy()
    config = TrainConfig(steps=30, batch_size=20, lr=0.01)
    texts = data.dev.texts[-20:]
    found = [
        fit(CNN, NoMixup(), data, replace(config, class_weights=name)).classifier
        for name in ("none", "balanced")
    ]
    plain, balanced = (one.predict_proba(texts)[:, 2].mean() for one in found)
    assert balanced > plain + 0.05


def test_a_class_absent_from_training_makes_no_nan() -> None:
    data = toy()
    kept = np.flatnonzero(data.train.labels != 2)
    lacking = replace(data, train=data.train.take(kept))
    config = TrainConfig(**RARE, class_weights="balanced", label_smoothing=0.1)
    for policy in (NoMixup(), Mixup(), AMP(eps=0.3)):
        result = fit(CNN, policy, lacking, config)
        assert all(math.isfinite(reading.train_loss) for reading in result.curve)


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"class_weights": "balance"}, "did you mean balanced"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"label_smoothing": math.nan}, "label_smoothing is nan"),
    ],
)
def test_settings_outside_their_range(values: dict[str, Any], told: str) -> None:
    with pytest.raises(AmpmixError, match=told):
        TrainConfig(**values)


@every_setting
def test_a_policy_with_a_loss_of_its_own_is_refused_before_training(
    setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*_: Any) -> None:
        raise AssertionError("it began")

    data = toy()
    monkeypatch.setattr(training_run, "_encode", begun)
    said = "policy nonlinear has a loss of its own.*class weights or label smoothing"
    with pytest.raises(AmpmixError, match=said):
        fit(CNN, NonlinearMixup(), data, TrainConfig(**RARE, **setting))
    dataset = TextDataset("toy", data.classes, data.train, data.dev, data.test)
    with pytest.raises(AmpmixError, match=said):
        Plan(dataset, CNN, (NoMixup(), NonlinearMixup()), 2, config=TrainConfig(**RARE, **setting))
    Plan(dataset, CNN, (NoMixup(), NonlinearMixup()), 2, config=TrainConfig(**RARE))


@pytest.mark.parametrize("command", ["compare", "train"])
def test_the_commands_refuse_it_before_training_too(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = (f"film number {i} of {i * i % 97},{'xy'[i % 2]}" for i in range(24))
    Path("a.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    what = ["--policy", "nonlinear"] if command == "train" else ["--policies", "none,nonlinear"]
    assert main([command, "a.csv", "--out", "out", *what, "--class-weights", "balanced"]) == 2
    error = capsys.readouterr().err
    assert "policy nonlinear has a loss of its own" in error.splitlines()[-1]
    assert not Path("out").exists()


# --- in records --------------------------------------------------------------------------------


def test_a_records_name_depends_on_what_was_set_and_on_nothing_new() -> None:
    """Settings that came later leave the names of earlier runs alone."""
    first = {
        "steps": 8000,
        "batch_size": 50,
        "lr": 2e-4,
        "weight_decay": 1e-8,
        "clip": 0.0,
        "eval_every": 100,
        "max_length": 512,
        "device": "cpu",
        "optimizer": "adam",
        "schedule": "constant",
        "warmup": 0.0,
        "selection": "best_dev",
    }
    assert TrainConfig().identity == first
    changed = TrainConfig(class_weights="balanced", label_smoothing=0.1, patience=3)
    told = {"class_weights": "balanced", "label_smoothing": 0.1, "patience": 3}
    assert changed.identity == first | told
    assert json.loads(json.dumps(changed.identity)) == changed.identity


def test_every_policy_says_whether_it_takes_a_loss() -> None:
    loss = training_loss(np.array([0, 1]), 2, "balanced")
    refusing = []
    for cls in find("ampmix.policies").values():
        try:
            cls().check_loss(loss)
        except AmpmixError:
            refusing.append(cls.name)
        cls().check_loss(cross_entropy)
    assert refusing == ["nonlinear"]
