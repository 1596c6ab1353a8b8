"""Non-linear Mixup against a loop over examples and numbers, and through a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.errors import AmpmixError
from ampmix.models.classifier import Classifier, logits_of
from ampmix.policies import nonlinear
from ampmix.policies.mixup import Mixup
from ampmix.policies.nonlinear import LabelPolicy, NonlinearMixup, orthonormal
from ampmix.studies.plan import Plan
from ampmix.text.encoded import Vocabulary
from ampmix.text.reader import WordReader
from ampmix.training import training_run
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit

CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 2), feature_maps=4)
SHORT = TrainConfig(steps=12, batch_size=7, lr=0.01, eval_every=3)
L, D, CLASSES = 5, 4, 3
POLICIES = [NonlinearMixup(), NonlinearMixup(label_dim=7), NonlinearMixup(alpha=0.3)]
variants = pytest.mark.parametrize("policy", POLICIES, ids=str)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def labels(seed: int, *shape: int) -> Tensor:
    return torch.randint(CLASSES, shape, generator=rng(seed))


def masks(*lengths: int, columns: int = L) -> Tensor:
    return torch.arange(columns) < torch.tensor(lengths).unsqueeze(-1)


def prepared(policy: NonlinearMixup, *shape: int) -> LabelPolicy:
    """In float64, with a weight large enough that phi is far from 1/2."""
    learner = policy.prepare(shape or (L, D), CLASSES, rng(1)).double()
    with torch.no_grad():
        learner.weight.mul_(5)
    return learner


class Head(nn.Module):
    """A curved f of embedded words and their mask that keeps what it was given."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self.inner = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, outputs)).double()
        self.given: list[tuple[Tensor, Tensor]] = []

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        self.given.append((words.detach(), mask))
        out: Tensor = self.inner((words * mask.unsqueeze(-1)).sum(-2))
        return out


def coefficients(mixed: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Lam as it can be read off a mixed hidden state."""
    return ((mixed - other) / (own - other)).detach()


# --- an oracle: one example, one number after the other ------------------------------------------


def naive(
    learner: LabelPolicy,
    f: Callable[..., Tensor],
    words: Tensor,
    mask: Tensor,
    y: Tensor,
    lam: Tensor,
    perm: Tensor,
) -> Tensor:
    """The loss of every example with its graph, for given coefficients."""
    longest = learner.weight.shape[1]
    losses = []
    for i in range(len(y)):
        j = int(perm[i])
        x = lam[i] * words[i] + (1 - lam[i]) * words[j]
        either = mask[i] | mask[j]
        target = []
        for k in range(learner.weight.shape[0]):
            total = learner.bias[k]
            for t in range(min(longest, len(x))):
                if either[t]:
                    total = total + (learner.weight[k, t] * x[t]).sum()
            phi = 1 / (1 + (-total).exp())
            own, other = learner.labels[y[i], k], learner.labels[y[j], k]
            target.append(phi * own + (1 - phi) * other)
        wanted, out = torch.stack(target), f(x.unsqueeze(0), either.unsqueeze(0))[0]
        product = (out * wanted).sum()
        losses.append(1 - product / (out.square().sum() * wanted.square().sum()).sqrt())
    return torch.stack(losses)


@variants
@pytest.mark.parametrize("columns", [3, L, 9], ids=["shorter", "longest", "cut"])
def test_loss_and_every_gradient_equal_the_loop(policy: NonlinearMixup, columns: int) -> None:
    """Of the embeddings, the model, W and b; padding that is not zero and unequal lengths."""
    learner, f = prepared(policy), Head(policy.outputs(CLASSES))
    words, y = normal(2, 6, columns, D).requires_grad_(), labels(3, 6)
    mask = masks(1, 3, 2, 1, min(columns, 8), 2, columns=columns)
    mixed = learner(f, (words, mask), y, generator=rng(4))
    given, united = f.given[0]
    assert torch.equal(united, mask | mask[mixed.perm])
    lam = coefficients(given, words, words[mixed.perm])
    torch.testing.assert_close(mixed.lam.double(), lam.mean((1, 2)), rtol=1e-6, atol=1e-6)
    expected = naive(learner, f, words, mask, y, lam, mixed.perm)

    torch.testing.assert_close(mixed.loss, expected, rtol=0, atol=1e-9)
    leaves = [words, *f.parameters(), *learner.parameters()]
    mine = torch.autograd.grad(mixed.loss.mean(), leaves)
    theirs = torch.autograd.grad(expected.mean(), leaves)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)
        assert one.abs().max() > 1e-4


@pytest.mark.parametrize("alpha", [1.0, 0.3, 4.0])
def test_coefficients_are_independent_beta_variables(alpha: float) -> None:
    learner, f = prepared(NonlinearMixup(alpha=alpha)), Head(CLASSES)
    words = normal(0, 300, L, D)
    mixed = learner(f, (words, masks(*[L] * 300)), labels(0, 300), generator=rng(0))
    lam = coefficients(f.given[0][0], words, words[mixed.perm]).reshape(300, -1)
    assert (lam > -1e-6).all() and (lam < 1 + 1e-6).all()
    assert scipy.stats.kstest(lam.flatten(), scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    across = np.corrcoef(lam.T.numpy()) - np.eye(L * D)
    assert np.abs(across).max() < 0.25, "of one example's elements"


def test_a_batch_of_one_trains_unmixed_towards_its_own_label() -> None:
    learner, f = prepared(NonlinearMixup()), Head(CLASSES)
    words, mask, y = normal(0, 1, L, D), masks(3), labels(0, 1)
    mixed = learner(f, (words, mask), y, generator=rng())
    assert torch.equal(f.given[0][0], words)
    expected = 1 - F.cosine_similarity(f(words, mask), learner.labels[y])
    torch.testing.assert_close(mixed.loss, expected, rtol=0, atol=1e-12)
    assert mixed.lam.tolist() == [1.0]
    mixed.loss.mean().backward()
    assert learner.weight.grad is not None and not learner.weight.grad.any()


def test_a_leading_axis_equals_separate_calls() -> None:
    learner, f = prepared(NonlinearMixup()), Head(CLASSES)
    words, y = normal(0, 2, 6, L, D), labels(0, 2, 6)
    mask = torch.stack([masks(1, 2, 3, 4, 5, 1), masks(5, 1, 1, 2, 3, 3)])
    together = learner(f, (words, mask), y, generator=[rng(0), rng(1)])
    for s in range(2):
        alone = learner(f, (words[s], mask[s]), y[s], generator=rng(s))
        torch.testing.assert_close(together.loss[s], alone.loss, rtol=0, atol=1e-12)
        assert torch.equal(together.perm[s], alone.perm)
        assert torch.equal(together.lam[s], alone.lam)


def test_the_label_policy_reads_no_padding() -> None:
    """Whatever stands where neither text has a word, and however much of it."""
    learner, x = prepared(NonlinearMixup(), 7, D), normal(0, 4, L, D)
    mask = masks(1, 3, 5, 2)
    phi = learner.label_weights((x, mask), 1)
    for noise, columns in ((100.0, 0), (3.0, 2), (3.0, 6)):
        other = F.pad(torch.where(mask.unsqueeze(-1), x, noise), (0, 0, 0, columns), value=noise)
        wider = F.pad(mask, (0, columns))
        torch.testing.assert_close(learner.label_weights((other, wider), 1), phi)
    assert (phi - 0.5).abs().max() > 0.1


# --- label embeddings and prediction -------------------------------------------------------------


@pytest.mark.parametrize(("rows", "width"), [(2, 2), (6, 6), (6, 64)])
def test_label_embeddings_are_orthonormal(rows: int, width: int) -> None:
    e = orthonormal(rows, width, rng(0)).double()
    torch.testing.assert_close(e @ e.T, torch.eye(rows).double(), rtol=0, atol=1e-6)
    assert not torch.equal(e, orthonormal(rows, width, rng(2)).double())


def test_no_direction_is_preferred() -> None:
    """Without the correction of QR's signs, the first entries would all have one sign."""
    first = torch.stack([orthonormal(3, 3, rng(s)) for s in range(400)])
    assert first.mean(0).abs().max() < 4 * (1 / 3 / 400) ** 0.5


@pytest.mark.parametrize("label_dim", [0, 9])
def test_the_folded_model_predicts_the_label_nearest_in_cosine(label_dim: int) -> None:
    policy = NonlinearMixup(label_dim=label_dim)
    reader = WordReader("words", Vocabulary(tuple(f"w{i}" for i in range(30))))
    model = CNN.build(reader, policy.outputs(CLASSES), rng(0)).eval()
    learner = policy.prepare((L, 8), CLASSES, rng(1))
    ids = torch.randint(2, 32, (200, L), generator=rng(2))
    mask = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        model.output.bias.sub_(model(ids, mask).mean(0))  # answers that differ
        outputs = model(ids, mask)
        assert outputs.shape == (200, label_dim or CLASSES)
        nearest = [
            max(range(CLASSES), key=lambda c: float(_cosine(out, learner.labels[c])))
            for out in outputs
        ]
        scores = learner.scores(outputs)
        learner.fold(model)
        folded = model(ids, mask)
    assert folded.argmax(1).tolist() == nearest
    assert len(set(nearest)) == CLASSES
    torch.testing.assert_close(folded, scores, rtol=1e-5, atol=1e-5)
    ordinary = CNN.build(reader, CLASSES, rng(0)).state_dict()
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in ordinary.items()
    }
    assert model.head.out_features == CLASSES


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / a.norm() / b.norm()


# --- through TextCNN -----------------------------------------------------------------------------


def test_the_embedding_site_equals_the_textbook() -> None:
    """Mix embeddings element by element, then convolve, pool and classify, padding included."""
    config = TextCNN(embedding_dim=D, filter_sizes=(2, 3), feature_maps=3, dropout=0.0)
    reader = WordReader("words", Vocabulary(tuple(f"w{i}" for i in range(10))))
    model, learner = config.build(reader, CLASSES, rng(0)).double(), prepared(NonlinearMixup())
    mask, y = masks(1, 4, 2, 5), labels(1, 4)
    ids = torch.randint(2, 12, mask.shape, generator=rng(3)) * mask
    seen: list[Tensor] = []
    f, g = model.cut(ids, mask, "embedding")

    def watched(words: Tensor, united: Tensor) -> Tensor:
        seen.append(words)
        return f(words, united)

    def textbook(words: Tensor, united: Tensor) -> Tensor:
        pooled, slot = [], 0
        for w, size in enumerate((2, 3)):
            kernel = model.filters[:, slot : slot + size].permute(2, 0, 1)
            padded = F.pad(words.transpose(1, 2), (2, 2))
            h = F.conv1d(padded, kernel, model.bias[w * 3 : w * 3 + 3])
            held = F.pad(united, (2, 2)).unfold(1, size, 1).any(-1)
            pooled.append(h.masked_fill(~held.unsqueeze(1), float("-inf")).relu().amax(-1))
            slot += size
        return torch.cat(pooled, 1) @ model.output.weight.T + model.output.bias

    mixed = learner(watched, g, y, generator=rng(5))
    words = model.embedding[ids] * mask.unsqueeze(-1)
    lam = coefficients(seen[0], words, words[mixed.perm]).nan_to_num()  # 0/0 where both are padding
    expected = naive(learner, textbook, words, mask, y, lam, mixed.perm)
    torch.testing.assert_close(mixed.loss, expected, rtol=0, atol=1e-9)
    leaves = [*model.parameters(), *learner.parameters()]
    mine = torch.autograd.grad(mixed.loss.mean(), leaves)
    theirs = torch.autograd.grad(expected.mean(), leaves)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def toy(n: int = 45) -> Split:
    """Three classes told apart by one word among fillers."""
    draws = np.random.default_rng(0)

    def part(count: int) -> Examples:
        own, texts = np.arange(count) % 3, []
        for label in own:
            words = [f"w{i}" for i in draws.integers(10, size=draws.integers(0, 6))]
            at = int(draws.integers(len(words) + 1))
            texts.append(" ".join([*words[:at], ("apple", "train", "music")[label], *words[at:]]))
        return Examples(tuple(texts), own)

    dataset = TextDataset("toy", ("A", "B", "C"), part(n), dev=part(30), test=part(60))
    return split_holdout(dataset, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("label_dim", [0, 8])
def test_a_separable_problem_is_learnt_and_saved(label_dim: int, tmp_path: Path) -> None:
    data, config = toy(120), TrainConfig(steps=150, batch_size=16, lr=0.02, eval_every=50)
    result = fit(CNN, NonlinearMixup(label_dim=label_dim), data, config)
    assert result.test_error < 0.1
    result.classifier.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    ours = result.classifier.predict_proba(data.test.texts)
    assert np.array_equal(loaded.predict_proba(data.test.texts), ours)
    assert (ours.argmax(1) != data.test.labels).tolist() == result.test_wrong.tolist()


def test_the_label_policy_trains_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same W and b in all runs with one seed, whatever the settings; then they move."""
    made: list[tuple[LabelPolicy, Tensor]] = []
    plain = NonlinearMixup.prepare

    def watched(*args: Any) -> LabelPolicy:
        learner = plain(*args)
        made.append((learner, learner.weight.detach().clone()))
        return learner

    monkeypatch.setattr(NonlinearMixup, "prepare", watched)
    data = toy()
    for alpha, seed in ((1.0, 0), (0.5, 0), (1.0, 1)):
        fit(CNN, NonlinearMixup(alpha=alpha), data, SHORT, seed)
    (trained, start), (_, same), (_, another) = made
    longest = max(len(text.split()) for text in data.train.texts)
    assert start.shape == (CLASSES, longest, 8)
    assert torch.equal(start, same) and not torch.equal(start, another)
    assert (trained.weight - start).abs().max() > 0.01


def test_a_wider_label_embedding_changes_no_weight_but_the_heads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[dict[str, Tensor]] = []
    plain = TextCNN.build

    def watched(*args: Any) -> Any:
        model = plain(*args)
        built.append({k: v.clone() for k, v in model.state_dict().items()})
        return model

    monkeypatch.setattr(TextCNN, "build", watched)
    for policy in (Mixup(), NonlinearMixup(label_dim=9)):
        fit(CNN, policy, toy(), replace(SHORT, steps=1), seed=3)
    for name in ("embedding", "filters", "bias"):
        assert torch.equal(built[0][name], built[1][name])
    assert built[1]["output.weight"].shape[0] == 9


def test_evaluation_never_mixes(monkeypatch: pytest.MonkeyPatch) -> None:
    mixes, readings = [], []
    plain = nonlinear.mix

    def watched_mix(*args: Any) -> Tensor:
        mixes.append(1)
        return plain(*args)

    def watched_reading(*args: Any) -> Tensor:
        before = len(mixes)
        logits = logits_of(*args)
        readings.append(len(mixes) - before)
        return logits

    monkeypatch.setattr(nonlinear, "mix", watched_mix)
    monkeypatch.setattr(training_run, "logits_of", watched_reading)
    often = fit(CNN, NonlinearMixup(), toy(), replace(SHORT, eval_every=1))
    seldom = fit(CNN, NonlinearMixup(), toy(), replace(SHORT, eval_every=12))
    assert len(readings) == 12 + 1 + 1 + 1 and not any(readings)
    assert len(mixes) == 2 * 2 * SHORT.steps, "embeddings and mask, every step of both runs"
    assert often.curve[-1].dev_loss == seldom.curve[-1].dev_loss


@pytest.mark.slow
def test_compare_runs_it_on_trec(
    trec_data: Path, serial: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPMIX_DATA", str(trec_data))
    policies = "none,mixup,nonlinear,nonlinear[label_dim=20]"
    command = ["compare", "trec", "--policies", policies, "--fraction", "0.05", "--steps", "4"]
    small = ["--backbone", "cnn[embedding_dim=8,feature_maps=4]", "--seeds", "1"]
    assert main([*command, *small, "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert [row["policy"] for row in rows][1:] == [
        "none",
        "mixup",
        "nonlinear",
        "nonlinear[label_dim=20]",
    ]
    for folder in (tmp_path / "models").iterdir():
        probabilities = Classifier.load(folder).predict_proba(["Who was Galileo ?"])
        assert probabilities.shape == (1, 6)


# --- what is refused -----------------------------------------------------------------------------


def test_a_call_without_prepare_is_refused() -> None:
    with pytest.raises(AmpmixError, match="prepare"):
        NonlinearMixup()(Head(CLASSES), (normal(0, 2, L, D), masks(1, 2)), labels(0, 2))


def test_another_loss_is_refused() -> None:
    with pytest.raises(AmpmixError, match="class weights"):
        prepared(NonlinearMixup())(
            Head(CLASSES),
            (normal(0, 2, L, D), masks(1, 2)),
            labels(0, 2),
            loss=lambda logits, y: logits.sum(-1),
        )


def test_targets_that_are_not_indices_are_refused() -> None:
    with pytest.raises(AmpmixError, match="class indices"):
        prepared(NonlinearMixup())(
            Head(CLASSES), (normal(0, 2, L, D), masks(1, 2)), normal(0, 2, 3)
        )


@pytest.mark.parametrize("label_dim", [-1, 2])
def test_a_label_dim_that_is_too_small_is_refused_before_training(label_dim: int) -> None:
    data = TextDataset(
        "three", ("A", "B", "C"), Examples(tuple("abc" * 9), np.array([0, 1, 2] * 9))
    )
    with pytest.raises(AmpmixError, match=f"label_dim is {label_dim}"):
        Plan(data, CNN, (NonlinearMixup(label_dim=label_dim),), seeds=3)


def test_a_site_that_the_backbone_lacks_is_refused() -> None:
    with pytest.raises(AmpmixError, match="embedding"):
        fit(CNN, NonlinearMixup(site="embeddings"), toy(), SHORT)
