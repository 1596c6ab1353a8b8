"""Predictions change nothing that others may use: many threads share one model, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

from ampmix import Classifier
from ampmix.models.classifier import logits_of
from ampmix.models.export import export_onnx
from ampmix.models.loss_path import loss_paths
from ampmix.models.predict import predict_chunks
from every_backbone import every_backbone

THREADS = 16
TEXTS = tuple(f"word{i % 7} word{i % 11} word{i % 5}" for i in range(60))


@pytest.fixture(params=every_backbone(), ids=lambda one: one.name, scope="module")
def trained(request: pytest.FixtureRequest, folders: Any) -> Classifier:
    """A model of each backbone with dropout, as `fit` leaves it but in training mode."""
    from dataclasses import replace

    backbone = request.param
    if hasattr(backbone, "model"):
        backbone = replace(backbone, model=folders["bert"])
    reader = backbone.reader(TEXTS, "words", 16)
    torch.manual_seed(0)
    model = backbone.build(reader, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return Classifier(backbone, model.train(), reader, ("a", "b"))


def state_of(classifier: Classifier) -> tuple[Any, ...]:
    """All that a prediction could change."""
    model = classifier.model
    return (
        [module.training for module in model.modules()],
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [parameter.requires_grad for parameter in model.parameters()],
        torch.get_rng_state(),
        np.random.get_state()[1],
        torch.get_num_threads(),
        torch.is_grad_enabled(),
    )


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(np.array_equal(one, other))


def path_of(classifier: Classifier, _: Path) -> Any:
    pairs = np.array([[0, 1], [2, 3]])
    return loss_paths(classifier, TEXTS, [0, 1] * 30, pairs, np.array([0.0, 0.5]), site="sent")


USES: dict[str, Callable[[Classifier, Path], Any]] = {
    "predict": lambda classifier, _: classifier.predict_proba(TEXTS),
    "stream": lambda classifier, _: list(classifier.stream_proba(TEXTS, chunk=7)),
    "chunks": lambda classifier, _: [
        part.probabilities for part in predict_chunks(classifier, TEXTS, str, threads=2)
    ],
    "path": path_of,
    "save": lambda classifier, folder: classifier.save(folder / "model"),
    "export": lambda classifier, folder: export_onnx(classifier, folder / "model.onnx"),
}


@pytest.mark.slow
@pytest.mark.parametrize("use", USES)
def test_a_use_changes_nothing_that_is_shared(
    trained: Classifier, use: str, tmp_path: Path
) -> None:
    before = state_of(trained)
    USES[use](trained, tmp_path)
    assert all(map(equal, before, state_of(trained)))


@pytest.mark.parametrize("mode", [True, False], ids=["training mode", "evaluation mode"])
def test_sixteen_threads_have_the_answers_of_one(trained: Classifier, mode: bool) -> None:
    model = Classifier(trained.backbone, trained.model.train(mode), trained.reader, trained.classes)
    parts = [TEXTS[i : i + 3 + 2 * i] for i in range(THREADS)]
    alone = [model.predict_proba(part) for part in parts]
    together = Barrier(THREADS)

    def answers(part: tuple[str, ...]) -> list[Any]:
        together.wait()
        return [model.predict_proba(part) for _ in range(5)]

    with ThreadPoolExecutor(THREADS) as pool:
        for found, expected in zip(pool.map(answers, parts), alone, strict=True):
            assert all(np.array_equal(one, expected) for one in found)


def test_a_model_in_training_mode_answers_without_dropout(trained: Classifier) -> None:
    encoded = trained.reader.encode(TEXTS)
    drawn = logits_of(trained.model.train(), encoded)
    assert torch.equal(drawn, logits_of(trained.model.eval(), encoded))
    ids, mask, _ = map(torch.from_numpy, encoded.batch(range(9)))
    dropping = trained.model.train()
    assert not torch.equal(dropping(ids, mask), dropping(ids, mask))


def test_a_loaded_model_is_in_evaluation_mode(trained: Classifier, tmp_path: Path) -> None:
    trained.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert not any(module.training for module in loaded.model.modules())
