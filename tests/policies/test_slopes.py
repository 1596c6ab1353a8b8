"""How losses change with lam, in closed form: equal to autograd's and to differences."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ampmix import AMP, Mixup
from ampmix._torch.generators import Ragged
from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.heads import Classify
from ampmix.backbones.stacked.head import StackedClassify
from ampmix.backbones.text_cnn import TextCNN
from ampmix.errors import AmpmixError
from ampmix.mixing import (
    Loss,
    cross_entropy,
    interpolate_loss,
    loss_and_slope,
    mix,
    pair,
    take_pairs,
)
from ampmix.mixing.heads import head_of, partners_of
from ampmix.text.encoded import Vocabulary
from ampmix.text.reader import WordReader
from tiny_encoders import TINY

WORDS, CLASSES = 12, 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=rng(seed), dtype=torch.float64)


# --- the loss ------------------------------------------------------------------------------------


def squared(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.softmax(-1) - F.one_hot(y, CLASSES)).square().sum(-1)


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "weighted": partial(cross_entropy, weights=torch.tensor([1.0, 0.0, 2.5, 1.0])),
    "smoothed": partial(cross_entropy, smoothing=0.1),
    "squared": squared,
}


@pytest.mark.parametrize("shape", [(1,), (6,), (3, 6)], ids=str)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_a_losss_slope_is_autograds(name: str, soft: bool, shape: tuple[int, ...]) -> None:
    """Along a line of logits, ``logits(lam) = at + slope * lam``, of which autograd knows all."""
    if soft and name == "squared":
        pytest.skip("it takes class indices")
    at, slope = randn(*shape, CLASSES), randn(*shape, CLASSES, seed=1)
    y = torch.randint(CLASSES, shape, generator=rng(2))
    targets = randn(*shape, CLASSES, seed=3).softmax(-1) if soft else y
    lam, perm = rand(*shape, seed=4), pair(shape, generator=rng(5))
    moving = lam.clone().requires_grad_()
    logits = at + slope * moving.unsqueeze(-1)
    expected = interpolate_loss(LOSSES[name], logits, targets, lam, perm)
    (gradient,) = torch.autograd.grad(expected.sum(), moving)
    found = loss_and_slope(LOSSES[name], logits.detach(), slope, targets, lam, perm)
    torch.testing.assert_close(found[0], expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], gradient, rtol=1e-10, atol=1e-12)
    assert not any(part.requires_grad for part in found)


def test_a_losss_slope_is_the_difference_between_two_losses() -> None:
    at, slope = randn(6, CLASSES), randn(6, CLASSES, seed=1)
    y, lam, perm = torch.arange(6) % CLASSES, rand(6), pair((6,), generator=rng())
    step = 1e-6
    losses = [
        interpolate_loss(cross_entropy, at + slope * (lam + move).unsqueeze(-1), y, lam, perm)
        for move in (step, -step)
    ]
    _, gradient = loss_and_slope(cross_entropy, at + slope * lam.unsqueeze(-1), slope, y, lam, perm)
    torch.testing.assert_close(gradient, (losses[0] - losses[1]) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", [0.0, 1e3, 1e30])
def test_a_slope_of_large_logits_is_a_number(size: float) -> None:
    logits, slope = (randn(6, CLASSES) * size).float(), randn(6, CLASSES, seed=1).float()
    y, lam, perm = torch.arange(6) % CLASSES, rand(6).float(), pair((6,), generator=rng())
    losses, gradient = loss_and_slope(cross_entropy, logits, slope, y, lam, perm)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()


def test_a_slope_in_half_precision_is_computed_in_single() -> None:
    logits, slope = randn(6, CLASSES).bfloat16(), randn(6, CLASSES, seed=1).bfloat16()
    y, lam, perm = torch.arange(6) % CLASSES, rand(6).float(), pair((6,), generator=rng())
    found = loss_and_slope(cross_entropy, logits, slope, y, lam, perm)
    exact = loss_and_slope(cross_entropy, logits.double(), slope.double(), y, lam.double(), perm)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_a_loss_without_a_slope_is_an_error() -> None:
    y, lam, perm = torch.arange(6) % CLASSES, rand(6), pair((6,), generator=rng())
    with pytest.raises(AmpmixError, match="lam has no gradient"):
        loss_and_slope(lambda z, y: rand(6), randn(6, CLASSES), randn(6, CLASSES), y, lam, perm)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6,), (3, 6)], ids=str)
def test_one_softmax_gives_what_two_losses_give_to_the_bit(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    logits = randn(*shape, CLASSES).to(dtype)
    y = torch.randint(CLASSES, shape, generator=rng(2))
    lam, perm = rand(*shape).float(), pair(shape, generator=rng(5))
    found = interpolate_loss(cross_entropy, logits, y, lam, perm)
    own, partner = cross_entropy(logits, y), cross_entropy(logits, take_pairs(y, perm))
    assert torch.equal(found, torch.lerp(partner, own, lam.to(own.dtype)))


# --- what is mixed -------------------------------------------------------------------------------


def test_a_constant_hidden_state_gives_lam_the_same_gradient() -> None:
    """Mixed by PyTorch's own autograd where only lam is asked of, by ours where both are."""
    x, perm, to = randn(5, 3, 2), pair((5,), generator=rng()), randn(5, 3, 2, seed=1)
    found = []
    for hidden in (x, x.clone().requires_grad_()):
        lam = rand(5).requires_grad_()
        mixed = mix(hidden, lam, perm)
        found += [mixed.detach(), *torch.autograd.grad((mixed * to).sum(), lam)]
    torch.testing.assert_close(found[:2], found[2:], rtol=1e-13, atol=1e-13)


# --- the heads -----------------------------------------------------------------------------------


def heads() -> list[Any]:
    return [
        pytest.param(backbone, site, id=f"{backbone.name}-{site}")
        for backbone, site in [
            (TextCNN(5, (2, 3, 4), 3), "word"),
            (TextCNN(5, (2, 3, 4), 3), "sent"),
            (TextCNN(5, (1,), 3, dropout=0.0), "word"),
            (BiLSTMAttention(5, 4), "sent"),
            (Encoder(model=TINY), "sent"),
        ]
    ]


def cut_of(backbone: Any, site: str, lengths: list[int]) -> tuple[Any, Any, Tensor]:
    """A cut of a training model in double precision, and labels."""
    reader = WordReader("words", Vocabulary(tuple(f"w{i}" for i in range(WORDS - 2))))
    model = backbone.build(reader, CLASSES, rng()).double().train()
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    ids = torch.randint(1, WORDS, mask.shape, generator=rng()) * mask
    f, g = model.cut(ids, mask, site, generator=rng())
    return f, g, torch.arange(len(lengths)) % CLASSES


@pytest.mark.parametrize("lengths", [[1], [4, 1, 7], [1, 1, 2, 9, 3, 3]], ids=str)
@pytest.mark.parametrize(("backbone", "site"), heads(), indirect=["backbone"])
def test_a_heads_slope_is_autograds(backbone: Any, site: str, lengths: list[int]) -> None:
    f, g, _ = cut_of(backbone, site, lengths)
    assert head_of(f).knows_slope
    perm = pair((len(lengths),), generator=rng(1))
    lam = rand(len(lengths)).requires_grad_()
    hidden = tuple(part.detach() for part in g)
    found = f.logits_and_slope(hidden, lam.detach(), perm, partners_of(g, perm))
    logits = f(*(mix(part, lam, perm) for part in hidden))
    torch.testing.assert_close(found[0], logits, rtol=1e-12, atol=1e-13)
    for c in range(CLASSES):
        (slope,) = torch.autograd.grad(logits[:, c].sum(), lam, retain_graph=True)
        torch.testing.assert_close(found[1][:, c], slope, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", ["cross-entropy", "weighted"])
@pytest.mark.parametrize("policy", [AMP(eps=0.3), AMP(eps=0.3, min_op=False)], ids=str)
@pytest.mark.parametrize(("backbone", "site"), heads(), indirect=["backbone"])
def test_amp_is_the_same_with_a_head_that_knows_no_slope(
    backbone: Any, site: str, policy: AMP, loss: str
) -> None:
    f, g, y = cut_of(backbone, site, [4, 1, 7, 2, 2])
    results = []
    for head in (f, lambda *hidden: f(*hidden)):
        mixed = policy(head, g, y, loss=LOSSES[loss], generator=rng(1))
        leaf = g[0]
        (grad,) = torch.autograd.grad(mixed.loss.sum(), leaf, retain_graph=True)
        results.append([mixed.loss, mixed.lam_adv, mixed.gain, grad])
        assert not torch.equal(mixed.lam_adv, mixed.lam)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("backbone", "site"), heads(), indirect=["backbone"])
def test_amp_with_no_step_is_mixup_to_the_bit(backbone: Any, site: str) -> None:
    f, g, y = cut_of(backbone, site, [4, 1, 7, 2, 2])
    assert head_of(f).knows_slope
    losses = [policy(f, g, y, generator=rng(1)).loss for policy in (AMP(eps=0.0), Mixup())]
    assert torch.equal(*losses)


def test_a_head_that_draws_nothing_leaves_the_random_state_alone() -> None:
    f, g, y = cut_of(TextCNN(5, (2, 3), 3), "word", [4, 1, 7])
    before = torch.get_rng_state()
    AMP()(f, g, y, generator=rng(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_stacked_heads_have_the_slopes_of_each_alone() -> None:
    seeds, rows, width = 3, 5, 6
    weights = {
        "output.weight": randn(seeds, CLASSES, width),
        "output.bias": randn(seeds, CLASSES, seed=1),
    }
    ragged = Ragged(tuple(rng(s) for s in range(seeds)), (rows,) * seeds)
    stacked = StackedClassify.of(weights, rows, 0.5, ragged)
    features, lam = randn(seeds, rows, width, seed=2), rand(seeds, rows)
    perm = pair((seeds, rows), generator=rng(3))
    found = stacked.logits_and_slope((features,), lam, perm, partners_of((features,), perm))
    for s in range(seeds):
        layer = torch.nn.Linear(width, CLASSES).double()
        layer.load_state_dict({n.split(".")[1]: value[s] for n, value in weights.items()})
        assert stacked.scale is not None
        alone = Classify(layer, stacked.scale[s])
        own = (features[s],), lam[s], perm[s], partners_of((features[s],), perm[s])
        for one, other in zip(found, alone.logits_and_slope(*own), strict=True):
            torch.testing.assert_close(one[s], other, rtol=1e-12, atol=1e-12)
