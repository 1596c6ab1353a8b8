"""Settings that the machine, the backbone and the data decide where nothing is given."""

from __future__ import annotations

import pytest
import torch

from ampmix.backbones.encoder import MiniLM
from ampmix.backbones.text_cnn import TextCNN
from ampmix.training.config import settings


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
