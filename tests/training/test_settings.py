"""Settings that the machine, the backbone and the data decide where nothing is given."""

from __future__ import annotations

import pytest
import torch

from ampmix.backbones.encoder import MiniLM
from ampmix.backbones.text_cnn import TextCNN
from ampmix.baselines.encoder_logreg import EncoderLogreg
from ampmix.training.config import TrainConfig, settings


@pytest.mark.parametrize("given", [{}, {"device": None}, {"device": "auto"}])
@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpu_is_used_if_there_is_one(
    given: dict[str, str], gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    cnn, encoder = settings(TextCNN(), False, **given), settings(MiniLM(), False, **given)
    assert cnn.device == encoder.device == ("cuda" if gpu else "cpu")
    assert cnn.precision == "float32"
    assert encoder.precision == ("bfloat16" if gpu else "float32")


def test_what_is_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert settings(MiniLM(), False, device="cpu").device == "cpu"
    assert settings(MiniLM(), False, precision="float32").precision == "float32"


@pytest.mark.parametrize("fast", [True, False])
def test_encoders_that_train_do_so_in_bfloat16_where_that_is_fast(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampmix._torch.precision.bfloat16_is_fast", lambda: fast)
    chosen = "bfloat16" if fast else "float32"
    for backbone in (MiniLM(), MiniLM(train_layers=2)):
        assert settings(backbone, False, device="cpu").precision == chosen
        assert settings(backbone, False, device="cpu", precision="float32").precision == "float32"
    for other in (TextCNN(), MiniLM(freeze=True), EncoderLogreg()):
        assert settings(other, False, device="cpu").precision == "float32"
    assert TrainConfig.of(MiniLM()).precision == "float32", "what is not asked for is not chosen"
