"""TextCNN against the textbook: embed, pad, convolve, bar padding, ReLU, maximum, linear layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ampmix._support.components import spec
from ampmix.backbones.base import CutModule
from ampmix.backbones.heads import dropout_scale
from ampmix.backbones.text_cnn import TextCNN, TextCNNModule
from ampmix.errors import AmpmixError
from ampmix.mixing import cross_entropy, interpolate_loss, mix, pair
from ampmix.mixing.heads import Head, partners_of
from ampmix.policies.amp import AMP
from ampmix.policies.base import Policy
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.text.encoded import Vocabulary
from ampmix.text.reader import WordReader
from every_backbone import every_backbone as every_backbones
from every_backbone import made_from_a_folder

VOCABULARY, CLASSES = 12, 3
CNN = TextCNN(embedding_dim=5, filter_sizes=(2, 3, 4), feature_maps=3, dropout=0.0)
BACKBONES = every_backbones()


def sites_of(backbones: list[Any]) -> Any:
    """Every site of every backbone."""
    found = [pytest.param(b, site, id=f"{b.name}-{site}") for b in backbones for site in b.sites]
    return pytest.mark.parametrize(("backbone", "site"), found, indirect=["backbone"])


every_word_site = sites_of([b for b in BACKBONES if not made_from_a_folder(b)])
every_site = sites_of(BACKBONES)
every_backbone = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.name, indirect=True)
VARIANTS = [NoMixup(), Mixup(), AMP(), AMP(eps=0.3), AMP(eps=0.3, min_op=False)]
LENGTHS = ([1], [4, 1, 7], [1, 1, 2, 9, 3, 3], [6, 6], [2, 8, 5, 1, 1])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reader_of(size: int) -> WordReader:
    """A reader with that many token ids."""
    return WordReader("words", Vocabulary(tuple(f"w{i}" for i in range(size - 2))))


def batch(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random ids padded with 0 to the longest, their mask, and labels."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    ids = torch.randint(1, VOCABULARY, mask.shape, generator=rng(seed)) * mask
    return ids, mask, torch.randint(CLASSES, (len(lengths),), generator=rng(seed))


def build(config: Any = CNN, seed: int = 0, dtype: torch.dtype = torch.float64) -> CutModule:
    model: CutModule = config.build(reader_of(VOCABULARY), CLASSES, rng(seed))
    return model.to(dtype)


# --- the textbook ------------------------------------------------------------------------------


def textbook(
    model: TextCNNModule, embedded: Tensor, mask: Tensor, mixed: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """Logits of embedded texts; `mixed` is applied to the pooled features."""
    sizes, maps = model.config.filter_sizes, model.config.feature_maps
    around = max(sizes) - 1
    x = F.pad(embedded.transpose(1, 2), (around, around))
    held = F.pad(mask, (around, around))
    pooled, slot = [], 0
    for w, size in enumerate(sizes):
        kernel = model.filters[:, slot : slot + size].permute(2, 0, 1)
        h = F.conv1d(x, kernel, model.bias[w * maps : (w + 1) * maps])
        has_word = held.unfold(1, size, 1).any(-1)
        h = h.masked_fill(~has_word.unsqueeze(1), float("-inf")).relu()
        pooled.append(h.amax(-1))
        slot += size
    features = torch.cat(pooled, dim=1)
    if mixed is not None:
        features = mixed(features)
    return features @ model.output.weight.T + model.output.bias


def textbook_loss(
    model: TextCNNModule,
    policy: Policy,
    site: str,
    inputs: tuple[Tensor, Tensor, Tensor],
    lam: Tensor,
    perm: Tensor,
) -> Tensor:
    """The policy by composite autograd on the textbook model, mixing with indexing."""
    ids, mask, y = inputs
    embedded = model.embedding[ids] * mask.unsqueeze(-1)  # row 0 never gets a gradient

    def at(value: Tensor) -> Tensor:
        def blend(x: Tensor) -> Tensor:
            weight = value.reshape(-1, *[1] * (x.dim() - 1))
            return weight * x + (1 - weight) * x[perm]

        if site != "sent":
            logits = textbook(model, blend(embedded), mask | mask[perm], None)
        else:
            logits = textbook(model, embedded, mask, blend)
        own = F.cross_entropy(logits, y, reduction="none")
        return lam * own + (1 - lam) * F.cross_entropy(logits, y[perm], reduction="none")

    if isinstance(policy, NoMixup):
        return F.cross_entropy(textbook(model, embedded, mask, None), y, reduction="none")
    if not isinstance(policy, AMP):
        return at(lam)
    leaf = lam.clone().requires_grad_()
    (slope,) = torch.autograd.grad(at(leaf).sum(), leaf)
    plain = at(lam)
    moved = at((lam + policy.eps * slope.clamp(-1, 1)).clamp(0, 1))
    if not policy.min_op:
        return moved
    return torch.where(moved.detach() > plain.detach(), moved, plain)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("sizes", [(1,), (3,), (3, 4, 5), (5, 1, 2), (2, 2)], ids=str)
def test_forward_equals_the_textbook(lengths: list[int], sizes: tuple[int, ...]) -> None:
    model = build(TextCNN(5, sizes, 3)).eval()
    ids, mask, _ = batch(lengths)
    expected = textbook(model, F.embedding(ids, model.embedding), mask, None)
    torch.testing.assert_close(model(ids, mask), expected, rtol=1e-12, atol=1e-12)
    as_float = model.float()(ids, mask)
    torch.testing.assert_close(as_float.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(1,), (2, 3)], ids=str)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_forward_does_not_write_into_the_parameters(
    lengths: list[int], sizes: tuple[int, ...]
) -> None:
    model = build(TextCNN(5, sizes, 3)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(*batch(lengths)[:2])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("policy", VARIANTS, ids=spec)
@pytest.mark.parametrize("site", CNN.sites)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_mixing_through_the_cut_equals_mixing_in_the_textbook(
    policy: Policy, site: str, lengths: list[int]
) -> None:
    """Loss and the gradient of every parameter; the convolution's output stands for the words."""
    model, inputs = build(), batch(lengths)
    with torch.no_grad():
        model.output.weight.mul_(20)  # losses that differ, so that MinOp has something to choose
    f, g = model.cut(*inputs[:2], site)
    mixed = policy(f, g, inputs[2], generator=rng(1))
    assert mixed.loss.requires_grad
    expected = textbook_loss(model, policy, site, inputs, mixed.lam.double(), mixed.perm)

    torch.testing.assert_close(mixed.loss, expected, rtol=1e-9, atol=1e-9)
    parameters = dict(model.named_parameters())
    mine = torch.autograd.grad(mixed.loss.mean(), list(parameters.values()))
    theirs = torch.autograd.grad(expected.mean(), list(parameters.values()))
    for name, one, other in zip(parameters, mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("site", CNN.sites)
@pytest.mark.parametrize("seed", range(3))
def test_the_step_of_lam_equals_finite_differences_of_the_textbook(site: str, seed: int) -> None:
    model, inputs = build(seed=seed), batch([2, 8, 5, 1, 1, 7], seed)
    with torch.no_grad():
        model.output.weight.mul_(20)
    policy = AMP(eps=1e-3, alpha=20.0)
    f, g = model.cut(*inputs[:2], site)
    mixed = policy(f, g, inputs[2], generator=rng(seed))
    ids, mask, y = inputs
    lam, perm, h = mixed.lam, mixed.perm, 1e-7

    def at(value: Tensor) -> Tensor:
        """The label keeps lam; only the hidden state moves."""
        weight = value.unsqueeze(-1)
        words = F.embedding(ids, model.embedding)
        if site != "sent":
            both = weight.unsqueeze(-1) * words + (1 - weight.unsqueeze(-1)) * words[perm]
            logits = textbook(model, both, mask | mask[perm], None)
        else:
            logits = textbook(model, words, mask, lambda x: weight * x + (1 - weight) * x[perm])
        return interpolate_loss(cross_entropy, logits, y, lam, perm)

    with torch.no_grad():
        slope = (at(lam + h) - at(lam - h)) / (2 * h)
    assert (slope.abs() > 0.01).any()
    shown = (mixed.lam_adv - lam) / policy.eps
    torch.testing.assert_close(shown, slope.clamp(-1, 1), rtol=1e-6, atol=1e-6)


def test_the_step_of_lam_is_zero_where_partners_are_equal() -> None:
    model = build()
    ids, mask, y = batch([4, 4])
    f, g = model.cut(ids[[0, 0]], mask[[0, 0]], "word")
    mixed = AMP(eps=0.5)(f, g, y, generator=rng())
    assert torch.equal(mixed.lam_adv, mixed.lam)


# --- padding -----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_columns_of_padding_change_nothing(lengths: list[int], columns: int, seed: int) -> None:
    model = build(seed=seed).eval()
    ids, mask, _ = batch(lengths, seed)
    wider = model(F.pad(ids, (0, columns)), F.pad(mask, (0, columns)))
    torch.testing.assert_close(wider, model(ids, mask), rtol=0, atol=1e-13)


@every_site
@pytest.mark.parametrize("policy", VARIANTS, ids=spec)
def test_columns_of_padding_change_no_loss_and_no_gradient(
    backbone: Any, site: str, policy: Policy
) -> None:
    model = build(backbone).eval()
    ids, mask, y = batch([2, 5, 1, 3])
    results = []
    for columns in (0, 4):
        f, g = model.cut(F.pad(ids, (0, columns)), F.pad(mask, (0, columns)), site)
        loss = policy(f, g, y, generator=rng()).loss
        grads = torch.autograd.grad(loss.mean(), list(model.parameters()), allow_unused=True)
        results.append([loss, *(grad for grad in grads if grad is not None)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@every_backbone
def test_a_text_alone_and_beside_longer_ones_gives_the_same(backbone: Any) -> None:
    model = build(backbone).eval()
    ids, mask, _ = batch([3, 9, 1, 6])
    together = model(ids, mask)
    for i, length in enumerate([3, 9, 1, 6]):
        alone = model(ids[i : i + 1, :length], mask[i : i + 1, :length])
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("site", CNN.sites)
def test_padding_never_wins_the_maximum(site: str) -> None:
    """Every word lowers a feature below zero, and the bias alone, which padding has, is large."""
    model = build()
    with torch.no_grad():
        model.filters.fill_(-1e9)  # whatever lam leaves of a word, the feature is below zero
        model.embedding[1:].fill_(1.0)
        model.bias.fill_(5.0)
    ids, mask, y = batch([1, 9, 2])
    f, g = model.cut(ids, mask, site)
    bias = model.output.bias.expand(3, CLASSES)
    assert torch.equal(f(*g), bias), "all features are zero"
    mixed = Mixup()(f, g, y, generator=rng())
    expected = interpolate_loss(cross_entropy, bias, y, mixed.lam, mixed.perm)
    torch.testing.assert_close(mixed.loss, expected)


def test_the_partners_words_count_where_the_own_text_has_ended() -> None:
    """The union of the masks: a long partner's last word must be able to win the maximum."""
    model = build(TextCNN(1, (1,), 1, dropout=0.0))
    with torch.no_grad():
        model.filters.fill_(1.0)
        model.bias.zero_()
        model.embedding.copy_(torch.arange(VOCABULARY).unsqueeze(-1))
    ids = torch.tensor([[1, 0, 0], [2, 3, 9]])
    f, g = model.cut(ids, ids > 0, "word")
    lam, perm = torch.tensor([0.5, 0.25]).double(), torch.tensor([1, 0])
    assert type(f).mixed_logits is not Head.mixed_logits
    logits = f.mixed_logits(g, lam, perm, partners_of(g, perm))
    features = torch.tensor([[4.5], [2.25]]).double()  # .5 * 0 + .5 * 9 and .25 * 9 + .75 * 0
    torch.testing.assert_close(logits, features @ model.output.weight.T + model.output.bias)


# --- the fused operations ----------------------------------------------------------------------


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_fused_mixing_equals_mixing_first(lengths: list[int], dropout: float) -> None:
    model = build(TextCNN(5, (2, 3, 4), 3, dropout=dropout)).train()
    ids, mask, _ = batch(lengths)
    f, (h, windows) = model.cut(ids, mask, "word", generator=rng(5))
    perm = pair((len(lengths),), generator=rng(1))
    results = []
    for fused in (True, False):
        lam = torch.rand(len(lengths), generator=rng(2), dtype=torch.float64).requires_grad_()
        leaf = h.detach().requires_grad_()
        if fused:
            logits = f.mixed_logits((leaf, windows), lam, perm, partners_of((leaf, windows), perm))
        else:
            logits = f(mix(leaf, lam, perm), windows | windows[perm])
        weights = torch.randn(logits.shape, generator=rng(3), dtype=torch.float64)
        results.append([logits, *torch.autograd.grad((logits * weights).sum(), [leaf, lam])])
    for fused_one, composite in zip(*results, strict=True):
        torch.testing.assert_close(fused_one, composite, rtol=0, atol=1e-12)


def test_hidden_states_may_lie_in_memory_in_any_order() -> None:
    """What a caller mixed need not be contiguous."""
    model = build()
    f, (h, windows) = model.cut(*batch([2, 8, 5])[:2], "word")
    turned = h.detach().transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    torch.testing.assert_close(f(turned, windows), f(h, windows), rtol=0, atol=0)


@pytest.mark.slow
@every_word_site  # an encoder has too many parameters, and is compared with transformers' own
def test_gradients_of_all_parameters_pass_gradcheck(backbone: Any, site: str) -> None:
    """Through the module's own operations; the embedding's row 0, padding, gets none."""
    model, (ids, mask, _) = build(backbone).eval(), batch([3, 1, 4])
    names = [name for name, _ in model.named_parameters()]

    def logits(*values: Tensor) -> Tensor:
        given = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
        if "embedding" in names:
            words = given["model.embedding"]
            given["model.embedding"] = torch.cat([torch.zeros_like(words[:1]), words])
        f, g = torch.func.functional_call(_Cut(model), given, (ids, mask, site))
        return f(*g)

    leaves = [
        (p[1:] if name == "embedding" else p).detach().clone().requires_grad_()
        for name, p in model.named_parameters()
    ]
    assert torch.autograd.gradcheck(logits, leaves)


class _Cut(torch.nn.Module):
    """``model.cut`` as a forward, for functional_call."""

    def __init__(self, model: CutModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        return self.model.cut(*inputs)


@pytest.mark.parametrize("perm", [[1, 2, 3, 0], [1, 0, 3, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("needed", ["both", "h", "lam"])
def test_gradients_of_fused_mixing_pass_gradcheck(perm: list[int], needed: str) -> None:
    ids, mask, _ = batch([2, 6, 3, 1])
    f, (h, windows) = build().cut(ids, mask, "word")
    h = h.detach().requires_grad_(needed != "lam")
    lam = torch.rand(4, generator=rng(1), dtype=torch.float64).requires_grad_(needed != "h")
    order = torch.tensor(perm)

    def logits(h: Tensor, lam: Tensor) -> Tensor:
        return f.mixed_logits((h, windows), lam, order, partners_of((h, windows), order))

    assert torch.autograd.gradcheck(logits, (h, lam))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_precision_model_trains(dtype: torch.dtype) -> None:
    model, (ids, mask, y) = build(dtype=dtype), batch([2, 8, 5, 1])
    f, g = model.cut(ids, mask, "word")
    mixed = AMP(eps=0.1)(f, g, y, generator=rng())
    mixed.loss.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert mixed.lam_adv.dtype == torch.float32
    assert not torch.equal(mixed.lam_adv, mixed.lam)


@every_site
@pytest.mark.parametrize("policy", VARIANTS, ids=spec)
def test_a_model_trains_under_autocast(backbone: Any, site: str, policy: Policy) -> None:
    model, (ids, mask, y) = build(backbone, dtype=torch.float32).eval(), batch([2, 8, 5, 1])
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            f, g = model.cut(ids, mask, site)
            loss = policy(f, g, y, generator=rng()).loss
        grads = torch.autograd.grad(loss.mean(), list(model.parameters()), allow_unused=True)
        results.append([loss.float(), *(grad for grad in grads if grad is not None)])
    for exact, rough in zip(*results, strict=True):
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)


# --- the cut, for every backbone ---------------------------------------------------------------


@every_site
@pytest.mark.parametrize("training", [True, False])
def test_f_of_g_is_forward(backbone: Any, site: str, training: bool) -> None:
    model, (ids, mask, _) = build(backbone).train(training), batch([4, 1, 6])
    f, g = model.cut(ids, mask, site, generator=rng(3))
    other, hidden = model.cut(ids, mask, generator=rng(3))
    assert isinstance(g, tuple)
    assert f(*g).shape == (3, CLASSES)
    torch.testing.assert_close(f(*g), other(*hidden), rtol=0, atol=1e-12)
    if not training:
        torch.testing.assert_close(f(*g), model(ids, mask), rtol=0, atol=1e-12)


@every_site
def test_f_is_deterministic_though_training_and_draws_from_its_generator_alone(
    backbone: Any, site: str
) -> None:
    model, (ids, mask, _) = build(backbone).train(), batch([4, 1, 6])
    before = torch.get_rng_state()
    f, g = model.cut(ids, mask, site, generator=rng(3))
    first = f(*g)
    assert torch.equal(first, f(*g))
    again, hidden = model.cut(ids, mask, site, generator=rng(3))
    assert torch.equal(first, again(*hidden))
    other, hidden = model.cut(ids, mask, site, generator=rng(4))
    assert not torch.equal(first, other(*hidden)), "another generator, other dropout masks"
    assert torch.equal(torch.get_rng_state(), before)


@every_backbone
def test_every_site_draws_as_much_from_the_dropout_generator(backbone: Any) -> None:
    """Or the policies of one comparison would see different masks from the second step on."""
    model, (ids, mask, _) = build(backbone).train(), batch([4, 1, 6])
    states = []
    for site in (None, *backbone.sites):
        generator = rng(3)
        model.cut(ids, mask, site, generator=generator)
        states.append(generator.get_state())
    assert not torch.equal(states[0], rng(3).get_state())
    assert all(torch.equal(states[0], state) for state in states)


@every_site
def test_no_dropout_in_evaluation(backbone: Any, site: str) -> None:
    model, (ids, mask, _) = build(backbone).eval(), batch([4, 1, 6])
    generator = rng(3)
    f, g = model.cut(ids, mask, site, generator=generator)
    assert torch.equal(generator.get_state(), rng(3).get_state())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = model(ids, mask)
        torch.manual_seed(1)
        assert torch.equal(one, model(ids, mask))
    torch.testing.assert_close(f(*g), one, rtol=0, atol=1e-12)


@every_backbone
@pytest.mark.parametrize("site", ["words", "", "encoder.0"])
def test_an_unknown_site_is_refused_with_those_there_are(backbone: Any, site: str) -> None:
    ids, mask, _ = batch([3])
    with pytest.raises(AmpmixError) as error:
        build(backbone).cut(ids, mask, site)
    assert all(known in str(error.value) for known in backbone.sites)


@every_backbone
def test_initial_weights_come_from_the_generator_alone(backbone: Any) -> None:
    before = torch.get_rng_state()
    models = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.full((1000, 1000), float("nan"))  # memory that a weight left empty might show
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise)
            models.append(build(backbone, seed).state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    build(backbone)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in models[0].items():
        assert weight.isfinite().all()
        assert torch.equal(weight, models[1][name])
    assert any(not torch.equal(weight, models[2][name]) for name, weight in models[0].items())


def test_initial_weights_follow_the_usual_distributions() -> None:
    config = TextCNN(embedding_dim=20, filter_sizes=(3, 5), feature_maps=50)
    model = config.build(reader_of(500), CLASSES, rng())
    assert not model.embedding[0].any()
    parts = {
        0.25: [model.embedding[1:]],
        60**-0.5: [model.filters[:, :3], model.bias[:50]],
        100**-0.5: [model.filters[:, 3:], model.bias[50:], model.output.weight],
    }
    for bound, weights in parts.items():
        for weight in weights:
            assert weight.abs().max() <= bound
            assert weight.abs().max() > 0.9 * bound
            assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


# --- dropout and the padding row ---------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    scale = dropout_scale(torch.empty(200, 500), p, True, rng())
    assert scale is not None
    assert (scale == 0).double().mean().item() == pytest.approx(p, abs=0.01)
    kept = scale[scale > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)))
    assert dropout_scale(torch.empty(3), p, False, rng()) is None
    assert dropout_scale(torch.empty(3), 0.0, True, rng()) is None


@pytest.mark.parametrize("site", CNN.sites)
def test_dropout_falls_on_the_pooled_features_after_the_site(site: str) -> None:
    config = TextCNN(5, (2, 3, 4), 3, dropout=0.5)
    model, (ids, mask, _) = build(config).train(), batch([4, 1, 6])
    f, g = model.cut(ids, mask, site, generator=rng(3))
    scale = dropout_scale(torch.empty(3, 9).double(), 0.5, True, rng(3))
    words = F.embedding(ids, model.embedding)
    expected = textbook(model, words, mask, lambda features: features * scale)
    torch.testing.assert_close(f(*g), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", VARIANTS, ids=spec)
@pytest.mark.parametrize("site", CNN.sites)
def test_the_embedding_of_padding_stays_zero(policy: Policy, site: str) -> None:
    model = build(dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, weight_decay=0.01)
    for step in range(3):
        ids, mask, y = batch([2, 6, 1, 3], step)
        f, g = model.cut(ids, mask, site)
        optimizer.zero_grad()
        policy(f, g, y, generator=rng(step)).loss.mean().backward()
        assert model.embedding.grad is not None
        assert not model.embedding.grad[0].any()
        assert model.embedding.grad[1:].any()
        optimizer.step()
    assert not model.embedding[0].any()
