"""Fine-tuned BERTs with an axis of seeds beside transformers' own, each trained alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from ampmix._torch.generators import Ragged
from ampmix.backbones.encoder import Encoder, MiniLM
from ampmix.backbones.stacked.bert import StackedBert
from ampmix.data.dataset import Examples, Split
from ampmix.policies.amp import AMP
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.replicas import fit_many
from ampmix.training.stack import unstackable
from ampmix.training.training_run import Fit
from built_encoders import rng
from every_policy import at_sites, every_policy_and_site
from tiny_encoders import LAYERED, WORDS, save

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SEEDS = (3, 0, 7)
CONFIG = TrainConfig(
    steps=12, batch_size=5, lr=0.01, optimizer="adamw", weight_decay=0.1, eval_every=4, clip=1.0,
    selection="last", batches="length",
)  # fmt: skip
POLICIES: list[Any] = [
    NoMixup(),
    *(Mixup(site=site) for site in ("word", "layer.1", "layer.3", "sent")),
    *(AMP(eps=0.3, site=site) for site in ("embedding", "layer.2", "layer.3", "sent")),
    AMP(eps=0.1, site="word", min_op=False),
]
BERT = MiniLM()
OTHERS = [
    pytest.param(at_site, marks=pytest.mark.slow)
    for policy in every_policy_and_site()
    if type(policy) not in map(type, POLICIES) and not unstackable(BERT, policy)
    for at_site in at_sites(policy)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT of three layers that drops nothing."""
    save("deep bert", tmp_path)
    config = transformers.BertConfig.from_pretrained(tmp_path)
    for name, value in NO_DROPOUT.items():
        setattr(config, name, value)
    config.save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is built is float64."""

    def build(*args: Any, real: Any = Encoder.build) -> Any:
        return real(*args).double()

    monkeypatch.setattr(Encoder, "build", build)


def split(seed: int, texts: int) -> Split:
    """Texts of up to 14 words, a number that leaves a last batch of its own size."""
    draw = np.random.default_rng(seed)
    made = [" ".join(draw.choice(WORDS[5:], draw.integers(1, 14))) for _ in range(texts)]
    part = Examples(made, [*range(3), *draw.integers(0, 3, texts - 3).tolist()])
    rows = np.arange(texts)
    return Split("things", "", ("x", "y", "z"), "words", part, part, part, rows, rows, rows, "")


SPLITS = [split(3, 22), split(0, 16), split(7, 19)]


def weights_of(one: Fit) -> dict[str, Tensor]:
    return dict(one.classifier.model.named_parameters())


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("pooling", ["head", "mean"])
@pytest.mark.parametrize("policy", [*POLICIES, *OTHERS], ids=str)
def test_each_seed_of_a_stack_is_that_seed_alone(pooling: str, policy: Any, folder: Path) -> None:
    backbone = Encoder(model=str(folder), pooling=pooling, dropout=0.0)
    assert unstackable(backbone, policy) == ""
    together = fit_many(backbone, policy, SPLITS, CONFIG, SEEDS)
    for part, seed, one in zip(SPLITS, SEEDS, together, strict=True):
        assert isinstance(one, Fit)
        alone = fit(backbone, policy, part, CONFIG, seed)
        assert one.test_wrong.tolist() == alone.test_wrong.tolist()
        assert [reading.step for reading in one.curve] == [4, 8, 12]
        for name, weight in weights_of(alone).items():
            torch.testing.assert_close(
                weights_of(one)[name], weight, rtol=0, atol=1e-9, msg=f"{seed}: {name}"
            )


Pass = Callable[..., tuple[Any, Any]]


@pytest.fixture
def cut(folder: Path) -> Pass:
    """Cuts a stack of three models with dropout of some kind."""
    backbone = Encoder(model=str(folder), dropout=0.0)
    reader = backbone.reader([], "words", 16)
    models = [backbone.build(reader, 3, rng(seed)).double() for seed in SEEDS]
    named = [dict(model.named_parameters()) for model in models]
    stacking = backbone.stacking
    assert isinstance(stacking, StackedBert)
    weights = {n: torch.stack([own[n].detach() for own in named]) for n in stacking.weights}
    ids = torch.randint(5, len(WORDS), (3, 6, 9), generator=rng(1))
    mask = torch.arange(9) < torch.randint(1, 10, (3, 6, 1), generator=rng(2))

    def made(site: str, seed: int = 0, sizes: Any = (6, 6, 4), **options: float) -> Any:
        dropout = Ragged(tuple(rng(seed + i) for i in range(3)), sizes)
        return replace(stacking, **options).cut(weights, ids, mask, site, dropout)  # type: ignore[arg-type]

    return made


@pytest.mark.parametrize("kind", ["hidden_dropout", "attention_dropout", "dropout"])
@pytest.mark.parametrize("site", ["word", "layer.1", "layer.2"])
def test_every_dropout_drops_and_f_is_a_function(kind: str, site: str, cut: Pass) -> None:
    f, g = cut(site)
    whole = f(*g)
    f, g = cut(site, **{kind: 0.4})
    dropped = f(*g)
    assert torch.equal(f(*g), dropped)
    assert not torch.allclose(dropped, whole)
    assert not torch.equal(f.redrawn()(*g), dropped)
    again, h = cut(site, **{kind: 0.4})
    assert torch.equal(again(*h), dropped), "a seed draws the same"
    other, h = cut(site, 100, **{kind: 0.4})
    assert not torch.equal(other(*h), dropped)


@pytest.mark.parametrize("kind", ["hidden_dropout", "attention_dropout"])
def test_what_is_dropped_is_as_large_on_average(kind: str, cut: Pass) -> None:
    """The first layer's output: its mean over many draws is near that of none dropped."""
    full: Any = {"sizes": (6, 6, 6)}  # what rows that only fill up keep does not matter
    _, (whole, _) = cut("layer.1", **full)
    draws = torch.stack([cut("layer.1", 10 * i, **full, **{kind: 0.02})[1][0] for i in range(400)])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - whole).abs() > 5 * error + 0.01).double().mean() < 0.01
    assert (draws[0] != whole)[0].any()


def test_minilm_is_one_and_other_encoders_are_not(folders: dict[str, str]) -> None:
    assert isinstance(MiniLM().stacking, StackedBert)
    assert MiniLM().stacking.attention_dropout == MiniLM().stacking.hidden_dropout == 0.1  # type: ignore[union-attr]
    for kind in LAYERED:
        stacked = Encoder(model=folders[kind]).stacking is not None
        assert stacked == (kind == "deep bert"), kind
    assert MiniLM(train_layers=2).stacking is None
    assert Encoder(model="/nowhere/at/all").stacking is None
    assert "no form with an axis" in unstackable(MiniLM(train_layers=1), AMP())
