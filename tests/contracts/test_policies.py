"""Policies against a naive loop over examples, and the contracts that every policy keeps."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ampmix._support.components import find, spec
from ampmix.errors import AmpmixError
from ampmix.mixing import cross_entropy, interpolate_loss
from ampmix.policies.amp import AMP
from ampmix.policies.base import Learner, Mixed, Policy
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.policies.nonlinear import NonlinearMixup
from every_policy import every_policy_and_choice

EVERY = [cls() for cls in find("ampmix.policies").values()]
ON_VECTORS = [policy for policy in EVERY if not policy.needs_words]
ANY_LOSS = [policy for policy in ON_VECTORS if not policy.own_loss]
AMPS = [
    AMP(),
    AMP(eps=0.1),
    AMP(eps=5.0, alpha=0.3),
    AMP(eps=0.1, min_op=False),
    AMP(eps=0.1, direction="sign"),
    AMP(eps=0.05, min_op=False, direction="sign"),
    AMP(eps=0.1, shared_dropout=False, site="sent"),
    AMP(eps=0.0),
]
MIXING = [Mixup(), Mixup(alpha=0.2, site="sent"), *AMPS]
# with states of one vector a text and without parameters of their own
OTHERS = [
    policy
    for policy in every_policy_and_choice()
    if not (policy.needs_words or policy.learns or policy in [NoMixup(), *MIXING])
]

every = pytest.mark.parametrize("policy", ON_VECTORS, ids=spec)
any_loss = pytest.mark.parametrize("policy", ANY_LOSS, ids=spec)
variants = pytest.mark.parametrize("policy", [NoMixup(), *MIXING, *OTHERS], ids=spec)
in_pairs = pytest.mark.parametrize(
    "policy", [NoMixup(), *MIXING, *(p for p in OTHERS if p.pairs)], ids=spec
)
any_targets = pytest.mark.parametrize(
    "policy",
    [NoMixup(), *MIXING, *(p for p in OTHERS if not (p.needs_classes or p.needs_indices))],
    ids=spec,
)
none_and_mixing = pytest.mark.parametrize("policy", [NoMixup(), *MIXING], ids=spec)
mixing = pytest.mark.parametrize("policy", MIXING, ids=spec)
amps = pytest.mark.parametrize("policy", AMPS, ids=spec)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64).to(dtype)


def labels(seed: int, *shape: int, classes: int = 3) -> Tensor:
    return torch.randint(classes, shape, generator=rng(seed))


def head(inputs: int, outputs: int = 3, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A smooth, strongly curved f, so that lam matters and finite differences are exact."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        f = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs)).to(dtype)
    with torch.no_grad():
        for parameter in f.parameters():
            parameter.mul_(3)
    return f


def ready(policy: Policy, *shape: int) -> Learner:
    """The policy as a run has it, for hidden states of that shape ([4] if none) and 3 classes."""
    return policy.prepare(shape or (4,), 3, rng(11))


# --- an oracle: one example after the other, in float64 ----------------------------------------


def surprise(logits: Tensor, label: Tensor) -> Tensor:
    """Minus the log-probability of a label, of one example."""
    return logits.exp().sum().log() - logits[label]


def naive(
    policy: Policy,
    f: Callable[..., Tensor],
    g: Tensor,
    y: Tensor,
    lam: Tensor,
    perm: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] = surprise,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss with its graph, lam_adv, mask and lam's gradient, for every example in turn."""
    losses, moved, kept, slopes = [], [], [], []
    for i in range(len(lam)):
        j, own = int(perm[i]), lam[i].item()

        def at(value: Any, i: int = i, j: int = j, own: float = own) -> Tensor:
            logits = f((value * g[i] + (1 - value) * g[j]).unsqueeze(0))[0]
            return own * loss(logits, y[i]) + (1 - own) * loss(logits, y[j])

        plain = at(own)
        if not isinstance(policy, AMP):
            losses.append(plain)
            continue
        h = 1e-5
        with torch.no_grad():  # fourth-order central differences
            near, far = at(own + h) - at(own - h), at(own + 2 * h) - at(own - 2 * h)
        slope = ((8 * near - far) / (12 * h)).item()
        step = float(np.sign(slope)) if policy.direction == "sign" else min(max(slope, -1), 1)
        adversarial = min(max(own + policy.eps * step, 0.0), 1.0)
        perturbed = at(adversarial)
        keep = (not policy.min_op) or perturbed.item() > plain.item()
        losses.append(perturbed if keep else plain)
        moved.append(adversarial)
        kept.append(keep)
        slopes.append(slope)
    return torch.stack(losses), torch.tensor(moved), torch.tensor(kept), torch.tensor(slopes)


def gradients(loss: Tensor, f: nn.Module, g: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss.mean(), [g, *f.parameters()]))


@mixing
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(9, 4), (2, 3, 2)])
def test_loss_and_every_gradient_equal_the_loop(
    policy: Policy, seed: int, shape: tuple[int, ...]
) -> None:
    inner = head(4 if len(shape) == 2 else 6)
    f = nn.Sequential(nn.Flatten(), inner)
    g = hidden(seed, *shape).requires_grad_()
    y = labels(seed, shape[0])
    mixed = policy(f, g, y, generator=rng(seed))
    loss, moved, kept, _ = naive(policy, f, g, y, mixed.lam, mixed.perm)

    torch.testing.assert_close(mixed.loss, loss, rtol=1e-8, atol=1e-8)
    for mine, theirs in zip(gradients(mixed.loss, f, g), gradients(loss, f, g), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)
    if isinstance(policy, AMP):
        torch.testing.assert_close(mixed.lam_adv, moved.to(mixed.lam), rtol=1e-7, atol=1e-9)
        if policy.eps:
            assert mixed.mask.tolist() == kept.tolist()
    else:
        assert torch.equal(mixed.lam_adv, mixed.lam)
        assert not mixed.mask.any()


def test_the_cases_above_hold_both_outcomes_of_min_op_and_both_clips() -> None:
    """Otherwise the comparison with the loop would prove less than it seems to."""
    seen: set[bool] = set()
    slopes, edges = [], []
    for seed in range(3):
        f, g, y = head(4), hidden(seed, 9, 4), labels(seed, 9)
        mixed = AMP(eps=5.0, alpha=0.3)(f, g, y, generator=rng(seed))
        seen |= set(mixed.mask.tolist())
        slopes.append(naive(AMP(), f, g, y, mixed.lam, mixed.perm)[3])
        edges.append(mixed.lam_adv)
    slope, edge = torch.cat(slopes), torch.cat(edges)
    assert seen == {True, False}
    assert (slope.abs() > 1).any() and (slope.abs() < 1).any()
    assert (edge == 0).any() and (edge == 1).any()


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_of_lam_equals_finite_differences_whatever_the_batch_size(seed: int) -> None:
    """eps so small that lam_adv - lam shows the clipped gradient itself."""
    f, g, y = head(4), hidden(seed, 12, 4) * 0.2, labels(seed, 12)
    policy = AMP(eps=1e-3, alpha=20.0)
    mixed = policy(f, g, y, generator=rng(seed))
    slopes = naive(policy, f, g, y, mixed.lam, mixed.perm)[3].double()
    shown = (mixed.lam_adv - mixed.lam) / policy.eps
    torch.testing.assert_close(shown, slopes.clamp(-1, 1), rtol=1e-6, atol=1e-9)
    assert (slopes.abs() < 1).any()


def test_moving_lam_up_its_gradient_raises_the_loss() -> None:
    f, g, y = head(4), hidden(0, 200, 4) * 0.3, labels(0, 200)
    mixed = AMP(eps=1e-3, alpha=5.0, min_op=False)(f, g, y, generator=rng())
    plain = Mixup(alpha=5.0)(f, g, y, generator=rng()).loss
    assert (mixed.loss > plain).double().mean() > 0.98
    final = AMP(eps=1e-3, alpha=5.0)(f, g, y, generator=rng()).loss
    assert (final >= plain).all()


@given(
    st.integers(1, 8),
    st.floats(0, 3),
    st.sampled_from(["gradient", "sign"]),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_min_op_never_falls_below_either_loss(
    n: int, eps: float, direction: str, seed: int
) -> None:
    f, g, y = head(4), hidden(seed, n, 4), labels(seed, n)
    final = AMP(eps=eps, direction=direction)(f, g, y, generator=rng(seed)).loss
    plain = Mixup()(f, g, y, generator=rng(seed)).loss
    moved = AMP(eps=eps, direction=direction, min_op=False)(f, g, y, generator=rng(seed)).loss
    assert (final >= plain - 1e-12).all()
    assert (final >= moved - 1e-12).all()
    torch.testing.assert_close(final, torch.maximum(plain, moved), rtol=0, atol=1e-12)


@given(st.integers(2, 12), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_inputs_and_labels_are_mixed_with_the_same_partners_and_lam(n: int, seed: int) -> None:
    """With g = one-hot(y) the mixed input is the mixed label, so their product is its square."""
    y = labels(seed, n, classes=5)
    inputs = []

    def f(z: Tensor) -> Tensor:
        inputs.append(z)
        return z

    mixed = Mixup()(
        f,
        F.one_hot(y, 5).double(),
        y,
        loss=lambda logits, y: logits.gather(-1, y.unsqueeze(-1)).squeeze(-1),
        generator=rng(seed),
    )
    torch.testing.assert_close(mixed.loss, inputs[0].square().sum(-1), rtol=0, atol=1e-12)


# --- contracts of every policy -----------------------------------------------------------------


def same_result(one: Mixed, other: Mixed) -> bool:
    pairs = [(getattr(one, part.name), getattr(other, part.name)) for part in fields(Mixed)]
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@every
@pytest.mark.parametrize("n", [1, 2, 7])
def test_what_is_returned_has_the_batchs_shape(policy: Policy, n: int) -> None:
    mixed = ready(policy)(head(4), hidden(0, n, 4), labels(0, n), generator=rng())
    for part in fields(Mixed):
        value = getattr(mixed, part.name)
        absent = part.name == "unlabelled" or (part.name == "gain" and not mixed.moved)
        assert value is None if absent else value.shape == (n,)
    if not mixed.moved:
        assert torch.equal(mixed.lam_adv, mixed.lam) and not mixed.mask.any()
    assert mixed.loss.requires_grad
    assert not mixed.lam.requires_grad and not mixed.lam_adv.requires_grad
    assert mixed.mask.dtype == torch.bool and mixed.perm.dtype == torch.int64
    assert sorted(mixed.perm.tolist()) == list(range(n))
    assert ((mixed.lam >= 0) & (mixed.lam <= 1)).all()
    assert ((mixed.lam_adv >= 0) & (mixed.lam_adv <= 1)).all()


@variants
def test_the_same_generator_gives_the_same_result_to_the_bit(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 8, 4), labels(0, 8)
    assert same_result(policy(f, g, y, generator=rng(1)), policy(f, g, y, generator=rng(1)))


@variants
def test_without_a_generator_the_global_one_is_used(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 8, 4), labels(0, 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        one = policy(f, g, y)
    other = policy(f, g, y, generator=rng(5))
    assert same_result(one, other)


def test_all_mixing_policies_draw_the_same_lam_and_partners() -> None:
    f, g, y = head(4), hidden(0, 8, 4), labels(0, 8)
    plain = Mixup()(f, g, y, generator=rng(3))
    for policy in (AMP(), AMP(eps=0.3), AMP(min_op=False), AMP(shared_dropout=False)):
        mixed = policy(f, g, y, generator=rng(3))
        assert torch.equal(mixed.lam, plain.lam)
        assert torch.equal(mixed.perm, plain.perm)


@in_pairs
def test_a_batch_of_one_trains_unmixed(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 1, 4).requires_grad_(), labels(0, 1)
    plain, mixed = NoMixup()(f, g, y), policy(f, g, y, generator=rng())
    assert torch.equal(mixed.loss, plain.loss)
    assert mixed.lam.tolist() == mixed.lam_adv.tolist() == [1.0]
    for mine, theirs in zip(gradients(mixed.loss, f, g), gradients(plain.loss, f, g), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-15)


@variants
def test_the_call_leaves_all_gradients_alone(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 8, 4).requires_grad_(), labels(0, 8)
    leaves = [g, *f.parameters()]
    policy(f, g, y, generator=rng())
    assert all(leaf.grad is None for leaf in leaves)

    marks = [torch.full_like(leaf, 7.0) for leaf in leaves]
    for leaf, mark in zip(leaves, marks, strict=True):
        leaf.grad = mark.clone()
    mixed = policy(f, g, y, generator=rng())
    for leaf, mark in zip(leaves, marks, strict=True):
        assert torch.equal(leaf.grad, mark)
    expected = torch.autograd.grad(mixed.loss.mean(), leaves, retain_graph=True)
    mixed.loss.mean().backward()
    for leaf, own in zip(leaves, expected, strict=True):
        torch.testing.assert_close(leaf.grad, 7.0 + own)


@variants
def test_the_call_changes_neither_inputs_nor_parameters(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 8, 4), labels(0, 8)
    before = copy.deepcopy((f.state_dict(), g, y))
    policy(f, g, y, generator=rng()).loss.mean().backward()
    assert torch.equal(g, before[1]) and torch.equal(y, before[2])
    assert all(torch.equal(f.state_dict()[name], value) for name, value in before[0].items())


@variants
def test_with_a_generator_no_global_random_state_moves(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 8, 4), labels(0, 8)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    policy(f, g, y, generator=rng()).loss.mean().backward()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


# --- dropout -----------------------------------------------------------------------------------


class DropoutHead(nn.Module):
    """An f with dropout of its own, from the global generator; it keeps every mask it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = head(4)
        self.dropout = nn.Dropout(0.5)
        self.masks: list[Tensor] = []

    def forward(self, z: Tensor) -> Tensor:
        self.masks.append(self.dropout(torch.ones(len(z), 4, dtype=z.dtype)))
        return self.inner(z * self.masks[-1])


@pytest.mark.parametrize("min_op", [True, False])
def test_all_passes_of_a_step_share_their_dropout_masks(min_op: bool) -> None:
    f = DropoutHead()
    AMP(eps=0.1, min_op=min_op)(f, hidden(0, 20, 4), labels(0, 20), generator=rng())
    assert len(f.masks) >= 2
    assert all(torch.equal(f.masks[0], mask) for mask in f.masks[1:])


def test_dropout_masks_differ_between_passes_if_asked_for_and_between_steps_always() -> None:
    f, g, y = DropoutHead(), hidden(0, 20, 4), labels(0, 20)
    AMP(eps=0.1, shared_dropout=False)(f, g, y, generator=rng())
    assert not torch.equal(f.masks[0], f.masks[1])
    f.masks.clear()
    for _ in range(2):
        AMP(eps=0.1)(f, g, y, generator=rng())
    assert not torch.equal(f.masks[0], f.masks[-1])


@any_loss
@pytest.mark.parametrize("own_generator", [True, False])
def test_dropout_advances_the_global_state_as_its_draws_do(
    policy: Policy, own_generator: bool
) -> None:
    f, g, y = DropoutHead(), hidden(0, 20, 4), labels(0, 20)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if not own_generator:
            ready(policy)(lambda z: z[..., :3], g, y)  # draws from the global generator
        for _ in range(policy.dropout_draws):
            f(g)
        expected = torch.get_rng_state()
        torch.manual_seed(3)
        ready(policy)(f, g, y, generator=rng() if own_generator else None).loss.mean().backward()
        assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("failing", [1, 2])
def test_an_f_that_fails_leaves_the_random_state_where_the_passes_before_it_did(
    failing: int,
) -> None:
    calls: list[int] = []

    def f(z: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == failing:
            raise ValueError("out of memory, say")
        torch.rand(1)
        return z

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if failing == 2:
            torch.rand(1)
        expected = torch.get_rng_state()
        torch.manual_seed(3)
        with pytest.raises(ValueError, match="out of memory"):
            AMP()(f, hidden(0, 4, 3), labels(0, 4), generator=rng())
        assert torch.equal(torch.get_rng_state(), expected)


def test_equal_dropout_makes_the_perturbed_loss_differ_by_the_perturbation_alone() -> None:
    """Without sharing, the difference would be that of two dropout draws: far larger."""
    g, y = hidden(0, 50, 4), labels(0, 50)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        plain = Mixup()(DropoutHead(), g, y, generator=rng()).loss
        torch.manual_seed(3)
        moved = AMP(eps=1e-9, min_op=False)(DropoutHead(), g, y, generator=rng()).loss
    torch.testing.assert_close(plain, moved, rtol=0, atol=1e-6)


# --- eps = 0 is Mixup --------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("min_op", [True, False])
@pytest.mark.parametrize("direction", ["gradient", "sign"])
@pytest.mark.parametrize("eps", [0.0, 1e-12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_amp_without_a_step_is_mixup(
    dtype: torch.dtype, eps: float, direction: str, min_op: bool, dropout: bool
) -> None:
    """To the bit for eps = 0, and in float32 also for a step that rounding swallows."""
    g, y = hidden(0, 33, 4, dtype=dtype).requires_grad_(), labels(0, 33)
    results = []
    for policy in (Mixup(), AMP(eps=eps, direction=direction, min_op=min_op)):
        f = (DropoutHead() if dropout else head(4)).to(dtype)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            loss = policy(f, g, y, generator=rng()).loss
        results.append([loss, *gradients(loss, f, g)])
    exact = eps == 0.0 or dtype == torch.float32
    for mixup, amp in zip(*results, strict=True):
        if exact:
            assert torch.equal(mixup, amp)
        else:
            torch.testing.assert_close(mixup, amp, rtol=0, atol=1e-9)


# --- precisions --------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains_with_an_unrounded_lam(policy: Policy, dtype: torch.dtype) -> None:
    f, y = head(4, dtype=dtype), labels(0, 32)
    g = hidden(0, 32, 4, dtype=dtype).requires_grad_()
    policy_in_use = ready(policy)
    mixed = policy_in_use(f, g, y, generator=rng())
    mixed.loss.mean().backward()
    assert mixed.loss.isfinite().all()
    assert all(leaf.grad.isfinite().all() for leaf in [g, *f.parameters()])
    assert g.grad.dtype == dtype
    if isinstance(policy, AMP):
        step = (mixed.lam_adv - mixed.lam).abs()
        assert mixed.lam.dtype == torch.float32
        assert (step > 0).double().mean() > 0.8, "eps must not be rounded away"
        assert (step <= policy.eps * 1.001).all()
    exact = policy_in_use(copy.deepcopy(f).float(), g.detach().float(), y, generator=rng())
    inside = mixed.lam[(mixed.lam > 0) & (mixed.lam < 1)]
    assert not len(inside) or (inside.to(dtype).to(inside.dtype) != inside).any()
    torch.testing.assert_close(mixed.lam, exact.lam, rtol=0, atol=2e-3)  # some go by f's outputs
    torch.testing.assert_close(mixed.loss.float(), exact.loss, rtol=0.05, atol=0.1)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_trains_with_an_unrounded_lam(policy: Policy, dtype: torch.dtype) -> None:
    f, y = head(4, dtype=torch.float32), labels(0, 32)
    g = hidden(0, 32, 4, dtype=dtype).requires_grad_()
    policy_in_use = ready(policy)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = policy_in_use(f, g, y, generator=rng())
        loss = mixed.loss.mean()
    loss.backward()
    assert mixed.loss.isfinite().all()
    assert all(leaf.grad.isfinite().all() for leaf in [g, *f.parameters()])
    if isinstance(policy, AMP):
        assert ((mixed.lam_adv - mixed.lam).abs() > 0).double().mean() > 0.8
    exact = policy_in_use(f, g.detach().float(), y, generator=rng())
    torch.testing.assert_close(mixed.loss.float(), exact.loss.float(), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_default_loss_of_half_precision_logits_is_a_float32(dtype: torch.dtype) -> None:
    """eps = 0.002 changes losses by 0.1 %, bfloat16 rounds to 0.4 %: MinOp would be blind."""
    f, g, y = head(4, dtype=dtype), hidden(0, 32, 4, dtype=dtype), labels(0, 32)
    assert AMP()(f, g, y, generator=rng()).loss.dtype == torch.float32


# --- leading axes and other losses -------------------------------------------------------------


def label_smoothing(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy smoothed by 0.1, written out."""
    log_p = logits - logits.exp().sum(-1, keepdim=True).log()
    own = log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    return -(0.9 * own + 0.1 * log_p.mean(-1))


WEIGHTS = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
LOSSES: dict[str, tuple[Any, Any, Callable[[int], Tensor]]] = {
    "class weights": (
        lambda logits, y: F.cross_entropy(logits, y, weight=WEIGHTS, reduction="none"),
        lambda logits, y: WEIGHTS[y] * surprise(logits, y),
        lambda n: labels(1, n),
    ),
    "label smoothing": (
        lambda logits, y: F.cross_entropy(logits, y, label_smoothing=0.1, reduction="none"),
        label_smoothing,
        lambda n: labels(1, n),
    ),
    "several labels": (
        lambda logits, y: F.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(-1),
        lambda logits, y: ((1 + logits.exp()).log() - y * logits).mean(),
        lambda n: (hidden(1, n, 3) > 0).double(),
    ),
    "soft labels": (
        lambda logits, y: -(y * logits.log_softmax(-1)).sum(-1),
        lambda logits, y: sum(y[c] * surprise(logits, torch.tensor(c)) for c in range(3)),
        lambda n: hidden(1, n, 3).softmax(-1),
    ),
    "squared error": (
        lambda logits, y: (logits[..., 0] - y) ** 2,
        lambda logits, y: (logits[0] - y) ** 2,
        lambda n: hidden(1, n),
    ),
}


@mixing
@pytest.mark.parametrize("name", LOSSES)
def test_any_loss_per_example_equals_the_loop(policy: Policy, name: str) -> None:
    loss, one, targets = LOSSES[name]
    f, g, y = head(4), hidden(0, 7, 4).requires_grad_(), targets(7)
    mixed = policy(f, g, y, loss=loss, generator=rng(2))
    expected, *_ = naive(policy, f, g, y, mixed.lam, mixed.perm, one)
    torch.testing.assert_close(mixed.loss, expected, rtol=1e-8, atol=1e-8)
    for mine, theirs in zip(gradients(mixed.loss, f, g), gradients(expected, f, g), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)


@variants
def test_a_leading_axis_equals_separate_calls(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 3, 7, 4).requires_grad_(), labels(0, 3, 7)
    together = policy(f, g, y, generator=[rng(s) for s in range(3)])
    assert together.loss.shape == (3, 7)
    (grad,) = torch.autograd.grad(together.loss.sum(), g)
    for s in range(3):
        own = g[s].detach().requires_grad_()
        alone = policy(f, own, y[s], generator=rng(s))
        assert torch.equal(together.lam[s], alone.lam)
        assert torch.equal(together.perm[s], alone.perm)
        assert torch.equal(together.mask[s], alone.mask)
        torch.testing.assert_close(together.lam_adv[s], alone.lam_adv, rtol=0, atol=1e-12)
        torch.testing.assert_close(together.loss[s], alone.loss, rtol=0, atol=1e-12)
        (grad_alone,) = torch.autograd.grad(alone.loss.sum(), own)
        torch.testing.assert_close(grad[s], grad_alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_each_of_several_batches_goes_by_its_own_rows(
    on_a_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows within rounding follow lam_adv unless their own batch has one that is truly lower.

    In the first batch a step overshoots: m -> -m^2 has its top between the two examples. In the
    second rounding swallows what lam does to the loss, but not to its gradient.
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        m = logits.squeeze(-1)
        return torch.where(y == 0, -(m**2), 1e20 + m)

    def f(x: Tensor) -> Tensor:
        return x

    monkeypatch.setattr(
        "ampmix.policies.amp.decides_on_device", lambda lam: on_a_gpu and lam.dim() > 1
    )
    g = torch.tensor([[[1.0], [-1.0], [0.3]], [[2.0], [1.7], [0.1]]], dtype=torch.float64)
    y = torch.tensor([[0, 0, 0], [1, 1, 1]])
    x, policy = g.clone().requires_grad_(), AMP(eps=1.0)
    together = policy(f, x, y, loss=loss, generator=[rng(0), rng(1)])
    (grad,) = torch.autograd.grad(together.loss.sum(), x)
    for s, lower in enumerate((True, False)):
        own = g[s].clone().requires_grad_()
        alone = policy(f, own, y[s], loss=loss, generator=rng(s))
        assert bool((alone.gain < -1e-6).any()) is lower  # type: ignore[operator]
        assert not torch.equal(alone.lam, alone.lam_adv)
        (grad_alone,) = torch.autograd.grad(alone.loss.sum(), own)
        torch.testing.assert_close(grad[s], grad_alone, rtol=0, atol=1e-12)


@in_pairs
def test_batches_of_one_with_a_leading_axis_train_unmixed(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 3, 1, 4), labels(0, 3, 1)
    torch.testing.assert_close(policy(f, g, y, generator=rng()).loss, NoMixup()(f, g, y).loss)


@any_targets
def test_batch_dims_says_how_many_axes_of_a_float_target_count_examples(policy: Policy) -> None:
    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(-1)

    f, g, y = head(4), hidden(0, 2, 5, 4), (hidden(1, 2, 5, 3) > 0).double()
    generators = [rng(0), rng(1)]
    together = policy(f, g, y, loss=loss, generator=generators, batch_dims=2)
    assert together.loss.shape == (2, 5)
    for s in range(2):
        alone = policy(f, g[s], y[s], loss=loss, generator=rng(s))
        assert torch.equal(together.perm[s], alone.perm)
        torch.testing.assert_close(together.loss[s], alone.loss, rtol=0, atol=1e-12)


# --- tuples, masks, graphs ---------------------------------------------------------------------


@none_and_mixing
def test_a_tuple_is_mixed_part_by_part_and_its_masks_are_united(policy: Policy) -> None:
    states, other = hidden(0, 6, 5, 4), hidden(1, 6, 4)
    mask = torch.arange(5) < torch.tensor([1, 2, 3, 4, 5, 2]).unsqueeze(-1)
    y, calls = labels(0, 6), []
    inner = head(4)

    def f(states: Tensor, mask: Tensor, other: Tensor) -> Tensor:
        calls.append((states, mask, other))
        return inner((states * mask.unsqueeze(-1)).sum(1) + other)

    mixed = policy(f, (states, mask, other), y, generator=rng())
    assert len(calls) in (1, 2, 3)  # AMP looks at lam once more where MinOp keeps it
    for call, (seen, united, also) in enumerate(calls):
        lam = mixed.lam_adv if call == 1 else mixed.lam
        for i in range(6):
            j, own = int(mixed.perm[i]), lam[i].item()
            torch.testing.assert_close(seen[i], own * states[i] + (1 - own) * states[j])
            torch.testing.assert_close(also[i], own * other[i] + (1 - own) * other[j])
            assert united[i].tolist() == (mask[i] | mask[j]).tolist()


@pytest.mark.parametrize(("slope", "kept", "backward"), [(1.0, False, 1), (-1.0, True, 2)])
def test_amp_goes_back_through_the_pass_at_lam_only_where_min_op_keeps_a_row(
    slope: float, kept: bool, backward: int
) -> None:
    """A loss whose gradient in lam has the wrong sign falls along it, and MinOp keeps lam."""
    passed: list[int] = []

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            passed.append(len(grads[0]))
            return grads[0] * (slope if len(passed) == 1 else 1.0)

    y, g, inner = labels(0, 6), hidden(0, 6, 4).requires_grad_(), head(4)
    mixed = AMP(eps=0.01)(lambda x: Counted.apply(inner(x)), g, y, generator=rng())  # type: ignore[no-untyped-call]
    assert len(passed) == 1  # lam's gradient
    assert bool(mixed.mask.all()) is not kept
    mixed.loss.sum().backward()
    assert len(passed) - 1 == backward

    def naive(lam: Tensor) -> Tensor:
        logits = inner(lam.unsqueeze(1) * g + (1 - lam.unsqueeze(1)) * g[mixed.perm])
        return interpolate_loss(cross_entropy, logits, y, mixed.lam, mixed.perm)

    at_lam, at_adv = naive(mixed.lam), naive(mixed.lam_adv)
    assert torch.equal(mixed.mask, at_adv > at_lam)
    expected = torch.maximum(at_lam, at_adv)
    torch.testing.assert_close(mixed.loss, expected)
    (grad,) = torch.autograd.grad(expected.sum(), g)
    torch.testing.assert_close(g.grad, grad)


@variants
def test_a_single_part_may_stand_in_a_tuple(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 5, 4), labels(0, 5)
    assert same_result(policy(f, g, y, generator=rng()), policy(f, (g,), y, generator=rng()))


@variants
def test_under_no_grad_the_values_are_the_same_without_a_graph(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 8, 4), labels(0, 8)
    with torch.no_grad():
        without = policy(f, g, y, generator=rng())
    assert not without.loss.requires_grad
    assert same_result(without, policy(f, g, y, generator=rng()))


@variants
def test_the_loss_reaches_what_comes_before_the_site(policy: Policy) -> None:
    """g is computed by a model: its parameters get gradients, equal to those through a leaf g."""
    f, encoder, x, y = head(4), head(5, 4), hidden(0, 6, 5), labels(0, 6)
    loss = policy(f, encoder(x), y, generator=rng()).loss.mean()
    got = torch.autograd.grad(loss, list(encoder.parameters()))
    leaf = encoder(x).detach().requires_grad_()
    (through,) = torch.autograd.grad(policy(f, leaf, y, generator=rng()).loss.mean(), leaf)
    expected = torch.autograd.grad(encoder(x), list(encoder.parameters()), through)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.abs().sum() > 0


@variants
def test_a_frozen_f_still_trains_what_comes_before(policy: Policy) -> None:
    f, g, y = head(4), hidden(0, 6, 4).requires_grad_(), labels(0, 6)
    (free,) = torch.autograd.grad(policy(f, g, y, generator=rng()).loss.mean(), g)
    f.requires_grad_(False)
    (frozen,) = torch.autograd.grad(policy(f, g, y, generator=rng()).loss.mean(), g)
    assert torch.equal(frozen, free)
    assert frozen.abs().sum() > 0


# --- what is refused ---------------------------------------------------------------------------


@any_loss
def test_a_loss_reduced_to_one_number_is_refused(policy: Policy) -> None:
    for n in (1, 6):
        with pytest.raises(AmpmixError, match="one value per example"):
            g, y = hidden(0, n, 4), labels(0, n)
            ready(policy)(head(4), g, y, loss=F.cross_entropy, generator=rng())


@any_loss
def test_a_loss_with_values_for_every_output_is_refused(policy: Policy) -> None:
    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, y, reduction="none")

    with pytest.raises(AmpmixError, match="one value per example|class indices"):
        ready(policy)(head(4), hidden(0, 6, 4), (hidden(1, 6, 3) > 0).double(), loss=loss)


@mixing
def test_integer_hidden_states_cannot_be_mixed(policy: Policy) -> None:
    with pytest.raises(AmpmixError, match="embed ids first"):
        policy(lambda ids: F.one_hot(ids, 3).double(), labels(0, 4), labels(1, 4))


@every
@pytest.mark.parametrize(
    ("g", "y"),
    [
        (hidden(0, 5, 4), labels(0, 6)),
        (hidden(0, 6, 4), labels(0, 2, 6)),
        (hidden(0, 3, 6, 4), labels(0, 2, 6)),
        ((hidden(0, 6, 4), hidden(0, 5, 4)), labels(0, 6)),
        ((hidden(0, 6, 4), torch.ones(5, 4, dtype=torch.bool)), labels(0, 6)),
        (hidden(0, 5, 4), hidden(0, 6)),
    ],
)
def test_shapes_that_do_not_fit_are_named(policy: Policy, g: Any, y: Tensor) -> None:
    with pytest.raises(AmpmixError) as error:
        ready(policy)(head(4), g, y)
    assert str(list(y.shape)) in str(error.value)


@amps
def test_an_f_that_ignores_its_input_is_refused(policy: Policy) -> None:
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for f in (
        lambda z: bias.expand(len(z), 3),
        lambda z: torch.zeros(len(z), 3, dtype=torch.float64),
        lambda z: z.detach()[:, :3] + bias,
    ):
        with pytest.raises(AmpmixError, match="does not depend on the mixed hidden state"):
            policy(f, hidden(0, 4, 4), labels(0, 4))


@pytest.mark.parametrize("cls", [Mixup, AMP, NonlinearMixup])
@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_must_be_above_zero(cls: type, alpha: float) -> None:
    with pytest.raises(AmpmixError, match=f"alpha is {alpha}"):
        cls(alpha=alpha)


@pytest.mark.parametrize("options", [{"eps": -0.1}, {"eps": float("nan")}, {"direction": "down"}])
def test_settings_of_amp_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(AmpmixError, match=str(next(iter(options.values())))):
        AMP(**options)


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (NoMixup(), "none"),
        (Mixup(), "word-mixup"),
        (Mixup(site="sent"), "sent-mixup"),
        (AMP(), "word-amp"),
        (AMP(site="sent"), "sent-amp"),
        (NonlinearMixup(), "nonlinear-mixup"),
        (NonlinearMixup(site="word"), ""),
        (NonlinearMixup(label_dim=9), ""),
        (AMP(eps=0.1), ""),
        (Mixup(alpha=0.5), ""),
    ],
)
def test_only_the_published_settings_bear_the_papers_name(policy: Policy, name: str) -> None:
    assert policy.reference_name == name
