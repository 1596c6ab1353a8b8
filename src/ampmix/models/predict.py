"""Many texts through a classifier: in constant memory, on all cores, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ampmix._torch.evaluation import in_evaluation
from ampmix._torch.precision import autocast
from ampmix.backbones.base import CutModule
from ampmix.models.classifier import Classifier, logits_of
from ampmix.text.coverage import ReadingCoverage, coverage_of
from ampmix.text.encoded import Encoded

ROWS, CHARACTERS = 2048, 2**22  # of a chunk, whichever is reached first
BATCH, TOKENS = 64, 2**13  # texts of a batch (more leave the processor's cache), and their tokens

COMPARED = 256  # texts that are predicted in float32, too, to tell what another precision changes

T = TypeVar("T")


@dataclass(frozen=True)
class Predicted(Generic[T]):
    """A chunk: its items, their class probabilities ``[n, classes]``, and how they were read.

    Of the first chunk in another precision than float32, `compared` texts were predicted in both,
    and `changed` of them got another class.
    """

    items: list[T]
    probabilities: npt.NDArray[np.float32]
    truncated: int
    coverage: ReadingCoverage
    compared: int = 0
    changed: int = 0


def predict_chunks(
    classifier: Classifier,
    items: Iterable[T],
    text_of: Callable[[T], str],
    threads: int = 1,
    precision: str = "float32",
) -> Generator[Predicted[T], None, None]:
    """Predict items chunk by chunk, in order; memory does not grow with their number.

    Every thread predicts a chunk of its own with one thread of PyTorch: on small batches that does
    more than several threads on one, and the result does not depend on how many there are. At most
    ``threads + 1`` chunks are under way.

    Args:
        classifier: the model.
        items: what to predict, such as rows of a table.
        text_of: an item's text.
        threads: chunks predicted at once.
        precision: of matrix products, ``float32`` or ``bfloat16``.
    """
    model = in_evaluation(classifier.model)

    def predict(chunk: list[T], first: bool) -> Predicted[T]:
        encoded = classifier.reader.encode([text_of(item) for item in chunk])
        with autocast(precision, torch.device("cpu")):
            probabilities = probabilities_of(model, encoded)
        coverage = coverage_of(classifier.reader, encoded)
        compared = changed = 0
        if first and precision != "float32":
            compared = min(COMPARED, len(chunk))
            exact = probabilities_of(model, encoded.take(range(compared))).argmax(1)
            changed = int((probabilities[:compared].argmax(1) != exact).sum())
        return Predicted(chunk, probabilities, encoded.truncated, coverage, compared, changed)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    pending: deque[Future[Predicted[T]]] = deque()
    try:
        for number, chunk in enumerate(_chunks(items, text_of)):
            pending.append(pool.submit(predict, chunk, number == 0))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)


def probabilities_of(model: CutModule, encoded: Encoded) -> npt.NDArray[np.float32]:
    """Class probabilities of encoded texts, ``[n, classes]``, in batches that a cache holds."""
    size = min(BATCH, model.at_once, max(1, TOKENS // int(encoded.lengths.max())))
    return np.asarray(logits_of(model, encoded, batch_size=size).softmax(1).numpy())


def _chunks(items: Iterable[T], text_of: Callable[[T], str]) -> Iterator[list[T]]:
    chunk: list[T] = []
    characters = 0
    for item in items:
        chunk.append(item)
        characters += len(text_of(item))
        if len(chunk) == ROWS or characters >= CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
