"""A small model that has not been trained."""

from __future__ import annotations

from pathlib import Path

import torch

from ampmix import Classifier, TextCNN
from ampmix.text.reader import WordReader

WORDS = ["good", "bad", "film", "book", "fine", "sad"]


def saved_model(folder: Path, classes: tuple[str, ...]) -> Path:
    """A folder with a model whose answers differ from text to text of :data:`WORDS`."""
    reader = WordReader.of_texts([" ".join(WORDS)], "words", max_length=50)
    backbone = TextCNN(embedding_dim=8, feature_maps=4)
    model = backbone.build(reader, len(classes), torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.output.weight.mul_(30)
    Classifier(backbone, model, reader, classes).save(folder / "model")
    return folder / "model"
