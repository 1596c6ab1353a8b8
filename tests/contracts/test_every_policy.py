"""Contracts of every policy on texts with padding, in every way that ampmix trains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix import AmpmixError, MixStep, MixupTextClassifier, NoMixup, TextCNN
from ampmix._support.components import POLICIES, find, spec
from ampmix.backbones.encoder import Encoder
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.splits import split_train
from ampmix.mixing import cross_entropy
from ampmix.policies.base import Learner, Policy
from ampmix.training.checks import check_trainable
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.replicas import fit_many
from every_policy import every_policy_and_choice
from naive_texts import CLASSES, WIDTH, WORDS, Reader, rng, texts

EVERY = every_policy_and_choice()
ALONE = [policy for policy in EVERY if not policy.pairs]
every = pytest.mark.parametrize("policy", EVERY, ids=spec)
alone = pytest.mark.parametrize("policy", ALONE, ids=spec)


def ready(policy: Policy) -> Learner:
    return policy.prepare((WORDS, WIDTH), CLASSES, rng(11))


@alone
def test_padding_is_neither_moved_nor_heeded(policy: Policy) -> None:
    states, mask, y = texts()
    results = []
    for filled in (states, torch.where(mask.unsqueeze(-1), states, 1e3)):
        f, x = Reader(), filled.clone().requires_grad_()
        mixed = ready(policy)(f, (x, mask), y, generator=rng())
        (grad,) = torch.autograd.grad(mixed.loss.sum(), x)
        assert not grad[~mask].any()
        assert len(f.given) >= 1
        for given, seen in f.given:
            assert torch.equal(given[~mask], filled[~mask])
            assert torch.equal(seen, mask)
        results.append((mixed.loss, grad[mask]))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def heeds_its_own_label_alone(policy: Policy, states: Tensor, mask: Tensor, y: Tensor) -> bool:
    """True if no text's loss changes with the labels of others."""
    kept = []
    for i in range(len(y)):
        others = (y + 1) % CLASSES
        others[i] = y[i]
        losses = [
            ready(policy)(Reader(), (states, mask), t, generator=rng()).loss for t in (y, others)
        ]
        kept.append(torch.equal(losses[0][i], losses[1][i]))
    return all(kept)


@every
def test_examples_that_are_not_mixed_are_their_own_partners(policy: Policy) -> None:
    states, mask, y = texts()
    mixed = ready(policy)(Reader(), (states, mask), y, generator=rng())
    own = bool((mixed.perm == torch.arange(len(y))).all())
    assert own or policy.pairs
    assert heeds_its_own_label_alone(policy, states, mask, y) or not own


@every
def test_the_loss_is_finite_for_texts_of_one_word_and_for_states_of_zero(policy: Policy) -> None:
    _, mask, y = texts()
    for states in (torch.zeros(6, WORDS, WIDTH, dtype=torch.float64), texts()[0]):
        for held in (mask, torch.arange(WORDS).expand(6, -1) < 1):
            f, x = Reader(), states.clone().requires_grad_()
            mixed = ready(policy)(f, (x, held), y, generator=rng())
            grads = torch.autograd.grad(mixed.loss.sum(), [x, *f.parameters()])
            assert mixed.loss.isfinite().all()
            assert all(grad.isfinite().all() for grad in grads)


@every
def test_two_seeds_side_by_side_are_each_alone(policy: Policy) -> None:
    states, mask, y = texts(6)
    if policy.learns:
        pytest.skip("parameters of its own")
    f = Reader()
    both = [t.reshape(2, 3, *t.shape[1:]) for t in (states, mask, y)]
    together = policy(f, (both[0], both[1]), both[2], generator=[rng(0), rng(1)])
    for s in range(2):
        own = policy(f, (both[0][s], both[1][s]), both[2][s], generator=rng(s))
        torch.testing.assert_close(together.loss[s], own.loss, rtol=0, atol=1e-12)
        assert torch.equal(together.perm[s], own.perm)


# --- exact reductions --------------------------------------------------------------------------

REDUCED = [
    "fgm[eps=0.0]",
    "fgm[weight=0.0]",
    "pgd[eps=0.0]",
    "pgd[weight=0.0]",
    "pgd[eps=0.0,weight=0.3]",
    "vat[eps=0.0]",
    "vat[weight=0.0]",
    "rdrop",
    "rdrop[weight=0.0]",
    "r3f[eps=0.0]",
    "r3f[weight=0.0]",
    "freelb[eps=0.0]",
    "freelb[steps=1]",
    "avmixup[eps=0.0,kept=1.0]",
    "avmixup[gamma=0.0,kept=1.0]",
    "vmt[weight=0.0]",
    "selftrain",
    "cutoff[share=0.0]",
    "cutoff[share=0.0,cut=tokens]",
    "cutoff[share=0.0,cut=features]",
    "adamixup[weight=0.0,intrusion=0.0]",
]
AS_MIXUP = [
    "untied[kept=0.0,lam=any]",
    "amp[eps=0.0]",
    "amp[eps=0.0,steps=3]",
    "mixtext[alpha=1.0,lam=any]",
]
AT_ONE = [
    "mixup",
    "mixtext",
    "vmt",
    "cutmix",
    "amp[eps=0.0]",
    "untied",
    "untied[kept=0.0]",
    "avmixup",
    "metamixup[step=0.0]",
    "metamixup[rate=0.0]",
]


def losses_and_gradients(policy: Policy, padded: bool = True, **options: Any) -> list[Tensor]:
    states, mask, y = texts()
    mask = mask if padded else torch.ones_like(mask)
    f, x = Reader(), states.clone().requires_grad_()
    loss = ready(policy)(f, (x, mask), y, generator=rng(), **options).loss
    return [loss, *torch.autograd.grad(loss.mean(), [x, *f.parameters()])]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("text", REDUCED)
def test_nothing_done_is_the_plain_loss(text: str) -> None:
    """An f without dropout: R-Drop's two draws are then one."""
    reduced = losses_and_gradients(POLICIES.parse(text))
    assert_same(reduced, losses_and_gradients(NoMixup()))


@pytest.mark.parametrize("text", AS_MIXUP)
def test_nothing_but_mixing_is_mixup(text: str) -> None:
    reduced, mixup = (losses_and_gradients(POLICIES.parse(one)) for one in (text, "mixup"))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(reduced, mixup, strict=True))


@pytest.mark.parametrize("text", AT_ONE)
def test_lam_of_one_is_the_plain_loss(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ones(alpha: float, shape: Any, *, generator: Any, device: Any, dtype: Any) -> Tensor:
        return torch.ones(shape, dtype=dtype)

    monkeypatch.setattr("ampmix.policies.mixup.sample_lam", ones)
    monkeypatch.setattr("ampmix.policies.avmixup.sample_lam", ones)
    monkeypatch.setattr("ampmix.policies.metamixup.sample_lam", ones)
    reduced = losses_and_gradients(POLICIES.parse(text), padded=False)  # united masks are not own
    assert_same(reduced, losses_and_gradients(NoMixup(), padded=False))


def test_every_policy_that_can_be_reduced_is_in_the_table() -> None:
    named = {text.partition("[")[0] for text in (*REDUCED, *AS_MIXUP, *AT_ONE)}
    own = [cls for cls in find("ampmix.policies").values() if cls is NoMixup or cls.own_loss]
    assert named == set(find("ampmix.policies")) - {cls.name for cls in own}


# --- losses and weights ------------------------------------------------------------------------


@every
def test_smoothed_labels_and_weighted_classes_reach_the_loss(policy: Policy) -> None:
    if policy.own_loss:
        pytest.skip("a loss of its own")
    weights = torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64)

    def smoothed(logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits, y, smoothing=0.3)

    def weighted(logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits, y, weights=weights)

    plain = losses_and_gradients(policy)[0]
    for loss in (smoothed, weighted):
        assert not torch.allclose(losses_and_gradients(policy, loss=loss)[0], plain)


@every
def test_what_is_no_classification_is_refused_where_classes_are_compared(policy: Policy) -> None:
    states, mask, y = texts()

    def several(logits: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(-1)

    def squared(logits: Tensor, y: Tensor) -> Tensor:
        return (logits[..., 0] - y) ** 2

    for loss, targets in ((several, F.one_hot(y, CLASSES) + 1.0), (squared, y + 0.5)):
        call = {"generator": rng(), **({} if policy.own_loss else {"loss": loss})}
        if policy.needs_indices or policy.needs_classes:
            with pytest.raises(AmpmixError, match="class indices"):
                ready(policy)(Reader(), (states, mask), targets.double(), **call)
        else:
            assert (
                ready(policy)(Reader(), (states, mask), targets.double(), **call)
                .loss.isfinite()
                .all()
            )


@every
def test_class_probabilities_are_targets_like_class_indices(policy: Policy) -> None:
    states, mask, y = texts()
    plain = ready(policy)(Reader(), (states, mask), y, generator=rng()).loss
    soft = F.one_hot(y, CLASSES).double()
    if policy.needs_indices:
        with pytest.raises(AmpmixError, match="class indices"):
            ready(policy)(Reader(), (states, mask), soft, generator=rng())
        return
    loss = ready(policy)(Reader(), (states, mask), soft, generator=rng()).loss
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=1e-6)


# --- options out of range ----------------------------------------------------------------------

REFUSED = {
    "mixup": ["pairing=far", "lam=min", "alpha=-1.0"],
    "amp": ["pairing=far", "lam=min", "direction=down", "eps=-0.1", "steps=0", "per=word"],
    "fgm": ["eps=-0.1", "eps=nan", "eps=inf", "weight=-0.1", "weight=1.1", "weight=nan"],
    "pgd": ["eps=-1", "steps=0", "steps=-3", "weight=2.0"],
    "vat": [
        "eps=-1",
        "steps=0",
        "weight=-1.0",
        "weight=inf",
        "xi=0.0",
        "xi=nan",
        "unlabelled=-1.0",
    ],
    "rdrop": ["weight=-0.1", "weight=nan", "weight=inf"],
    "cutoff": ["share=-0.1", "share=1.5", "share=nan", "weight=-1.0", "cut=words"],
    "cutmix": ["alpha=0.0", "alpha=nan"],
    "r3f": ["eps=-1", "weight=-1.0", "weight=nan"],
    "freelb": ["steps=0", "eps=-0.1", "eps=nan"],
    "avmixup": ["alpha=0.0", "gamma=-1.0", "kept=1.5", "steps=0", "eps=-1"],
    "vmt": ["alpha=0.0", "weight=-1.0", "weight=inf", "unlabelled=nan"],
    "selftrain": ["rounds=0", "T=0.0", "T=nan", "unlabelled=-1.0", "unlabelled=nan"],
    "mixtext": [
        "alpha=0.0",
        "T=-1.0",
        "draws=0",
        "unlabelled=inf",
        "ramp=1.5",
        "eps=-0.1",
        "lam=min",
    ],
    "adamixup": ["weight=1.5", "weight=nan", "intrusion=-1.0", "intrusion=inf", "width=0"],
    "metamixup": ["alpha=0.0", "rate=-0.1", "rate=nan", "step=-1.0", "step=inf"],
    "untied": ["alpha=0", "kept=-0.1", "kept=1.5", "kept=nan", "lam=min"],
}


@pytest.mark.parametrize(
    "text", [f"{name}[{option}]" for name, options in REFUSED.items() for option in options]
)
def test_an_option_out_of_range_is_refused_with_its_value(text: str) -> None:
    option, _, value = text.partition("[")[2].rstrip("]").partition("=")
    with pytest.raises(AmpmixError, match=f"{option} is '?{value}.*: it must be"):
        POLICIES.parse(text)


# --- in every way that ampmix trains -----------------------------------------------------------

ROWS = tuple(" ".join(f"w{(i * k) % 11}" for k in range(1, 3 + i % 6)) for i in range(1, 41))
DATA = TextDataset("toy", ("a", "b"), Examples(ROWS, [i % 2 for i in range(40)]))
CONFIG = TrainConfig(steps=4, batch_size=8, lr=0.02, eval_every=4, label_smoothing=0.0)
CNN = TextCNN(embedding_dim=6, feature_maps=3)


@every
def test_seeds_in_one_call_are_those_of_single_runs(policy: Policy) -> None:
    splits = [split_train(DATA, seed, dev_fraction=0.2) for seed in range(2)]
    many = fit_many(CNN, policy, splits, CONFIG)
    for seed, one in enumerate(many):
        own = fit(CNN, policy, splits[seed], CONFIG, seed)
        found = [reading.train_loss for reading in one.curve]  # type: ignore[union-attr]
        assert found == pytest.approx([r.train_loss for r in own.curve], rel=1e-4)


@every
def test_scikit_learn_trains_it_with_and_without_weights(policy: Policy) -> None:
    settings: dict[str, Any] = {"steps": 3, "batch_size": 7, "lr": 0.05, "dev_size": 0.0}
    states = []
    for weights in (None, np.arange(1, 41)):
        model = MixupTextClassifier(spec(policy), CNN, random_state=1, **settings)
        model.fit(ROWS, DATA.train.labels, weights)
        states.append(model.classifier_.model.state_dict())
        assert all(value.isfinite().all() for value in states[-1].values())
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])


class Words(nn.Module):
    """A model of words with a mask, cut at a submodule's path."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.dropout = nn.Embedding(20, WIDTH, padding_idx=0), nn.Dropout(0.3)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(inplace=True), nn.Linear(8, 4))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        x = self.dropout(self.embed(input_ids)).tanh() * attention_mask.unsqueeze(-1)
        return {"logits": self.layers(x.sum(1))}


@every
def test_mix_step_trains_any_model_with_it(policy: Policy) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Words()
        step = MixStep(model, ready(policy), site="embed", generator=rng())
        ids = torch.randint(1, 20, (8, WORDS))
        mask = torch.arange(WORDS) < torch.tensor([1, 2, 3, 4, 5, 5, 3, 2]).unsqueeze(-1)
        y = torch.randint(4, (8,))
        for _ in range(2):
            output = step(input_ids=ids * mask, attention_mask=mask.long(), labels=y)
            output["loss"].backward()
    assert output["loss"].isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any(), name
    assert not model.embed.weight.grad[0].any(), "padding"


@every
def test_what_a_policy_needs_is_asked_for_before_training(policy: Policy) -> None:
    split, dry = split_train(DATA, 0, dev_fraction=0.2), replace(CNN, dropout=0.0)
    if policy.needs_dropout:
        with pytest.raises(AmpmixError, match=r"dropout=0.*dropout=0\.1"):
            check_trainable(dry, policy, split, CONFIG)
    else:
        check_trainable(dry, policy, split, CONFIG)
    if policy.mixing_site is None:
        return
    at_sent = replace(policy, site="sent")  # type: ignore[call-arg]
    if policy.needs_words:
        with pytest.raises(AmpmixError, match="take another site, such as word"):
            check_trainable(CNN, at_sent, split, CONFIG)
    else:
        check_trainable(CNN, at_sent, split, CONFIG)


def test_an_encoder_has_dropout_unless_it_is_frozen_without() -> None:
    assert Encoder(dropout=0.0).drops
    assert not Encoder(dropout=0.0, freeze=True).drops


# --- with other people's trainers --------------------------------------------------------------


def others() -> list[Policy]:
    return [policy for policy in EVERY if not policy.learns]


@pytest.mark.slow
@pytest.mark.parametrize("policy", others(), ids=spec)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_trainer_of_transformers_trains_with_it(policy: Policy, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from ampmix.integrations.transformers import MixupTrainer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(
            transformers.BertConfig(
                vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=8, max_position_embeddings=WORDS, num_labels=4,
            )
        )  # fmt: skip
        before = {name: value.clone() for name, value in model.state_dict().items()}
        rows = [
            {
                "input_ids": [1 + (i * k) % 19 for k in range(1, 2 + i % WORDS)]
                + [0] * (WORDS - 1 - i % WORDS),
                "attention_mask": [1] * (1 + i % WORDS) + [0] * (WORDS - 1 - i % WORDS),
                "labels": i % 4,
            }
            for i in range(24)
        ]
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=2, per_device_train_batch_size=8, report_to=[],
            save_strategy="no", disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        trainer = MixupTrainer(model=model, args=arguments, train_dataset=rows, policy=policy)
        trainer.train()
    after = model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("policy", others(), ids=spec)
@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_with_it(policy: Policy) -> None:
    pl = pytest.importorskip("pytorch_lightning")
    from ampmix.integrations.lightning import MixupCallback

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = Words()

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.net(input_ids, attention_mask)["logits"]

        def training_step(self, batch: Any, _: int) -> Tensor:
            ids, mask, y = batch
            return F.cross_entropy(self(ids, mask), y)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Module()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        _, mask, y = texts(7)
        ids = torch.randint(1, 20, (7, WORDS)) * mask
        batches = torch.utils.data.TensorDataset(ids, mask.long(), y)
        trainer = pl.Trainer(
            max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
            callbacks=[MixupCallback(policy, site="net.embed")],
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=7))
    after = module.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in before)


# --- cost ----------------------------------------------------------------------------------------

TABLE = Path(__file__).parents[2] / "docs/policies.md"
MEASURED = Path(__file__).parents[2] / "benchmarks/results/policies.json"


class Counted(torch.autograd.Function):
    """Nothing, counted forwards and backwards."""

    calls: tuple[list[int], list[int]] = ([], [])

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Counted.calls[0].append(1)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        Counted.calls[1].append(1)
        return grads[0]


def passes(policy: Policy) -> int:
    """Passes of f in a step; a backward one for the hidden state alone counts for one."""
    Counted.calls = [], []
    states, mask, y = texts()
    f = Reader()

    def counted(states: Tensor, mask: Tensor) -> Tensor:
        return Counted.apply(f(states, mask))  # type: ignore[no-any-return, no-untyped-call]

    mixed = ready(policy)(counted, (states, mask), y, generator=rng())
    alone = len(Counted.calls[1])
    mixed.loss.sum().backward()
    return len(Counted.calls[0]) + alone + 2 * (len(Counted.calls[1]) - alone)


def rows_of(columns: int) -> dict[str, list[str]]:
    """Rows of the page's table with so many columns, by the first."""
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            rows[cells[0].replace("`", "")] = cells[1:]
    return rows


def test_the_table_has_every_policy_with_its_passes_site_and_needs() -> None:
    rows = rows_of(5)
    policies = {name: cls() for name, cls in find("ampmix.policies").items()}
    assert list(rows) == list(policies)
    for name, policy in policies.items():
        _, count, site, needs = rows[name]
        assert int(count) == passes(policy), name
        assert site.strip("`–") == (policy.mixing_site or "")
        assert ("classes" in needs) is policy.needs_classes
        assert ("dropout" in needs) is policy.needs_dropout
        assert ("words" in needs) is policy.needs_words


def test_the_table_has_the_measured_cost_of_a_step() -> None:
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))["ratios"]
    told: dict[str, dict[str, str]] = {}
    for key, row in measured.items():
        backbone, _, policy = key.removesuffix(" / none").partition(" ")
        name = policy.replace(" + unlabelled", ", texts without labels beside")
        told.setdefault(name, {})[backbone] = f"{row['ratio']:.1f}"
    columns = ("cnn", "bilstm", "minilm")
    assert rows_of(4) == {name: [own[one] for one in columns] for name, own in told.items()}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("pgd[steps=5]", 16),
        ("pgd[steps=2,weight=1.0]", 7),
        ("vat[steps=3]", 12),
        ("freelb[steps=5]", 23),
        ("amp[steps=3]", 9),
        ("amp[per=element]", 6),
    ],
)
def test_more_steps_cost_what_the_page_says(text: str, count: int) -> None:
    assert passes(POLICIES.parse(text)) == count
