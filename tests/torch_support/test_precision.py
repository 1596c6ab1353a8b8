"""--precision: what it changes, what it leaves alone, and what it may be."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ampmix._support.components import spec
from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.text_cnn import TextCNN
from ampmix.cli.main import main
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.splits import split_holdout
from ampmix.errors import AmpmixError
from ampmix.policies.amp import AMP
from ampmix.policies.base import Policy
from ampmix.policies.none import NoMixup
from ampmix.training.checks import check_trainable
from ampmix.training.config import TrainConfig
from ampmix.training.fit import fit
from ampmix.training.replicas import fit_many
from every_policy import every_policy_and_site
from tiny_encoders import TINY

WORDS = "a cat dog rose oak runs grows lies grey red ? apple train music".split()  # noqa: SIM905
CNN = TextCNN(embedding_dim=16, filter_sizes=(1, 3), feature_maps=8)
LSTM = BiLSTMAttention(embedding_dim=16, hidden_size=16)
CONFIG = TrainConfig(steps=6, batch_size=16, lr=0.01, eval_every=1, selection="last")
HALF = replace(CONFIG, precision="bfloat16")


@pytest.fixture
def data() -> Split:
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(2, 9))) for _ in range(80)]
    labels = [i % 3 for i in range(80)]
    train, test = Examples(texts[:60], labels[:60]), Examples(texts[60:], labels[60:])
    return split_holdout(TextDataset("made up", ("x", "y", "z"), train=train, test=test), 0)


@pytest.mark.slow
@pytest.mark.parametrize("policy", every_policy_and_site(), ids=spec)
@pytest.mark.parametrize("backbone", [CNN, LSTM, Encoder(model=TINY)], indirect=True, ids=str)
def test_bfloat16_is_close_but_not_the_same(backbone: Any, policy: Policy, data: Split) -> None:
    full, half = (fit(backbone, policy, data, config) for config in (CONFIG, HALF))
    readings = list(zip(full.curve, half.curve, strict=True))
    assert readings[0][0].train_loss == pytest.approx(readings[0][1].train_loss, rel=0.02)
    for one, other in readings:  # which part as training goes on
        assert one.train_loss == pytest.approx(other.train_loss, rel=0.25)
        assert one.dev_loss == pytest.approx(other.dev_loss, rel=0.25)
    weights = zip(
        full.classifier.model.parameters(), half.classifier.model.parameters(), strict=True
    )
    assert all(weight.dtype == torch.float32 for _, weight in weights)
    assert full.curve[0].train_loss != half.curve[0].train_loss


def test_seeds_side_by_side_are_in_bfloat16_too(data: Split) -> None:
    alone = fit(CNN, AMP(eps=0.1), data, HALF, seed=1)
    (_, stacked) = fit_many(CNN, AMP(eps=0.1), [data, data], HALF)
    exact = fit(CNN, AMP(eps=0.1), data, CONFIG, seed=1)
    losses = [torch.tensor([r.train_loss for r in one.curve]) for one in (alone, stacked, exact)]
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0)
    assert not torch.equal(losses[1], losses[2])


def test_evaluation_is_in_float32(data: Split) -> None:
    model = fit(CNN, NoMixup(), data, HALF).classifier
    probabilities = torch.from_numpy(model.predict_proba(data.test.texts))
    assert not torch.equal(probabilities, probabilities.bfloat16().to(probabilities.dtype))


def test_records_of_float32_keep_their_names() -> None:
    assert "precision" not in CONFIG.identity
    assert HALF.identity["precision"] == "bfloat16"


def test_tf32_is_for_gpus(data: Split) -> None:
    with pytest.raises(AmpmixError, match="use bfloat16 or float32"):
        check_trainable(CNN, NoMixup(), data, replace(CONFIG, precision="tf32"))
    check_trainable(CNN, NoMixup(), data, replace(CONFIG, precision="tf32", device="cuda:1"))


def test_tf32_is_allowed_for_steps_alone() -> None:
    from ampmix._torch.precision import products

    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]

    def step() -> list[bool]:
        return [backend.allow_tf32 for backend in backends]

    assert products("tf32")(step)() == [True, True]
    assert products("float32")(step)() == before
    assert [backend.allow_tf32 for backend in backends] == before


def test_an_unknown_precision_is_said_to_be() -> None:
    with pytest.raises(AmpmixError, match="bfloat16"):
        TrainConfig(precision="float16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_another_precision_than_float32_is_said(
    precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = "".join(f"a {word},{i % 2}\n" for i, word in enumerate(WORDS * 3))
    (tmp_path / "own.csv").write_text("text,label\n" + texts)
    command = ["compare", str(tmp_path / "own.csv"), "--backbone", "cnn[embedding_dim=8]"]
    command += ["--steps", "3", "--policies", "none,mixup", "--no-refit", "--ladder", ""]
    assert main([*command, "--precision", precision, "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("3 steps a run in bfloat16." in said) == (precision == "bfloat16")
