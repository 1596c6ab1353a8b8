"""The arithmetic of mixing against loops over examples, finite differences and known laws."""

from __future__ import annotations

import random

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ampmix._torch.generators import Ragged
from ampmix.errors import AmpmixError
from ampmix.mixing import cross_entropy, interpolate_loss, mix, pair, sample_lam, take_pairs
from ampmix.policies.amp import max_op, min_op
from ampmix.policies.mixup import rand_op

SHAPES = st.sampled_from([(), (3,), (2, 3)])
SEEDS = st.integers(0, 2**32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64).to(dtype)


# --- sample_lam -------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_lam_follows_the_beta_distribution(alpha: float, seed: int) -> None:
    lam = sample_lam(alpha, (5000,), generator=rng(seed), dtype=torch.float64).numpy()
    # near 1 a double cannot tell values apart, near 0 it can: compare the halves on that side
    low, high = lam[lam < 0.5], 1 - lam[lam >= 0.5]
    half = scipy.stats.beta(alpha, alpha)
    assert scipy.stats.kstest(low, lambda x: 2 * half.cdf(x)).pvalue > 1e-3
    assert scipy.stats.kstest(high[high > 0], lambda x: 2 * half.cdf(x)).statistic < 0.05
    assert scipy.stats.binomtest(len(low), len(lam)).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1e-3, 1e-2, 1.0, 1e3, 1e6])
def test_lam_of_an_extreme_alpha_is_finite_and_in_range(alpha: float, dtype: torch.dtype) -> None:
    lam = sample_lam(alpha, (20000,), generator=rng(), dtype=dtype)
    assert lam.dtype == dtype
    assert bool(((lam >= 0) & (lam <= 1)).all()), "NaN would fail this"
    assert lam.mean().item() == pytest.approx(0.5, abs=0.02)
    # Var Beta(a, a) = 1 / (4 (2a + 1)): zeros and ones for a tiny alpha, 1/2 for a large one
    expected = 1 / (4 * (2 * alpha + 1))
    assert lam.double().var().item() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_draws_depend_on_the_generator_alone(alpha: float) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = sample_lam(alpha, (9,), generator=rng(3)), pair((9,), generator=rng(3))
    torch.rand(5)
    again = sample_lam(alpha, (9,), generator=rng(3)), pair((9,), generator=rng(3))
    torch.set_rng_state(before[0])
    other = sample_lam(alpha, (9,), generator=rng(4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_a_generator_for_each_leading_index_draws_as_if_alone(alpha: float) -> None:
    lam = sample_lam(alpha, (3, 7), generator=[rng(s) for s in range(3)])
    perm = pair((3, 7), generator=[rng(s) for s in range(3)])
    for s in range(3):
        assert torch.equal(lam[s], sample_lam(alpha, (7,), generator=rng(s)))
        assert torch.equal(perm[s], pair((7,), generator=rng(s)))


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_batches_of_unequal_sizes_draw_as_if_alone(alpha: float) -> None:
    sizes = (7, 1, 4)
    lam, perm = rand_op(alpha, (3, 7), torch.ones(()), unequal(sizes))
    for s, n in enumerate(sizes):
        lam_alone, perm_alone = rand_op(alpha, (n,), torch.ones(()), rng(s))
        assert torch.equal(lam[s, :n], lam_alone)
        assert torch.equal(perm[s, :n], perm_alone)
        assert lam[s, n:].tolist() == [1.0] * (7 - n)
        assert perm[s, n:].tolist() == [*range(n, 7)]
    assert lam[1, 0] == 1  # a batch of one trains unmixed
    elements = sample_lam(alpha, (3, 7, 2), generator=unequal(sizes))
    for s, n in enumerate(sizes):
        assert torch.equal(elements[s, :n], sample_lam(alpha, (n, 2), generator=rng(s)))


def unequal(sizes: tuple[int, ...]) -> Ragged:
    return Ragged(tuple(rng(s) for s in range(len(sizes))), sizes)


def test_unequal_batches_that_do_not_fit_the_leading_axis_are_refused() -> None:
    with pytest.raises(AmpmixError, match="3 generators"):
        pair((2, 7), generator=unequal((7, 1, 4)))


@pytest.mark.parametrize("shape", [(3,), (2, 7)])
def test_generators_that_do_not_fit_the_leading_axis_are_refused(shape: tuple[int, ...]) -> None:
    for draw in (lambda g: sample_lam(1.0, shape, generator=g), lambda g: pair(shape, generator=g)):
        with pytest.raises(AmpmixError, match="3 generators"):
            draw([rng(s) for s in range(3)])


# --- pair -------------------------------------------------------------------------------------


@given(st.integers(2, 40), SEEDS)
@settings(deadline=None)
def test_partners_are_a_permutation_without_fixed_points(n: int, seed: int) -> None:
    perm = pair((n,), generator=rng(seed))
    assert sorted(perm.tolist()) == list(range(n))
    assert all(i != j for i, j in enumerate(perm.tolist()))


@given(st.integers(1, 4), st.integers(2, 9), SEEDS)
@settings(deadline=None)
def test_partners_stay_within_their_leading_index(s: int, n: int, seed: int) -> None:
    perm = pair((s, n), generator=rng(seed))
    assert perm.shape == (s, n)
    for row in perm.tolist():
        assert sorted(row) == list(range(n))
        assert all(i != j for i, j in enumerate(row))


def test_a_single_example_has_only_itself() -> None:
    assert pair((1,), generator=rng()).tolist() == [0]


def test_every_partner_is_equally_likely() -> None:
    n, draws = 5, 4000
    perm = pair((draws, n), generator=rng())
    counts = torch.stack([(perm == j).sum(0) for j in range(n)], dim=1)
    for i, row in enumerate(counts.tolist()):
        others = [count for j, count in enumerate(row) if j != i]
        assert scipy.stats.chisquare(others).pvalue > 1e-3


# --- take_pairs and mix -----------------------------------------------------------------------


@given(SHAPES, st.integers(1, 6), SEEDS)
@settings(deadline=None)
def test_take_pairs_is_indexing(rest: tuple[int, ...], n: int, seed: int) -> None:
    x = hidden(seed, 2, n, *rest)
    perm = pair((2, n), generator=rng(seed))
    expected = torch.stack([x[s][perm[s]] for s in range(2)])
    assert torch.equal(take_pairs(x, perm), expected)
    assert torch.equal(take_pairs(x[0], perm[0]), expected[0])


@given(SHAPES, st.integers(1, 7), SEEDS)
@settings(deadline=None)
def test_mix_equals_a_loop_over_examples(rest: tuple[int, ...], n: int, seed: int) -> None:
    x = hidden(seed, n, *rest)
    lam, perm = sample_lam(1.0, (n,), generator=rng(seed)).double(), pair((n,), generator=rng(seed))
    mixed = mix(x, lam, perm)
    for i in range(n):
        expected = lam[i].item() * x[i] + (1 - lam[i].item()) * x[int(perm[i])]
        torch.testing.assert_close(mixed[i], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@given(st.integers(1, 7), SEEDS)
@settings(max_examples=25, deadline=None)
def test_lam_one_is_the_identity_and_lam_zero_the_partner(
    dtype: torch.dtype, n: int, seed: int
) -> None:
    x = hidden(seed, n, 3, dtype=dtype) * 100
    perm = pair((n,), generator=rng(seed))
    assert torch.equal(mix(x, torch.ones(n), perm), x)
    assert torch.equal(mix(x, torch.zeros(n), perm), x[perm])


@given(st.integers(1, 7), SEEDS)
@settings(deadline=None)
def test_a_mask_becomes_the_union_whatever_lam(n: int, seed: int) -> None:
    mask = hidden(seed, n, 4) > 0
    perm = pair((n,), generator=rng(seed))
    for lam in (torch.zeros(n), torch.ones(n)):
        united = mix(mask, lam, perm)
        for i in range(n):
            assert united[i].tolist() == [
                a or b for a, b in zip(mask[i].tolist(), mask[int(perm[i])].tolist(), strict=True)
            ]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_integers_cannot_be_mixed(dtype: torch.dtype) -> None:
    with pytest.raises(AmpmixError, match="embed ids first"):
        mix(torch.ones(2, 3, dtype=dtype), torch.ones(2), torch.tensor([1, 0]))


@pytest.mark.parametrize(
    ("shape", "lead"), [((4,), 1), ((4, 3), 1), ((3, 2, 2), 1), ((2, 4), 2), ((2, 4, 3), 2)]
)
def test_gradients_of_mix_pass_gradcheck(shape: tuple[int, ...], lead: int) -> None:
    x = hidden(0, *shape).requires_grad_()
    lam = torch.rand(shape[:lead], generator=rng(1), dtype=torch.float64).requires_grad_()
    perm = pair(shape[:lead], generator=rng(2))
    assert torch.autograd.gradcheck(lambda x, lam: mix(x, lam, perm), (x, lam))
    assert torch.autograd.gradcheck(lambda x: mix(x, lam.detach(), perm), (x,))
    assert torch.autograd.gradcheck(lambda lam: mix(x.detach(), lam, perm), (lam,))


@pytest.mark.parametrize(("shape", "lead"), [((3, 2, 2), 1), ((2, 4, 3), 2)])
def test_a_coefficient_for_each_element_equals_the_loop(shape: tuple[int, ...], lead: int) -> None:
    x, lam = hidden(0, *shape).requires_grad_(), torch.rand(shape, generator=rng(1)).double()
    lam.requires_grad_()
    perm = pair(shape[:lead], generator=rng(2))
    mixed = mix(x, lam, perm)
    for index in np.ndindex(*shape):
        other = (*index[: lead - 1], int(perm[index[:lead]]), *index[lead:])
        expected = lam[index] * x[index] + (1 - lam[index]) * x[other]
        torch.testing.assert_close(mixed[index], expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, lam: mix(x, lam, perm), (x, lam))


def test_a_second_derivative_is_right_or_refused() -> None:
    """mix says "differentiable once": a wrong second derivative in silence would be worse."""
    x, lam = hidden(0, 4, 3).requires_grad_(), torch.rand(4, dtype=torch.float64)
    lam.requires_grad_()
    perm = torch.tensor([1, 2, 3, 0])
    (first,) = torch.autograd.grad((mix(x, lam, perm) ** 2).sum(), lam, create_graph=True)
    try:
        (second,) = torch.autograd.grad(first.sum(), x)
    except RuntimeError:
        return
    composite = lam.unsqueeze(-1) * x + (1 - lam.unsqueeze(-1)) * x[perm]
    (first,) = torch.autograd.grad((composite**2).sum(), lam, create_graph=True)
    (expected,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_mixed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    x = hidden(0, 50, 16, dtype=dtype)
    lam = torch.rand(50, generator=rng(1))
    perm = pair((50,), generator=rng(2))
    weight = lam.unsqueeze(-1)
    expected = (weight * x.float() + (1 - weight) * x[perm].float()).to(dtype)
    mixed = mix(x, lam, perm)
    assert mixed.dtype == dtype
    assert (mixed == expected).float().mean() > 0.99, "all but ties of rounding"
    moved = mix(x, lam + 0.002, perm)
    assert not torch.equal(moved, mixed), "0.002 must not be rounded away everywhere"


# --- losses -----------------------------------------------------------------------------------


def test_cross_entropy_is_minus_log_of_the_probability() -> None:
    logits, y = hidden(0, 2, 5, 3), torch.randint(3, (2, 5), generator=rng(1))
    loss = cross_entropy(logits, y)
    soft = cross_entropy(logits, F.one_hot(y, 3).double())
    for s in range(2):
        for i in range(5):
            odds = np.exp(logits[s, i].numpy())
            expected = -np.log(odds[y[s, i]] / odds.sum())
            assert loss[s, i].item() == pytest.approx(expected, abs=1e-12)
            assert soft[s, i].item() == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 6), SEEDS)
@settings(deadline=None)
def test_interpolating_losses_is_interpolating_one_hot_labels(n: int, seed: int) -> None:
    logits, y = hidden(seed, n, 4), torch.randint(4, (n,), generator=rng(seed))
    lam, perm = torch.rand(n, generator=rng(seed)).double(), pair((n,), generator=rng(seed))
    labels = F.one_hot(y, 4).double()
    soft = lam.unsqueeze(-1) * labels + (1 - lam.unsqueeze(-1)) * labels[perm]
    torch.testing.assert_close(
        interpolate_loss(cross_entropy, logits, y, lam, perm), cross_entropy(logits, soft)
    )


def test_the_labels_lam_gets_no_gradient() -> None:
    logits = hidden(0, 3, 4).requires_grad_()
    lam = torch.rand(3, dtype=torch.float64).requires_grad_()
    y, perm = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    loss = interpolate_loss(cross_entropy, logits, y, lam, perm).sum()
    _, grad = torch.autograd.grad(loss, (logits, lam), allow_unused=True)
    assert grad is None


# --- MaxOp and MinOp --------------------------------------------------------------------------


@given(
    st.floats(0, 1),
    st.floats(-1e3, 1e3),
    st.floats(0, 2),
    st.sampled_from(["gradient", "sign"]),
)
@settings(deadline=None)
def test_max_op_is_its_formula(lam: float, grad: float, eps: float, direction: str) -> None:
    as_tensor = torch.tensor([lam, grad], dtype=torch.float64)
    moved = max_op(as_tensor[:1], as_tensor[1:], eps, direction).item()
    step = np.sign(grad) if direction == "sign" else min(max(grad, -1.0), 1.0)
    assert moved == pytest.approx(min(max(lam + eps * step, 0.0), 1.0), abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=8))
@settings(deadline=None)
def test_min_op_keeps_the_larger_loss_and_prefers_the_unperturbed(
    losses: list[tuple[float, float]],
) -> None:
    loss, loss_adv = torch.tensor(losses, dtype=torch.float64).unbind(1)
    final, mask = min_op(loss, loss_adv)
    assert final.tolist() == [max(pair) for pair in losses]
    assert mask.tolist() == [adv > plain for plain, adv in losses]


def test_min_op_sends_the_gradient_to_the_loss_it_kept() -> None:
    loss = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    loss_adv = torch.tensor([2.0, 1.0, 3.0], requires_grad=True)
    final, _ = min_op(loss, loss_adv)
    final.sum().backward()
    assert loss.grad is not None and loss.grad.tolist() == [0.0, 1.0, 1.0]
    assert loss_adv.grad is not None and loss_adv.grad.tolist() == [1.0, 0.0, 0.0]
