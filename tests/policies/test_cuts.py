"""Cutoff and CutMix against plain loops over the texts that f is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ampmix import AmpmixError, Mixup
from ampmix._support.components import POLICIES
from naive_texts import WIDTH, Reader, divergence, rng, surprise, texts


def removed_words(given: Tensor, states: Tensor) -> list[list[int]]:
    """Positions of each text that became zero."""
    zero = (given == 0).all(-1) & (states != 0).any(-1)
    return [row.nonzero().flatten().tolist() for row in zero]


def js(a: Tensor, b: Tensor) -> float:
    p, q = (z.exp() / z.exp().sum() for z in (a, b))
    m = ((p + q) / 2).log()
    return (divergence(a, m) + divergence(b, m)) / 2


@pytest.mark.parametrize("cut", ["span", "tokens", "features"])
@pytest.mark.parametrize(("share", "weight"), [(0.15, 1.0), (0.5, 4.0), (1.0, 0.0), (0.0, 1.0)])
def test_cutoff_equals_the_loop(cut: str, share: float, weight: float) -> None:
    (states, mask, y), f = texts(12), Reader()
    policy = POLICIES.parse(f"cutoff[cut={cut},share={share},weight={weight}]")
    loss = policy(f, (states, mask), y, generator=rng()).loss
    (whole, _), (less, held) = f.given
    assert torch.equal(whole, states) and torch.equal(held, mask)
    for i, label in enumerate(y):
        a, b = (f(x[i : i + 1], mask[i : i + 1])[0].detach() for x in (states, less))
        plain = (surprise(a, label) + surprise(b, label)).item() / 2
        assert loss[i].item() == pytest.approx(plain + weight * js(a, b), rel=1e-9, abs=1e-12)
        if cut == "features":
            zero = (less[i] == 0)[mask[i]]
            assert (zero == zero[0]).all()
            assert zero[0].sum() == round(share * WIDTH)


@pytest.mark.parametrize("cut", ["span", "tokens"])
@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_as_many_words_are_removed_as_said_and_one_stays(cut: str, share: float) -> None:
    (states, mask, y), f = texts(300), Reader()
    POLICIES.parse(f"cutoff[cut={cut},share={share}]")(f, (states, mask), y, generator=rng())
    less = f.given[1][0]
    places, apart = set[Any](), False
    for i, gone in enumerate(removed_words(less, states)):
        words = mask[i].nonzero().flatten().tolist()
        assert len(gone) == min(round(share * len(words)), len(words) - 1)
        assert set(gone) <= set(words)
        rest = [w for w in range(mask.shape[1]) if w not in gone]
        assert torch.equal(less[i, rest], states[i, rest])
        run = gone == list(range(gone[0], gone[0] + len(gone))) if gone else True
        apart |= not run
        if len(words) == 5 and share == 0.5:
            places.add(tuple(gone))
    assert apart is (cut == "tokens")
    if share == 0.5:
        assert len(places) == (4 if cut == "span" else 10), "every place of two of five words"


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_cutmix_equals_the_loop(alpha: float, seed: int) -> None:
    (states, mask, y), f = texts(20, seed=seed), Reader()
    x = states.clone().requires_grad_()
    mixed = POLICIES.parse(f"cutmix[alpha={alpha}]")(f, (x, mask), y, generator=rng(seed))
    drawn = Mixup(alpha=alpha)(Reader(), (states, mask), y, generator=rng(seed)).lam
    ((given, held),) = f.given
    assert torch.equal(held, mask)
    expected, cut = [], 0
    for i, j in enumerate(mixed.perm.tolist()):
        own, theirs = (mask[k].nonzero().flatten().tolist() for k in (i, j))
        size = min(round((1 - drawn[i].item()) * len(own)), len(theirs))
        assert mixed.lam[i].item() == pytest.approx(1 - size / len(own))
        new = [w for w in range(mask.shape[1]) if not torch.equal(given[i, w], states[i, w])]
        assert len(new) == size
        where = [own.index(w) for w in new]
        taken = [
            next(k for k, w in enumerate(theirs) if torch.equal(states[j, w], given[i, place]))
            for place in new
        ]
        for run in (where, taken):
            assert run == list(range(run[0], run[0] + size)) if size else not run
        pieces = x[i].clone()
        for place, k in zip(new, taken, strict=True):
            pieces[place] = x[j, theirs[k]]
        z, share = f(pieces[None], mask[i : i + 1])[0], size / len(own)
        expected.append((1 - share) * surprise(z, y[i]) + share * surprise(z, y[j]))
        cut += size
    assert cut > 10
    loss = torch.stack(expected)
    torch.testing.assert_close(mixed.loss, loss, rtol=1e-9, atol=1e-12)
    leaves = [x, *f.parameters()]
    mine, theirs_ = (torch.autograd.grad(one.mean(), leaves) for one in (mixed.loss, loss))
    for one, other in zip(mine, theirs_, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_of_windows_only_those_are_swapped_that_hold_words_in_every_width() -> None:
    states, _, y = texts(9)
    wide = torch.arange(5) < torch.tensor([2, 3, 4, 5, 5, 2, 3, 4, 5]).unsqueeze(-1)
    narrow = wide & (torch.arange(5) < wide.sum(-1, keepdim=True) - 1)
    windows = torch.stack([wide, narrow], -1)
    given: list[Tensor] = []

    def f(x: Tensor, held: Tensor) -> Tensor:
        given.append(x)
        assert torch.equal(held, windows)
        return torch.cat([x.sum(1), x[:, 0, :1]], -1)

    mixed = POLICIES.parse("cutmix")(f, (states, windows), y, generator=rng())
    changed = (given[0] != states).any(-1)
    assert changed.any()
    assert not changed[~narrow].any()
    assert mixed.lam.tolist() == pytest.approx((1 - changed.sum(1) / narrow.sum(1)).tolist())


@pytest.mark.parametrize("text", ["cutmix", "cutoff", "cutoff[cut=tokens]"])
def test_states_without_words_are_refused(text: str) -> None:
    with pytest.raises(AmpmixError, match=r"\[6, 4\] have no axis of words.*site, such as word"):
        POLICIES.parse(text)(torch.nn.Linear(4, 3), torch.randn(6, 4), torch.zeros(6).long())


def test_without_a_mask_every_position_is_a_word() -> None:
    (states, _, y), f = texts(40), Reader()
    everywhere = torch.ones(40, 5, dtype=torch.bool)
    for text in ("cutmix", "cutoff[share=0.6]", "cutoff[cut=tokens,share=0.6]"):
        policy = POLICIES.parse(text)
        with_mask = policy(f, (states, everywhere), y, generator=rng()).loss
        without = policy(lambda x: f(x, everywhere), states, y, generator=rng()).loss
        assert torch.equal(with_mask, without)
