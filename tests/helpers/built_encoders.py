"""Tiny encoders as modules with weights that matter, a batch for them, and texts to train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ampmix.backbones.encoder import Encoder
from ampmix.backbones.encoder_module import EncoderModule
from ampmix.data.dataset import Examples, Split
from tiny_encoders import WORDS

CLASSES = ("animal", "plant", "stone")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(folder: str, **options: Any) -> EncoderModule:
    backbone = Encoder(model=folder, **options)
    model = backbone.build(backbone.reader([], "words", 16), 3, rng())
    assert isinstance(model, EncoderModule)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in model.parameters():  # large enough that every part matters
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.4)
    return model.double()


def batch(padding: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    lengths = torch.tensor([5, 9, 1, 6, 3])
    mask = torch.arange(9) < lengths.unsqueeze(-1)
    ids = torch.randint(2, len(WORDS), mask.shape, generator=rng(1))
    return ids.where(mask, padding), mask, torch.tensor([0, 2, 1, 1, 0])


TEXTS = (
    *("a cat runs", "a dog runs ?", "grey cat", "red dog lies"),
    *("a rose grows", "red rose", "oak grows ?", "a grey oak"),
    *("grey lies", "a red lies ?", "lies grey red", "lies a"),
)
LABELS = [0] * 4 + [1] * 4 + [2] * 4


def split() -> Split:
    part = Examples(TEXTS, LABELS)
    rows = np.arange(len(TEXTS))
    return Split("things", "", CLASSES, "words", part, part, part, rows, rows, rows, "")
