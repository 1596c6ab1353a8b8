"""The ends of every range: lam, alpha, precisions, logits, weights, classes, lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor, nn

from ampmix._support import components
from ampmix._support.components import find, spec
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.mixing import cross_entropy
from ampmix.models.classifier import Classifier
from ampmix.policies.amp import AMP
from ampmix.policies.base import Policy
from ampmix.policies.mixup import Mixup
from ampmix.text.reader import WordReader
from ampmix.text.tokenizers import words
from ampmix.training.fit import TrainConfig, fit

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
AMPS = [AMP(eps=0.1), AMP(eps=10.0, min_op=False), AMP(eps=0.1, direction="sign")]
MIXING = [Mixup(), *AMPS]
EVERY = [cls() for cls in find("ampmix.policies").values()]
BACKBONES = ["cnn[embedding_dim=8,feature_maps=4]", "bilstm[embedding_dim=8,hidden_size=8]"]


def batch(dtype: torch.dtype, classes: int = 3) -> tuple[nn.Linear, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    f = nn.Linear(4, classes).to(dtype)
    g = torch.randn(6, 4, generator=rng).to(dtype).requires_grad_()
    return f, g, torch.randint(classes, (6,), generator=rng)


def plain(f: nn.Linear, g: Tensor, y: Tensor) -> np.ndarray:
    """Cross-entropy by scipy, in float64, of logits as f gives them."""
    logits = f(g).detach().double().numpy()
    return logsumexp(logits, axis=1) - logits[np.arange(len(y)), y.numpy()]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("policy", MIXING, ids=spec)
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_at_the_ends_of_lam_the_loss_is_that_of_one_example(
    policy: Policy, lam: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fixed(alpha: float, shape: torch.Size, *, generator: object, device: object,
              dtype: torch.dtype) -> Tensor:  # fmt: skip
        return torch.full(shape, lam, dtype=dtype)

    monkeypatch.setattr("ampmix.policies.mixup.sample_lam", fixed)
    f, g, y = batch(dtype)
    mixed = policy(f, g, y, generator=torch.Generator().manual_seed(1))
    order = torch.arange(6) if lam else mixed.perm
    alone = plain(f, g[order], y[order])
    told = mixed.loss.detach().double().numpy()
    at_lam = ~mixed.mask.numpy()
    tolerance = 1e-5 if dtype in (torch.float32, torch.float64) else 0.02
    np.testing.assert_allclose(told[at_lam], alone[at_lam], rtol=tolerance, atol=tolerance)
    assert ((mixed.lam_adv >= 0) & (mixed.lam_adv <= 1)).all()
    mixed.loss.sum().backward()
    assert g.grad is not None
    assert g.grad.isfinite().all()
    assert f.weight.grad is not None
    assert f.weight.grad.isfinite().all()
    if isinstance(policy, AMP) and policy.min_op:
        assert (mixed.loss.detach().double().numpy() >= alone - tolerance).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("alpha", [1e-3, 1e-2, 1.0, 1e2, 1e3])
@pytest.mark.parametrize("cls", [Mixup, AMP])
def test_every_alpha_trains_in_every_precision(cls: type, alpha: float, dtype: torch.dtype) -> None:
    f, g, y = batch(dtype)
    draws = []
    for seed in range(30):
        mixed = cls(alpha=alpha)(f, g, y, generator=torch.Generator().manual_seed(seed))
        assert mixed.loss.isfinite().all()
        draws.append(mixed.lam.double())
    lam = torch.cat(draws)
    assert ((lam >= 0) & (lam <= 1)).all()
    deviation = (4 * (2 * alpha + 1)) ** -0.5  # of Beta(alpha, alpha); 180 draws
    assert abs(lam.mean() - 0.5) < 5 * deviation / 180**0.5
    assert lam.std() == pytest.approx(deviation, rel=0.35)
    mixed.loss.sum().backward()
    assert g.grad is not None
    assert g.grad.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_logits_have_the_loss_that_they_have(dtype: torch.dtype) -> None:
    top = {torch.float16: 6e4, torch.float64: 1e300}.get(dtype, 1e37)
    rows = [[top, -top, 0.0], [-top, -top, -top], [top, top, top], [0.0, 1e-7, -1e-7]]
    logits = torch.tensor(rows, dtype=dtype).requires_grad_()
    exact = logits.detach().double().numpy()
    exact = exact - exact.max(axis=1, keepdims=True)  # log 3 is lost beside 1e37
    for target in range(3):
        y = torch.full((4,), target)
        loss = cross_entropy(logits, y)
        expected = logsumexp(exact, axis=1) - exact[:, target]
        np.testing.assert_allclose(loss.detach().double().numpy(), expected, rtol=1e-5, atol=1e-6)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("policy", MIXING, ids=spec)
def test_confident_logits_keep_amp_finite(policy: Policy) -> None:
    f, g, y = batch(torch.float32)
    with torch.no_grad():
        f.weight.mul_(1e12)
    mixed = policy(f, g, y, generator=torch.Generator().manual_seed(0))
    mixed.loss.sum().backward()
    assert mixed.loss.isfinite().all()
    assert mixed.lam_adv.isfinite().all()
    assert f.weight.grad is not None
    assert f.weight.grad.isfinite().all()


@pytest.mark.parametrize("policy", MIXING, ids=spec)
@pytest.mark.parametrize("weights", [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
def test_a_class_of_weight_zero_adds_nothing(policy: Policy, weights: list[float]) -> None:
    f, g, _ = batch(torch.float32)
    y, given = torch.tensor([0, 0, 0, 0, 1, 2]), torch.tensor(weights)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits, y, weights=given)

    mixed = policy(f, g, y, loss=loss, generator=torch.Generator().manual_seed(0))
    nothing = (given[y] == 0) & (given[y[mixed.perm]] == 0)
    assert nothing.any()
    assert (mixed.loss[nothing] == 0).all()
    assert mixed.loss.isfinite().all()
    mixed.loss.sum().backward()
    assert f.weight.grad is not None
    assert f.weight.grad.isfinite().all()
    if not any(weights):
        assert not f.weight.grad.any()


@pytest.mark.parametrize("policy", [Mixup(), AMP(eps=0.1)], ids=spec)
def test_a_million_classes(policy: Policy) -> None:
    classes = 10**6
    f = nn.Linear(2, classes)
    g = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.tensor([0, classes - 1, 12345])
    mixed = policy(f, g, y, generator=torch.Generator().manual_seed(0))
    lam = torch.where(mixed.mask, mixed.lam_adv, mixed.lam)[:, None]
    logits = f(lam * g + (1 - lam) * g[mixed.perm]).detach().double().numpy()
    own, other = (
        logsumexp(logits, axis=1) - logits[range(3), target] for target in (y, y[mixed.perm])
    )
    told = mixed.lam.double().numpy()
    np.testing.assert_allclose(
        mixed.loss.detach().double().numpy(), told * own + (1 - told) * other, rtol=1e-5
    )
    mixed.loss.sum().backward()
    assert g.grad is not None
    assert g.grad.isfinite().all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_token_alone_is_one_token_beside_others(backbone: str) -> None:
    texts = ["film", "a very good film about a train", "", "\u200b\u2060 \n"]
    reader = WordReader.of_texts(texts, "words", 16)
    made = components.parse(backbone, "ampmix.backbones", "backbone")
    model = made.build(reader, 3, torch.Generator().manual_seed(0))
    classifier = Classifier(made, model, reader, ("a", "b", "c"))
    together = classifier.predict_proba(texts)
    alone = np.concatenate([classifier.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.isfinite(together).all()
    assert words(texts[3]) == []
    np.testing.assert_allclose(together[2], together[3], atol=1e-6)  # both hold nothing


@pytest.mark.parametrize("policy", EVERY, ids=spec)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_texts_that_are_empty_after_cleaning_train(policy: Policy, backbone: str) -> None:
    part = Examples(("", "\u200b", "film", " \n", "train", "\ufeff") * 4, [0, 1, 0, 1, 1, 0] * 4)
    split = split_holdout(TextDataset("odd", ("a", "b"), train=part, test=part), 0)
    made = components.parse(backbone, "ampmix.backbones", "backbone")
    found = fit(made, policy, split, TrainConfig(steps=3, batch_size=7, eval_every=3), 0)
    assert np.isfinite(found.curve[-1].dev_loss)
    assert np.isfinite(found.classifier.predict_proba(["", "film"])).all()
