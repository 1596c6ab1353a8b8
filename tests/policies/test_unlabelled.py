"""Policies on texts without labels, against plain loops over texts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ampmix import AmpmixError
from ampmix._support.components import POLICIES, find, spec
from ampmix.mixing import sample_lam
from ampmix.policies.base import Policy
from naive_texts import CLASSES, Reader, divergence, length, rng, slope, surprise, texts

LABELLED = 4
USING = [cls() for cls in find("ampmix.policies").values() if cls.takes_unlabelled]
OTHERS = [cls() for cls in find("ampmix.policies").values() if not cls.takes_unlabelled]


def guesses(n: int) -> Tensor:
    return torch.rand(n, CLASSES, generator=rng(8), dtype=torch.float64).softmax(-1)


def run(policy: Policy, f: Any, n: int = 7, **options: Any) -> Any:
    """The policy on 4 texts with labels and n - 4 without."""
    states, mask, y = texts(n)
    given = {"unlabelled": n - LABELLED, "guesses": guesses(n - LABELLED), "generator": rng()}
    return policy(f, (states, mask), y[:LABELLED], **{**given, **options})


def logits_of(f: Reader, states: Tensor, mask: Tensor) -> Tensor:
    return f(states.unsqueeze(0), mask.unsqueeze(0))[0].detach()


# --- contracts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", USING, ids=spec)
def test_texts_without_labels_train_the_model(policy: Policy) -> None:
    f = Reader()
    mixed = run(policy, f)
    assert mixed.loss.shape == (LABELLED,)
    assert mixed.unlabelled.shape == (3,)
    grads = torch.autograd.grad(mixed.unlabelled.sum(), list(f.parameters()))
    assert all(grad.isfinite().all() for grad in grads)
    assert any(grad.any() for grad in grads)
    total = mixed.beside(mixed.loss).mean()
    torch.testing.assert_close(total, mixed.loss.mean() + mixed.unlabelled.mean())


@pytest.mark.parametrize("policy", USING, ids=spec)
def test_their_loss_is_weighed_and_at_0_they_are_not_asked_for(policy: Policy) -> None:
    name = policy.name
    one, three, none = (
        POLICIES.parse(f"{name}[unlabelled={weight}]") for weight in ("1.0", "3.0", "0.0")
    )
    losses = [run(own, Reader()).unlabelled for own in (one, three, none)]
    torch.testing.assert_close(losses[1], 3 * losses[0])
    assert not losses[2].any()
    assert [own.uses_unlabelled for own in (one, three, none)] == [True, True, False]
    assert none.teachers == 0


@pytest.mark.parametrize("policy", [p for p in OTHERS if not p.learns], ids=spec)
def test_other_policies_refuse_them_and_name_those_that_do_not(policy: Policy) -> None:
    with pytest.raises(AmpmixError, match=f"policy {policy.name} .*vmt, vat, selftrain, mixtext"):
        run(policy, Reader())


def test_a_policy_that_learns_refuses_them_too() -> None:
    policy = POLICIES.parse("nonlinear")
    with pytest.raises(AmpmixError, match="policy nonlinear .*vat"):
        policy.prepare((5, 3), CLASSES, rng())(
            Reader(), torch.zeros(3, 5, 3), torch.tensor([0, 1]), unlabelled=1
        )


@pytest.mark.parametrize("policy", USING, ids=spec)
def test_hidden_states_must_be_as_many_as_the_texts(policy: Policy) -> None:
    states, mask, y = texts(7)
    with pytest.raises(AmpmixError, match="2 unlabelled texts: both must begin with"):
        policy(Reader(), (states, mask), y[:LABELLED], unlabelled=2)


@pytest.mark.parametrize("policy", USING, ids=spec)
def test_seeds_side_by_side_are_each_alone_with_them(policy: Policy) -> None:
    f, (states, mask, y), guessed = Reader(), texts(14), guesses(6)
    states, mask = (x.reshape(2, 7, *x.shape[1:]) for x in (states, mask))
    y, guessed = y.reshape(2, 7)[:, :LABELLED], guessed.reshape(2, 3, CLASSES)
    both = policy(f, (states, mask), y, unlabelled=3, guesses=guessed, generator=[rng(0), rng(1)])
    for s in range(2):
        one = policy(
            f, (states[s], mask[s]), y[s], unlabelled=3, guesses=guessed[s], generator=rng(s)
        )
        torch.testing.assert_close(both.loss[s], one.loss, rtol=0, atol=1e-12)
        torch.testing.assert_close(both.unlabelled[s], one.unlabelled, rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", USING, ids=spec)
def test_class_probabilities_are_targets_of_the_labelled(policy: Policy) -> None:
    states, mask, y = texts(7)
    soft = torch.nn.functional.one_hot(y, CLASSES).double()[:LABELLED]
    given = {"unlabelled": 3, "guesses": guesses(3)}
    one, other = (
        policy(Reader(), (states, mask), own, generator=rng(), **given)
        for own in (y[:LABELLED], soft)
    )
    torch.testing.assert_close(one.loss, other.loss)
    torch.testing.assert_close(one.unlabelled, other.unlabelled)


# --- oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("eps", "weight", "share"), [(0.1, 1.0, 1.0), (0.5, 2.0, 0.3)])
def test_vat_equals_the_loop_with_and_without_labels(
    eps: float, weight: float, share: float
) -> None:
    f, (states, mask, y) = Reader(), texts(7)
    policy = POLICIES.parse(f"vat[eps={eps},weight={weight},unlabelled={share},xi=0.05]")
    mixed = run(policy, f)
    noise = torch.randn(states.shape, generator=rng(), dtype=torch.float64)
    for i in range(7):
        own, at = logits_of(f, states[i], mask[i]), states[i]
        size = length(at, mask[i])

        def scaled(d: Tensor, far: float, i: int = i, size: float = size) -> Tensor:
            d = torch.where(mask[i].unsqueeze(-1), d, 0.0)
            return far * size * d / length(d, mask[i])

        near = at + scaled(noise[i], 0.05)
        d = slope(lambda x, i=i, own=own: divergence(own, logits_of(f, x, mask[i])), near, mask[i])
        moved = divergence(own, logits_of(f, at + scaled(d, eps), mask[i]))
        if i < LABELLED:
            expected = surprise(own, y[i]).item() + weight * moved
            assert mixed.loss[i].item() == pytest.approx(expected, rel=1e-5)
        else:
            expected = share * weight * moved
            assert mixed.unlabelled[i - LABELLED].item() == pytest.approx(expected, rel=1e-4)


def drawn(n: int, alpha: float, largest: bool) -> tuple[Tensor, list[int]]:
    """Coefficients and partners as a generator gives them: ranks go down a random order."""
    source = rng()
    lam = sample_lam(alpha, (n,), generator=source, dtype=torch.float64)
    lam = torch.maximum(lam, 1 - lam) if largest else lam
    order = torch.rand(n, generator=source).argsort().tolist()
    partner = {order[k]: order[k - 1] for k in range(n)}
    return lam, [partner[i] for i in range(n)]


def test_vmt_pairs_all_texts_and_equals_the_loop() -> None:
    f, (states, mask, y) = Reader(), texts(7)
    mixed = run(POLICIES.parse("vmt[weight=2.0,unlabelled=0.5]"), f)
    lam, partner = drawn(7, 1.0, largest=False)
    assert any((i < LABELLED) != (partner[i] < LABELLED) for i in range(7))
    for i in range(7):
        j, share = partner[i], lam[i].item()
        p, q = (logits_of(f, states[k], mask[k]).softmax(0) for k in (i, j))
        x = share * states[i] + (1 - share) * states[j]
        found = logits_of(f, x, mask[i] | mask[j])
        far = 2.0 * divergence((share * p + (1 - share) * q).log(), found)
        if i < LABELLED:
            own = surprise(logits_of(f, states[i], mask[i]), y[i]).item()
            assert mixed.loss[i].item() == pytest.approx(own + far, rel=1e-6)
        else:
            assert mixed.unlabelled[i - LABELLED].item() == pytest.approx(0.5 * far, rel=1e-5)


@pytest.mark.parametrize(("temperature", "largest"), [(0.5, "max"), (1.0, "any"), (0.2, "max")])
def test_mixtext_equals_the_loop(temperature: float, largest: str) -> None:
    """An f without dropout: the mean over draws is that of one."""
    f, (states, mask, y) = Reader(), texts(7)
    policy = POLICIES.parse(f"mixtext[T={temperature},unlabelled=0.7,lam={largest}]")
    mixed = run(policy, f)
    lam, partner = drawn(7, 0.75, largest == "max")
    targets = []
    for i in range(7):
        p = logits_of(f, states[i], mask[i]).softmax(0) ** (1 / temperature)
        known = torch.eye(CLASSES, dtype=torch.float64)[y[i]]
        targets.append(known if i < LABELLED else p / p.sum())
    for i in range(7):
        j, share = partner[i], lam[i].item()
        z = logits_of(f, share * states[i] + (1 - share) * states[j], mask[i] | mask[j])
        log_p = z - z.exp().sum().log()
        target = share * targets[i] + (1 - share) * targets[j]
        cross = -sum((t * q).item() for t, q in zip(target, log_p, strict=True))
        if i < LABELLED:
            assert mixed.loss[i].item() == pytest.approx(cross, rel=1e-6)
        else:
            own = sum((t * t.log()).item() for t in target if t > 0)
            assert mixed.unlabelled[i - LABELLED].item() == pytest.approx(
                0.7 * (cross + own), rel=1e-5
            )


class Dropping(nn.Module):
    """An f that draws a mask in each pass; what it gave is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.logits = Reader(), list[Tensor]()

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        self.logits.append(self.inner(nn.functional.dropout(states, 0.5), mask))
        return self.logits[-1]


def test_mixtext_guesses_the_mean_over_draws_of_dropout() -> None:
    f = Dropping()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        mixed = run(POLICIES.parse("mixtext[draws=3,T=1.0]"), f)
    assert len(f.logits) == 4
    assert not torch.equal(f.logits[0], f.logits[1])
    mean = torch.stack([z.softmax(-1) for z in f.logits[:3]]).mean(0)
    lam, partner = drawn(7, 0.75, largest=True)
    i = next(i for i in range(LABELLED, 7) if partner[i] >= LABELLED)
    target = lam[i] * mean[i] + (1 - lam[i]) * mean[partner[i]]
    found = divergence(target.log(), f.logits[3][i])
    assert mixed.unlabelled[i - LABELLED].item() == pytest.approx(found, rel=1e-6)


def test_the_adversary_on_guessed_mixtures_moves_lam_up_the_loss() -> None:
    """MaxOp by finite differences, and the larger of both losses (Eqs. 15-21)."""
    f, (states, mask, y) = Reader(), texts(7)
    plain, moved = (run(POLICIES.parse(f"mixtext[eps={eps}]"), f) for eps in ("0.0", "0.05"))
    lam, partner = drawn(7, 0.75, largest=True)
    targets = []
    for i in range(7):
        p = logits_of(f, states[i], mask[i]).softmax(0) ** 2
        known = torch.eye(CLASSES, dtype=torch.float64)[y[i]]
        targets.append(known if i < LABELLED else p / p.sum())

    def loss(i: int, at: float) -> float:
        j, share = partner[i], lam[i].item()
        z = logits_of(f, at * states[i] + (1 - at) * states[j], mask[i] | mask[j])
        target = share * targets[i] + (1 - share) * targets[j]
        entropy = sum((t * t.log()).item() for t in target if t > 0) if i >= LABELLED else 0.0
        return entropy - (target * z.log_softmax(0)).sum().item()

    both = torch.cat([moved.loss, moved.unlabelled])
    before = torch.cat([plain.loss, plain.unlabelled])
    assert (both >= before - 1e-12).all()
    assert (both > before + 1e-6).any()
    for i in range(7):
        at, h = lam[i].item(), 1e-5
        grad = (loss(i, at + h) - loss(i, at - h)) / (2 * h)
        up = min(1.0, max(0.0, at + 0.05 * min(1.0, max(-1.0, grad))))
        assert both[i].item() == pytest.approx(max(loss(i, at), loss(i, up)), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 0.05])
def test_selftrain_equals_the_loop(temperature: float) -> None:
    f, (states, mask, y) = Reader(), texts(7)
    mixed = run(POLICIES.parse(f"selftrain[T={temperature},unlabelled=0.4]"), f)
    for i in range(7):
        z = logits_of(f, states[i], mask[i])
        if i < LABELLED:
            assert mixed.loss[i].item() == pytest.approx(surprise(z, y[i]).item())
            continue
        q = guesses(3)[i - LABELLED] ** (1 / temperature)
        q = q / q.sum()
        expected = 0.4 * sum((q[c] * surprise(z, c)).item() for c in range(CLASSES))
        assert mixed.unlabelled[i - LABELLED].item() == pytest.approx(expected, rel=1e-6)


def test_selftrain_says_that_it_needs_a_teacher() -> None:
    with pytest.raises(AmpmixError, match="the 3 unlabelled texts: give guesses"):
        run(POLICIES.parse("selftrain"), Reader(), guesses=None)


def test_a_ramp_raises_the_weight_in_proportion() -> None:
    policy = POLICIES.parse("mixtext[ramp=0.4,unlabelled=2.0]")
    assert policy.changes
    weights = [policy.at(progress).unlabelled for progress in (0.0, 0.1, 0.2, 0.4, 0.9)]
    assert weights == pytest.approx([0.0, 0.5, 1.0, 2.0, 2.0])
    assert not POLICIES.parse("mixtext").changes
