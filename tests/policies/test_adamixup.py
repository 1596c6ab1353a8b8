"""AdaMixUp against a loop over texts and finite differences, and what it comes to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ampmix import AmpmixError, Mixup, NoMixup, TextCNN
from ampmix._support.components import POLICIES
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.policies.adamixup import AdaMixUp, PolicyRegion
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from naive_texts import CLASSES, WIDTH, WORDS, Reader, rng, surprise, texts

CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 2), feature_maps=4)
SHORT = TrainConfig(steps=6, batch_size=7, lr=0.01, eval_every=3)
WHOLE, AT_ONE = (0.0, 60.0, 0.0), (60.0, 0.0, 0.0)


def prepared(options: str = "", sharp: float = 4.0) -> PolicyRegion:
    """In float64, with networks whose answers differ from text to text."""
    policy = POLICIES.parse(f"adamixup[width=6{options and ','}{options}]")
    learner: PolicyRegion = policy.prepare((WORDS, WIDTH), CLASSES, rng(3)).double()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(sharp)
    return learner


def fixed(learner: PolicyRegion, bias: tuple[float, float, float]) -> PolicyRegion:
    """The same range for every pair: the softmax of a bias."""
    with torch.no_grad():
        learner.region[2].weight.zero_()
        learner.region[2].bias.copy_(torch.tensor(bias))
    return learner


def toy() -> TextDataset:
    rows = tuple(" ".join(f"w{(i * k) % 11}" for k in range(1, 3 + i % 6)) for i in range(1, 41))
    return TextDataset("toy", ("a", "b"), Examples(rows, [i % 2 for i in range(40)]))


# --- an oracle: one text, one number after the other ---------------------------------------------


def network(layers: nn.Sequential, inputs: list[Tensor]) -> list[Tensor]:
    """One hidden layer of tanh, unit after unit."""
    hidden = []
    for row, bias in zip(layers[0].weight, layers[0].bias, strict=True):
        hidden.append(torch.tanh(sum((w * x for w, x in zip(row, inputs, strict=True)), bias)))
    last = zip(layers[2].weight, layers[2].bias, strict=True)
    return [sum((w * h for w, h in zip(row, hidden, strict=True)), b) for row, b in last]


def mean_word(states: Tensor, mask: Tensor) -> list[Tensor]:
    present = [word.detach() for word, there in zip(states, mask, strict=True) if there]
    return [sum(word[k] for word in present) / len(present) for k in range(WIDTH)]  # type: ignore[misc]


def naive(
    learner: PolicyRegion,
    f: Reader,
    states: Tensor,
    mask: Tensor,
    y: Tensor,
    u: Tensor,
    perm: Tensor,
) -> tuple[Tensor, Tensor]:
    """Losses and coefficients of every text, with their graphs."""
    policy, losses, lams = learner.policy, [], []
    for i, j in enumerate(perm.tolist()):
        scores = network(
            learner.region, mean_word(states[i], mask[i]) + mean_word(states[j], mask[j])
        )
        total = sum(score.exp() for score in scores)
        lam = scores[0].exp() / total + u[i].item() * scores[1].exp() / total
        real = f(states[i : i + 1], mask[i : i + 1])[0]
        z = f((lam * states[i] + (1 - lam) * states[j])[None], (mask[i] | mask[j])[None])[0]
        mixed = lam * surprise(z, y[i]) + (1 - lam) * surprise(z, y[j])
        (text,), (mixture,) = network(learner.intruder, [*real]), network(learner.intruder, [*z])
        said = -(torch.sigmoid(text).log() + (1 - torch.sigmoid(mixture)).log()) / 2
        plain = surprise(real, y[i])
        losses.append((1 - policy.weight) * plain + policy.weight * mixed + policy.intrusion * said)
        lams.append(lam)
    return torch.stack(losses), torch.stack(lams)


@pytest.mark.parametrize("options", ["", "weight=1.0,intrusion=3.0", "weight=0.2,intrusion=0.0"])
def test_loss_and_every_gradient_equal_the_loop(options: str) -> None:
    """Of hidden states, f, the generator and the discriminator; texts are padded."""
    learner, f, (states, mask, y) = prepared(options), Reader(), texts(7)
    states.requires_grad_()
    mixed = learner(f, (states, mask), y, generator=rng(4))
    draws = rng(4)
    u = torch.rand(7, generator=draws, dtype=torch.float64)
    expected, lam = naive(learner, f, states, mask, y, u, mixed.perm)
    torch.testing.assert_close(mixed.loss, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(mixed.lam, lam.detach(), rtol=0, atol=1e-9)
    assert lam.std() > 0.05
    leaves = [states, *f.parameters(), *learner.region.parameters()]
    leaves += [*learner.intruder.parameters()] if learner.policy.intrusion else []
    mine = torch.autograd.grad(mixed.loss.mean(), leaves)
    theirs = torch.autograd.grad(expected.mean(), leaves)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
        assert one.abs().max() > 1e-4


@pytest.mark.parametrize("part", ["region", "intruder"])
def test_gradients_of_both_networks_are_finite_differences(part: str) -> None:
    learner, f, (states, mask, y) = prepared(), Reader(), texts(7)

    def loss() -> Tensor:
        return learner(f, (states, mask), y, generator=rng(4)).loss.mean()

    for name, parameter in getattr(learner, part).named_parameters():
        (grad,) = torch.autograd.grad(loss(), parameter)
        flat, h = parameter.data.view(-1), 1e-5
        for k in (0, len(flat) // 2, len(flat) - 1):
            with torch.no_grad():
                flat[k] += h
                above = loss().item()
                flat[k] -= 2 * h
                below = loss().item()
                flat[k] += h
            slope = (above - below) / (2 * h)
            assert grad.view(-1)[k].item() == pytest.approx(slope, rel=1e-5, abs=1e-9), name


# --- what it comes to ----------------------------------------------------------------------------


def test_over_the_whole_range_without_a_discriminator_it_is_mixup() -> None:
    learner = fixed(prepared("weight=1.0,intrusion=0.0"), WHOLE)
    f, (states, mask, y) = Reader(), texts(8)
    found = learner(f, (states, mask), y, generator=rng(2))
    mixup = Mixup()(f, (states, mask), y, generator=rng(2))
    assert torch.equal(found.perm, mixup.perm)
    torch.testing.assert_close(found.lam, mixup.lam.double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.loss, mixup.loss, rtol=0, atol=1e-7)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_a_range_of_no_width_at_one_is_the_plain_loss(weight: float) -> None:
    learner, f, (states, mask, y) = prepared(f"weight={weight},intrusion=0.0"), Reader(), texts(8)
    g = states.requires_grad_(), torch.ones_like(mask)  # united masks are not a text's own
    found = fixed(learner, AT_ONE)(f, g, y, generator=rng(2)).loss
    plain = NoMixup()(f, g, y).loss
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
    grads = (torch.autograd.grad(loss.mean(), [states, *f.parameters()]) for loss in (found, plain))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_a_batch_of_one_trains_plainly_and_neither_network() -> None:
    learner, f, (states, mask, y) = prepared(), Reader(), texts(1)
    mixed = learner(f, (states, mask), y, generator=rng())
    torch.testing.assert_close(mixed.loss, NoMixup()(f, (states, mask), y).loss, rtol=0, atol=1e-12)
    assert mixed.lam.tolist() == [1.0]
    mixed.loss.mean().backward()
    for parameter in learner.parameters():  # there, as other processes reduce them, and zero
        assert parameter.grad is not None and not parameter.grad.any()


def test_the_range_does_not_heed_padding() -> None:
    learner, (states, mask, _) = prepared(), texts(6)
    perm, u = torch.arange(6).roll(1), torch.rand(6, generator=rng(), dtype=torch.float64)
    lam = learner.lam((states, mask), perm, u)
    other = torch.where(mask.unsqueeze(-1), states, 50.0)
    wider = nn.functional.pad(other, (0, 0, 0, 3), value=9.0), nn.functional.pad(mask, (0, 3))
    for g in ((other, mask), wider):
        torch.testing.assert_close(learner.lam(g, perm, u), lam)
    assert lam.std() > 0.05 and (lam > 0).all() and (lam < 1).all()


def test_the_generator_leaves_where_mixtures_intrude() -> None:
    """Texts at -1 and 1 of one class, and of another between them: halfway is not theirs.

    It leaves to an end of the range, or to the whole, half of which is near an end.
    """
    x = torch.tensor([[-1.0], [1.0]] * 8)
    y = torch.zeros(16, dtype=torch.long)

    def f(z: Tensor) -> Tensor:  # says class 1 near 0
        return torch.cat([4 * z.abs() - 2, 2 - 4 * z.abs()], -1)

    learner = AdaMixUp(weight=1.0, intrusion=0.0).prepare((1,), 2, rng(1))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.02)
    draws, intruding = rng(5), []
    for _ in range(300):
        mixed = learner(f, x, y, generator=draws)
        apart = (x != x[mixed.perm]).squeeze(-1)
        intruding.append(((mixed.lam - 0.5).abs() < 0.25)[apart].double().mean().item())
        optimizer.zero_grad()
        mixed.loss.mean().backward()
        optimizer.step()
    assert intruding[0] == 1
    assert sum(intruding[-50:]) / 50 < 0.35


def test_the_discriminator_learns_to_tell_mixtures_from_texts() -> None:
    f, (states, mask, y) = Reader(), texts(24)
    learner = AdaMixUp(weight=0.0).prepare((WORDS, WIDTH), CLASSES, rng(1)).double()
    optimizer = torch.optim.Adam([*learner.parameters(), *f.parameters()], lr=0.02)
    draws, losses = rng(5), list[float]()
    for _ in range(200):
        mixed = learner(f, (states, mask), y, generator=draws)
        losses.append((mixed.loss - NoMixup()(f, (states, mask), y).loss).mean().item())
        optimizer.zero_grad()
        mixed.loss.mean().backward()
        optimizer.step()
    assert losses[0] == pytest.approx(math.log(2), abs=0.1)
    assert sum(losses[-10:]) / 10 < 0.5


# --- runs ----------------------------------------------------------------------------------------


def test_a_trained_model_is_an_ordinary_one_and_both_networks_have_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[PolicyRegion] = []
    prepare = AdaMixUp.prepare

    def watched(*args: object) -> PolicyRegion:
        made.append(prepare(*args))  # type: ignore[arg-type]
        before.append({name: p.clone() for name, p in made[-1].named_parameters()})
        return made[-1]

    before: list[dict[str, Tensor]] = []
    monkeypatch.setattr(AdaMixUp, "prepare", watched)
    split = split_train(toy(), 0, dev_fraction=0.2)
    trained, plain = (fit(CNN, policy, split, SHORT) for policy in (AdaMixUp(), NoMixup()))
    states = [fitted.classifier.model.state_dict() for fitted in (trained, plain)]
    assert {k: v.shape for k, v in states[0].items()} == {k: v.shape for k, v in states[1].items()}
    for name, parameter in made[0].named_parameters():
        assert not torch.equal(parameter, before[0][name]), name


def test_compare_trains_it_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "toy.csv"
    rows = [f"{text},{'ab'[int(label)]}" for text, label in zip(*_columns(), strict=True)]
    table.write_text("text,label\n" + "\n".join(rows) + "\n")
    args = "--policies none,adamixup,adamixup[intrusion=0.0] --seeds 2 --steps 2 --workers 1"
    runs = str(tmp_path / "runs")
    assert main(["compare", str(table), "--out", runs, "--backbone", "cnn", *args.split()]) == 0
    assert "adamixup[intrusion=0.0]" in capsys.readouterr().out


def _columns() -> tuple[tuple[str, ...], list[int]]:
    examples = toy().train
    return tuple(examples.texts), examples.labels.tolist()


# --- what is refused -----------------------------------------------------------------------------


def test_it_must_be_prepared() -> None:
    with pytest.raises(AmpmixError, match=r"policy adamixup has parameters .*prepare\(shape"):
        AdaMixUp()(Reader(), texts()[:2], texts()[2])


def test_other_widths_than_prepared_for_are_named() -> None:
    states, mask, y = texts()
    for shape, classes, said in (((WORDS, 9), CLASSES, "pairs of 18"), ((WORDS, WIDTH), 7, "of 7")):
        learner = AdaMixUp().prepare(shape, classes).double()
        with pytest.raises(AmpmixError, match=f"prepared for .*{said} numbers.*shape .*: give"):
            learner(Reader(), (states, mask), y)


def test_texts_without_labels_are_refused() -> None:
    states, mask, y = texts()
    with pytest.raises(AmpmixError, match="policy adamixup learns from labelled texts alone"):
        prepared()(Reader(), (states, mask), y[:4], unlabelled=2)
