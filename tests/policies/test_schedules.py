"""A site drawn each step, mixing that ends early, near partners and several steps on lam."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ampmix import AMP, AmpmixError, MixStep, Mixup, TextCNN
from ampmix._support.components import POLICIES, spec
from ampmix._torch.generators import Ragged
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.mixing.pairing import pair_near
from ampmix.policies.base import Policy
from ampmix.training.checks import check_trainable
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.stack import unstackable
from naive_texts import CLASSES, Reader, rng, slope, texts

ROWS = tuple(" ".join(f"w{(i * k) % 11}" for k in range(1, 3 + i % 6)) for i in range(1, 41))
DATA = TextDataset("toy", ("a", "b"), Examples(ROWS, [i % 2 for i in range(40)]))
SPLIT = split_train(DATA, 0, dev_fraction=0.2)
CONFIG = TrainConfig(steps=12, batch_size=8, lr=0.02, eval_every=6)
CNN = TextCNN(embedding_dim=6, feature_maps=3)
BOTH = [Mixup(), AMP(eps=0.1)]
both = pytest.mark.parametrize("policy", BOTH, ids=spec)


def weights_of(policy: Policy, **options: Any) -> dict[str, Tensor]:
    return fit(CNN, policy, SPLIT, replace(CONFIG, **options)).classifier.model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


# --- a site drawn each step ----------------------------------------------------------------------


def test_sites_are_drawn_uniformly_and_one_alone_draws_nothing() -> None:
    policy, source = Mixup(site="word+layer.2+sent"), rng(3)
    drawn = Counter(policy.drawn_site(source) for _ in range(900))
    assert set(drawn) == {"word", "layer.2", "sent"}
    assert all(abs(count - 300) < 6 * 14.2 for count in drawn.values())
    before = source.get_state()
    assert Mixup(site="sent").drawn_site(source) == "sent"
    assert POLICIES.parse("none").drawn_site(source) is None
    assert torch.equal(source.get_state(), before)


@both
def test_training_mixes_at_the_sites_drawn(policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    cut = type(CNN.build(CNN.reader(ROWS, "words", 50), 2, rng())).cut

    def watched(self: Any, ids: Tensor, mask: Tensor, site: Any = None, **options: Any) -> Any:
        if self.training:
            seen.append(site)
        return cut(self, ids, mask, site, **options)

    monkeypatch.setattr("ampmix.backbones.base.CutModule.cut", watched)
    several = replace(policy, site="word+sent")
    one = weights_of(several)
    drawn, seen[:] = list(seen), []
    assert len(drawn) == 12 and set(drawn) == {"word", "sent"}
    assert same(one, weights_of(several))
    assert seen == drawn
    assert not same(one, weights_of(policy))


def test_several_sites_are_checked_each() -> None:
    for site, told in (("word+sentence", "sentence"), ("word+", "''"), ("word+word", "once")):
        with pytest.raises(AmpmixError, match=told):
            check_trainable(CNN, Mixup(site=site), SPLIT, CONFIG)
    with pytest.raises(AmpmixError, match="hidden states of one site.*such as word"):
        check_trainable(CNN, POLICIES.parse("nonlinear[site=word+sent]"), SPLIT, CONFIG)
    with pytest.raises(AmpmixError, match="has none left"):
        check_trainable(CNN, POLICIES.parse("cutmix[site=word+sent]"), SPLIT, CONFIG)
    several = Mixup(site="word+sent")
    check_trainable(CNN, several, SPLIT, CONFIG)
    assert unstackable(CNN, several) == "policy mixup draws a site for each step"


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x).tanh()).tanh())  # type: ignore[no-any-return]


@both
def test_mix_step_mixes_at_the_sites_drawn(policy: Any) -> None:
    """Each step is that of the site alone, with what is drawn after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Layers()
    several = MixStep(model, policy, "first+second:input+second", generator=rng(4))
    alone = {
        site: MixStep(model, policy, site, generator=rng(0))
        for site in ("first", "second:input", "second")
    }
    x, y = torch.randn(8, 4, generator=rng(1)), torch.randint(3, (8,), generator=rng(2))
    found, used = rng(4), set[str]()
    for _ in range(12):
        loss = several(x, labels=y).loss
        site = [*alone][int(torch.randint(3, (1,), generator=found))]
        used.add(site)
        own = alone[site].generator
        assert isinstance(own, torch.Generator)
        own.set_state(found.get_state())
        torch.testing.assert_close(loss, alone[site](x, labels=y).loss)
        found.set_state(own.get_state())
        loss.backward()
    assert used == set(alone)
    with pytest.raises(AmpmixError, match="third"):
        MixStep(model, policy, "first+third")


# --- mixing that ends before training does -------------------------------------------------------


@both
@pytest.mark.parametrize("share", [0.0, 0.5, 0.7])
def test_mixing_ends_at_its_share_of_the_steps(
    policy: Any, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed: list[int] = []
    original = type(policy)._train

    def watched(self: Any, *given: Any) -> Any:
        mixed.append(1)
        return original(self, *given)

    monkeypatch.setattr(type(policy), "_train", watched)
    found = weights_of(replace(policy, until=share))
    assert len(mixed) == {0.0: 0, 0.5: 6, 0.7: 9}[share]
    if share == 0.0:
        assert same(found, weights_of(POLICIES.parse("none")))


@both
def test_by_default_it_goes_on_to_the_end(policy: Any) -> None:
    assert not policy.changes
    assert policy.at(0.999) is policy.at(1.5) is policy
    ending = replace(policy, until=0.8)
    assert (ending.at(0.79), ending.at(0.8).name) == (ending, "none")
    assert unstackable(CNN, ending).endswith("changes in the course of training")
    for value in ("-0.1", "1.5", "nan"):
        with pytest.raises(AmpmixError, match=f"until is {value}"):
            POLICIES.parse(f"{policy.name}[until={value}]")


def test_mix_step_needs_to_be_told() -> None:
    model = Layers()
    step = MixStep(model, Mixup(until=0.5), "first", generator=rng())
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    with pytest.raises(AmpmixError, match=r"step\.advance"):
        step(x, labels=y)
    step.advance(0.6)
    plain = nn.functional.cross_entropy(model(x), y)
    torch.testing.assert_close(step(x, labels=y).loss, plain)
    step.advance(0.4)
    assert not torch.isclose(step(x, labels=y).loss, plain)


# --- near partners -------------------------------------------------------------------------------


def greedy(states: list[list[float]], order: list[int]) -> list[int]:
    """Each in turn takes the nearest that none has taken."""
    free, partner = set(range(len(states))), list(range(len(states)))
    for i in order:
        others = [j for j in sorted(free) if j != i]
        if others:
            far = [sum((a - b) ** 2 for a, b in zip(states[i], states[j], strict=True))
                   for j in others]  # fmt: skip
            partner[i] = others[far.index(min(far))]
            free.remove(partner[i])
    return partner


@pytest.mark.parametrize("seed", range(5))
def test_near_partners_are_those_of_the_loop(seed: int) -> None:
    states, mask, _ = texts(9, seed)
    perm, fits = pair_near((states, mask), torch.Size([9]), rng(seed))
    order = torch.rand(9, generator=rng(seed)).argsort().tolist()
    means = []
    for i in range(9):
        words = states[i][mask[i]]
        means.append([sum(w[k].item() for w in words) / len(words) for k in range(3)])
    assert perm.tolist() == greedy(means, order)
    assert sorted(perm.tolist()) == list(range(9))
    assert torch.equal(fits, perm != torch.arange(9))


def test_near_partners_heed_no_padding_and_stand_beside_other_seeds() -> None:
    states, mask, _ = texts(12, 3)
    filled = torch.where(mask.unsqueeze(-1), states, 1e3)
    shape = torch.Size([12])
    assert torch.equal(
        pair_near((states, mask), shape, rng())[0], pair_near((filled, mask), shape, rng())[0]
    )
    rows = (states.reshape(2, 6, 5, 3), mask.reshape(2, 6, 5))
    perm, _ = pair_near(rows, torch.Size([2, 6]), [rng(0), rng(1)])
    ragged, fits = pair_near(rows, torch.Size([2, 6]), Ragged((rng(0), rng(1)), (6, 4)))
    for s, n in ((0, 6), (1, 6)):
        own, _ = pair_near((rows[0][s], rows[1][s]), torch.Size([n]), rng(s))
        assert torch.equal(perm[s], own)
    short, _ = pair_near((rows[0][1, :4], rows[1][1, :4]), torch.Size([4]), rng(1))
    assert ragged[1].tolist() == [*short.tolist(), 4, 5]
    assert not fits[1, 4:].any()


@both
def test_a_text_mixes_with_a_near_one(policy: Any) -> None:
    states, mask, y = texts(8)
    near = replace(policy, pairing="near")
    assert not near.needs_indices
    mixed = near(Reader(), (states, mask), y, generator=rng())
    lone = near(Reader(), (states[:1], mask[:1]), y[:1], generator=rng())
    assert lone.lam.item() == 1.0

    def mean_distance(perm: Tensor) -> float:
        means = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        return (means - means[perm]).norm(dim=1).mean().item()

    some = [policy(Reader(), (states, mask), y, generator=rng(s)).perm for s in range(20)]
    assert mean_distance(mixed.perm) < min(map(mean_distance, some))
    soft = torch.nn.functional.one_hot(y, CLASSES).double()
    assert near(Reader(), (states, mask), soft, generator=rng()).loss.isfinite().all()


# --- several steps on lam ------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_each_step_goes_up_the_loss_where_the_one_before_ended(steps: int) -> None:
    """By finite differences; the label keeps lam."""
    f, (states, mask, y) = Reader(), texts(6)
    mask = torch.ones_like(mask)
    mixed = AMP(eps=0.3, steps=steps)(f, (states, mask), y, generator=rng())

    def loss(i: int, at: float) -> float:
        j, lam = int(mixed.perm[i]), mixed.lam[i].item()
        x = at * states[i] + (1 - at) * states[j]
        log_p = f(x.unsqueeze(0), mask[:1])[0].log_softmax(0)
        return -(lam * log_p[y[i]] + (1 - lam) * log_p[y[j]]).item()

    for i in range(6):
        at, h = mixed.lam[i].item(), 1e-5
        for _ in range(steps):
            grad = (loss(i, at + h) - loss(i, at - h)) / (2 * h)
            at = min(1.0, max(0.0, at + 0.3 / steps * min(1.0, max(-1.0, grad))))
        assert mixed.lam_adv[i].item() == pytest.approx(at, abs=1e-6)
        expected = max(loss(i, mixed.lam[i].item()), loss(i, at))
        assert mixed.loss[i].item() == pytest.approx(expected, abs=1e-6)


def test_every_step_has_the_same_dropout() -> None:
    states, mask, y = texts(6)

    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.drawn = Reader(), list[Tensor]()

        def forward(self, states: Tensor, mask: Tensor) -> Tensor:
            self.drawn.append(torch.rand(4))
            return self.inner(nn.functional.dropout(states, 0.5), mask)  # type: ignore[no-any-return]

    dropping = Dropping()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        AMP(eps=0.5, steps=3)(dropping, (states, mask), y, generator=rng())
    assert len(dropping.drawn) >= 4
    assert all(torch.equal(own, dropping.drawn[0]) for own in dropping.drawn)


# --- a lam for each element ----------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "min_op"), [(1, True), (3, True), (1, False)])
def test_each_element_goes_up_the_loss_by_its_own_gradient(steps: int, min_op: bool) -> None:
    f, (states, mask, y) = Reader(), texts(6)
    mask = torch.ones_like(mask)
    policy = AMP(eps=0.4, steps=steps, per="element", min_op=min_op)
    mixed = policy(f, (states, mask), y, generator=rng())

    def loss(i: int, at: Tensor) -> float:
        j, lam = int(mixed.perm[i]), mixed.lam[i].item()
        x = at * states[i] + (1 - at) * states[j]
        log_p = f(x.unsqueeze(0), mask[:1])[0].log_softmax(0)
        return -(lam * log_p[y[i]] + (1 - lam) * log_p[y[j]]).item()

    for i in range(6):
        start = torch.full_like(states[i], mixed.lam[i].item())
        at = start.clone()
        for _ in range(steps):
            grad = slope(lambda own, i=i: loss(i, own), at, mask[i])
            at = (at + 0.4 / steps * grad.clamp(-1, 1)).clamp(0, 1)
        before, after = loss(i, start), loss(i, at)
        expected = max(before, after) if min_op else after
        assert mixed.loss[i].item() == pytest.approx(expected, abs=1e-6)
        assert mixed.gain is not None
        assert mixed.gain[i].item() == pytest.approx(after - before, abs=1e-6)
        far = (at - start).abs().mean().item()
        assert (mixed.lam_adv - mixed.lam)[i].item() == pytest.approx(far, abs=1e-6)


def test_without_a_step_it_is_mixup() -> None:
    states, mask, y = texts()
    results = []
    for policy in (Mixup(), AMP(eps=0.0, per="element")):
        f, x = Reader(), states.clone().requires_grad_()
        loss = policy(f, (x, mask), y, generator=rng()).loss
        results.append([loss, *torch.autograd.grad(loss.mean(), [x, *f.parameters()])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
